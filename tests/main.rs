//! End to end: stock git clients against the built `gitring-node`, and the rules of the tree.
//!
//! Always true:
//! - Every test works in a temporary directory of its own and leaves no process behind.
//! - What is compared is what git itself says about both sides.
//!
//! Never here: mocks.

mod check;
mod concurrent_writer;
mod contention;
mod crash;
mod differential;
mod drain;
mod fetch;
mod gitaly;
mod hostile;
mod limits;
mod pack_cache;
mod packaging;
mod protocol;
mod push;
mod relay;
mod seeing;
mod stdio_environment;
mod tidy;
mod trust;
