//! gitring-node: serves the repositories of its storages.
//!
//! Modules from the top down; each uses those below it, never those above:
//! - [`server`]: start and end of the process;
//! - [`config`]: the configuration file, gathered from each owner's struct;
//! - [`rpc`]: what clients can call;
//! - [`storage`]: storages, paths in them, opened repositories;
//! - [`reactor`]: threads, workers, children.
//!
//! Never here: PostgreSQL, other nodes.

pub mod config;
pub mod reactor;
pub mod rpc;
pub mod server;
pub mod storage;
