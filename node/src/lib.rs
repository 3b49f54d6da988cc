//! gitring-node: serves the repositories of its storages.
//!
//! Modules from the top down; each uses those below it, never those above:
//! - [`server`]: start and end of the process;
//! - [`config`]: the configuration file, gathered from each owner's struct;
//! - [`status`]: what the node shows of itself to people;
//! - [`rpc`]: what clients can call;
//! - [`spending`]: which repositories cost what;
//! - [`storage`]: storages, paths in them, opened repositories;
//! - [`pack_cache`]: packs that are made once for many;
//! - [`limits`]: who may do how much at once;
//! - [`hooks`]: what is asked and told around a push;
//! - [`gitlab`]: GitLab's internal API;
//! - [`adaptation`]: limits that follow what the machine bears;
//! - [`reactor`]: threads, workers, children;
//! - [`cgroups`]: groups that children run in.
//!
//! Never here: PostgreSQL, other nodes.

pub mod adaptation;
pub mod cgroups;
pub mod config;
pub mod gitlab;
pub mod hooks;
pub mod limits;
#[cfg(test)]
mod mutations;
pub mod pack_cache;
pub mod reactor;
pub mod rpc;
pub mod server;
pub mod spending;
pub mod status;
pub mod storage;
