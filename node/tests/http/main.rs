//! The gateway from outside: a real node, real git, curl and bare sockets.
//!
//! Modules: [`harness`] starts nodes and speaks HTTP to them; the others are tests.

#![expect(clippy::unwrap_used, reason = "clippy takes helping functions of tests for other code")]
#![expect(clippy::disallowed_methods, reason = "no reactor runs on a test's thread")]

mod clients;
mod drain;
mod harness;
mod limits;
mod statuses;
