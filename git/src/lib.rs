//! Git itself: objects, refs, configuration, pkt-lines and the server's side of fetches and pushes.
//!
//! Modules in reading order:
//! - [`repository`]: one repository on disk and its consistent [`repository::Snapshot`];
//! - [`revision`]: names of objects as users write them;
//! - [`ref_list`]: lists of refs, the default branch;
//! - [`commit`], [`tag`], [`mailmap`]: commits and tags as people are shown them;
//! - [`refs`], [`config`], [`stamp`]: what a snapshot is made of and when it may be trusted;
//! - [`ref_transaction`], [`files`]: writing refs, and the file calls that must be durable;
//! - [`objects`]: packs, multi-pack indexes, loose objects, alternates, commit-graphs;
//! - [`at_once`]: work that must not wait for the file system;
//! - [`pkt_line`], [`sideband`]: the framing of the wire;
//! - [`upload_pack`]: the state machine of a fetch;
//! - [`pack_objects`]: the `git pack-objects` child that builds a pack;
//! - [`receive_pack`]: the state machine of a push, and its rules;
//! - [`unpack`]: the git child that takes a pushed pack;
//! - [`quarantine`]: where that pack lies until it is accepted;
//! - [`connectivity`]: whether all is there that new objects need;
//! - [`object_sync`]: bringing to stable storage what others wrote of it.
//!
//! Always true: protocol modules perform no I/O, and modules that read files know no protocol.
//! Never here: gRPC, HTTP, an async runtime, a socket.

pub mod ancestry;
pub mod at_once;
pub mod commit;
pub mod config;
pub mod connectivity;
pub mod files;
pub mod history;
pub mod mailmap;
pub mod object_sync;
pub mod objects;
pub mod pack_objects;
pub mod pack_request;
pub mod pkt_line;
pub mod quarantine;
pub mod receive_pack;
pub mod ref_list;
pub mod ref_transaction;
pub mod refs;
pub mod repository;
pub mod revision;
pub mod sideband;
pub mod stamp;
pub mod tag;
pub mod unpack;
pub mod upload_pack;

/// The name of an object: 20 bytes of SHA-1.
pub use gix_hash::ObjectId;
