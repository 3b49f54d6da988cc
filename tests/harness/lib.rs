//! What end-to-end tests and measurements stand on: repositories, nodes, clients, raw requests.
//!
//! Always true:
//! - Generated repositories are the same on every machine: seeded, with fixed dates and names.
//! - git runs in a closed environment: no configuration of the user or the system reaches it.
//! - Whatever the harness starts it also kills and reaps when its value is dropped.
//!
//! Never here: expectations about the node; the tests hold those.

pub mod client;
pub mod git;
pub mod gitaly;
pub mod gitlab;
pub mod history;
pub mod http;
pub mod http2;
pub mod metrics;
pub mod node;
pub mod picture;
pub mod pktline;
pub mod process;
pub mod push;
pub mod random;
pub mod repository;
pub mod shape;
pub mod shell;
pub mod stdio;
pub mod stock_gitaly;
pub mod stock_http;
pub mod upstream;
pub mod voter;
pub mod workhorse;
pub mod yamux;
