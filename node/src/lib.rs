//! gitring-node: serves the repositories of its storages.
//!
//! Modules from the top down; each uses those below it, never those above:
//! - [`server`]: start and end of the process;
//! - [`config`]: the configuration file, gathered from each owner's struct;
//! - [`rpc`]: what clients can call;
//! - [`pack_cache`]: packs that are sent more than once;
//! - [`storage`]: storages, paths in them, opened repositories;
//! - [`pack_cache`]: packs that are made once for many;
//! - [`hooks`]: what is asked and told around a push;
//! - [`gitlab`]: GitLab's internal API;
//! - [`reactor`]: threads, workers, children.
//!
//! Never here: PostgreSQL, other nodes.

pub mod config;
pub mod gitlab;
pub mod hooks;
#[cfg(test)]
mod mutations;
pub mod pack_cache;
pub mod reactor;
pub mod rpc;
pub mod server;
pub mod storage;
