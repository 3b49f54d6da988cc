//! The wire: what Gitaly, its clients and Praefect say to each other.
//!
//! - [`gitaly`]: messages and services, generated from `gitaly/*.proto`;
//! - [`methods`]: what each method does and where its requests name repositories;
//! - [`token`]: who may call;
//! - [`listenmux`]: which protocol a connection speaks;
//! - [`authority`]: requests over unix sockets, made readable for HTTP/2;
//! - [`yamux`]: many streams on one connection;
//! - [`sidechannel`]: packs beside gRPC, on streams of their own.
//!
//! Always true: state machines and tables; bytes come in and go out as arguments.
//! Never here: I/O, clocks, threads.

/// Messages, clients and servers of the package `gitaly`, versions 16.7 and 18.9 united.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod gitaly {
    tonic::include_proto!("gitaly");
}

/// The compiled `.proto` files with all that they import: an encoded
/// `google.protobuf.FileDescriptorSet`, options of `lint.proto` included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gitaly.bin"));

pub mod authority;
pub mod listenmux;
pub mod methods;
pub mod sidechannel;
pub mod token;
pub mod yamux;
