//! What the services of gitring share.
//!
//! Modules in the order in which a service uses them:
//! - [`settings`]: a TOML file whose every value knows its line, so that a wrong one can be named;
//! - [`duration`]: durations as Go writes them (`1m30s`);
//! - [`log`]: one line per event, text or JSON, with Gitaly's field names;
//! - [`listener`]: listening sockets;
//! - [`drain`]: how a service ends: stop accepting, let finish, cancel;
//! - [`metrics`]: the registry and the endpoint that serves it.
//!
//! Never here: Git, gRPC methods, what a service does.

pub mod drain;
pub mod duration;
pub mod listener;
pub mod log;
pub mod metrics;
pub mod settings;
