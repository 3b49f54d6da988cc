//! Git itself: objects, refs, configuration, pkt-lines and the server's side of a fetch.
//!
//! Modules in reading order:
//! - [`repository`]: one repository on disk and its consistent [`repository::Snapshot`];
//! - [`revision`]: names of objects as users write them;
//! - [`ref_list`]: lists of refs, the default branch;
//! - [`commit`], [`mailmap`]: commits as people are shown them;
//! - [`refs`], [`config`], [`stamp`]: what a snapshot is made of and when it may be trusted;
//! - [`objects`]: packs, multi-pack indexes, loose objects, alternates, commit-graphs;
//! - [`at_once`]: work that must not wait for the file system;
//! - [`pkt_line`], [`sideband`]: the framing of the wire;
//! - [`upload_pack`]: the state machine of a fetch;
//! - [`pack_objects`]: the `git pack-objects` child that builds a pack.
//!
//! Always true: protocol modules perform no I/O, and modules that read files know no protocol.
//! Never here: gRPC, HTTP, an async runtime, a socket.

pub mod at_once;
pub mod commit;
pub mod config;
pub mod history;
pub mod mailmap;
pub mod objects;
pub mod pack_objects;
pub mod pack_request;
pub mod pkt_line;
pub mod ref_list;
pub mod refs;
pub mod repository;
pub mod revision;
pub mod sideband;
pub mod stamp;
pub mod upload_pack;

/// The name of an object: 20 bytes of SHA-1.
pub use gix_hash::ObjectId;
