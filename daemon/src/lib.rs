//! What the services of gitring share.
//!
//! Modules in the order in which a service uses them:
//! - [`settings`]: a TOML file whose every value knows its line, so that a wrong one can be named;
//! - [`duration`]: durations as Go writes them (`1m30s`);
//! - [`log`]: one line per event, text or JSON, with Gitaly's field names;
//! - [`listener`]: listening sockets, opened here or inherited;
//! - [`tls`]: identities, handshakes, whom to trust;
//! - [`handover`]: one process takes another's place;
//! - [`notify`]: what the service manager is told;
//! - [`authority`]: requests over unix sockets, made readable for HTTP/2;
//! - [`mux`]: many streams over one connection, driven on its thread;
//! - [`sidechannel`]: both ends of the streams that carry packs beside gRPC;
//! - [`client`]: calls to a Gitaly, and back to a client on its own connection;
//! - [`relay`]: calls that pass on to another Gitaly as they come;
//! - [`drain`]: how a service ends: stop accepting, let finish, cancel;
//! - [`metrics`]: the registry and the endpoint that serves it;
//! - [`status`]: what a service shows of itself to people;
//! - [`otlp`]: spans for an OpenTelemetry collector.
//!
//! Never here: Git, gRPC methods, what a service does.

pub mod authority;
pub mod client;
pub mod drain;
pub mod duration;
pub mod handover;
pub mod listener;
pub mod log;
pub mod metrics;
pub mod mux;
pub mod notify;
pub mod otlp;
pub mod relay;
pub mod settings;
pub mod sidechannel;
pub mod status;
pub mod tls;
mod vectored;
