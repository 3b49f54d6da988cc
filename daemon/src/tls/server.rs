//! The server's side: who it is, which versions it speaks, and handshakes.
//!
//! Always true:
//! - a handshake that takes longer than [`HANDSHAKE_MAX`] ends, however many bytes trickle in;
//! - connections that are made keep what they were made with; the next one gets what is current;
//! - files are read once for each change of theirs, and swapped only where certificate and key fit.

use super::identity::{Identity, TlsError};
use super::stream::{Carrier, TlsSocket};
use super::{HTTP2, stream};
use arc_swap::ArcSwap;
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};

/// From the connection to the end of the handshake: two round trips and a signature.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The oldest version that a client may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// RFC 5246
    #[default]
    Tls12,
    /// RFC 8446
    Tls13,
}

/// An identity that was read and fits together.
#[derive(Clone)]
pub struct Loaded {
    config: Arc<ServerConfig>,
    identity: Identity,
    min_version: MinVersion,
    stamps: Vec<Stamp>,
}

/// Takes handshakes with what is current.
pub struct Server {
    current: ArcSwap<Loaded>,
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client was silent, or too slow.
    #[error("no handshake within {} seconds", HANDSHAKE_MAX.as_secs())]
    TimedOut,
    /// The client left, or both have nothing in common.
    #[error("TLS handshake")]
    Failed(#[from] io::Error),
}

/// What tells one state of a file from another: device, inode, size, time of change. `None` for a
/// file that is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

// === impl Loaded ===

impl Loaded {
    /// Which files it was read from.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Reads the files of an identity.
    pub fn read(identity: &Identity, min_version: MinVersion) -> Result<Self, TlsError> {
        // Before the files: a change while they are read is a change afterwards.
        let stamps = stamps(identity);
        let (chain, key) = identity.read()?;
        let versions: &[_] = match min_version {
            MinVersion::Tls12 => &[&TLS13, &TLS12],
            MinVersion::Tls13 => &[&TLS13],
        };
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)?
                .with_no_client_auth()
                .with_single_cert(chain, key)?;
        // A client that offers no protocol at all is taken, as by Go.
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Self { config: Arc::new(config), identity: identity.clone(), min_version, stamps })
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Loaded");
        shown.field("identity", &self.identity).field("min_version", &self.min_version);
        shown.finish_non_exhaustive()
    }
}

fn stamps(identity: &Identity) -> Vec<Stamp> {
    let stamp = |path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
    };
    identity.files().map(stamp).collect()
}

// === impl Server ===

impl Server {
    /// A server that begins with this identity.
    pub fn new(loaded: Loaded) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(loaded) })
    }

    /// Handshakes from now on get this one.
    pub fn swap(&self, loaded: Loaded) {
        self.current.store(Arc::new(loaded));
    }

    /// Looks at the files, blocking, and takes them if they have changed: `true`. What does not fit
    /// together is left, and looked at again the next time.
    pub fn renew(&self) -> Result<bool, TlsError> {
        let current = self.current.load_full();
        if stamps(&current.identity) == current.stamps {
            return Ok(false);
        }
        let renewed = Loaded::read(&current.identity, current.min_version)?;
        // Whatever was swapped in meanwhile is newer than what was looked at.
        self.current.compare_and_swap(&current, Arc::new(renewed));
        Ok(true)
    }

    /// Makes a connection that can be handed to another runtime. Costs the runtime it is called on
    /// a signature and a key agreement, 0.5 to 2 ms.
    pub async fn handshake(&self, socket: TcpStream) -> Result<TlsSocket, HandshakeError> {
        let config = Arc::clone(&self.current.load().config);
        let shaking = TlsAcceptor::from(config).accept(Carrier::arrived(socket)?);
        match tokio::time::timeout(HANDSHAKE_MAX, shaking).await {
            Ok(made) => Ok(stream::leave(made?)?),
            Err(_) => Err(HandshakeError::TimedOut),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Server").field(&self.current.load()).finish()
    }
}

// === impl HandshakeError ===

impl HandshakeError {
    /// A word for metrics.
    pub fn reason(&self) -> &'static str {
        let Self::Failed(error) = self else { return "timed out" };
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            None => "broken off",
            Some(rustls::Error::InvalidMessage(_)) => "not tls",
            Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
                "nothing in common"
            }
            Some(rustls::Error::AlertReceived(_)) => "refused by client",
            Some(_) => "failed",
        }
    }
}
