//! Git itself: objects, refs and configuration of repositories on disk.
//!
//! Modules in reading order:
//! - [`repository`]: one repository on disk and its consistent [`repository::Snapshot`];
//! - [`refs`], [`config`], [`stamp`]: what a snapshot is made of and when it may be trusted;
//! - [`objects`]: packs, multi-pack indexes, loose objects, alternates, commit-graphs.
//!
//! Never here: gRPC, HTTP, an async runtime, a socket.

pub mod config;
pub mod objects;
pub mod refs;
pub mod repository;
pub mod stamp;

/// The name of an object: 20 bytes of SHA-1.
pub use gix_hash::ObjectId;
