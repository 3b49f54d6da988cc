//! TLS: how a service shows who it is, and whom it trusts.
//!
//! ```text
//!   identity ──► server ── handshake ──► stream      (our clients)
//!   trust ─────────────────────────────► client      (other services)
//! ```
//!
//! rustls over aws-lc-rs. What it leaves out is left out here: versions below 1.2, ciphers without
//! forward secrecy or authentication, renegotiation, compression; 0-RTT is never accepted.
//!
//! Always true:
//! - a private key never shows in `Debug` or errors;
//! - a server that has an identity keeps it until another one fits together.
//!
//! Never here: certificates of clients, sockets that listen.

mod identity;
mod server;
mod stream;
mod trust;

#[cfg(test)]
mod tests;

pub use self::identity::{Identity, PrivateKey, TlsError, certificates};
pub use self::server::{HANDSHAKE_MAX, HandshakeError, Loaded, MinVersion, Server};
pub use self::stream::{TlsSocket, TlsStream};
pub use self::trust::{Authorities, Trust, verifier};

/// What a client and a server agree on before gRPC (RFC 7301, RFC 9113 §3.2).
const HTTP2: &[u8] = b"h2";
