//! Listening sockets, TCP and unix, with and without TLS, and the connections that they give.
//!
//! Always true:
//! - a socket returned from here is non-blocking and listens already, so an address in use is an
//!   error of the start, not of the first client;
//! - the file of a unix socket goes with its listener, unless another process listens there from
//!   now on, or made it; one that a dead process left is replaced, one that somebody listens on is
//!   not.

mod activated;
mod inherited;
mod kept;
mod socket;

#[cfg(test)]
mod tests;

pub use self::inherited::{Inherited, Received};
pub use self::kept::Kept;
pub use self::socket::{Peer, Socket, Stream};

use self::kept::SocketFile;
use crate::tls::Server;
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

/// What a unix socket holds on its way out: by default 208 KiB, less than the window of a stock client
/// (256 KiB), so that each window would take two writes. The system may grant less.
pub const UNIX_SEND_BUFFER_BYTES: usize = 512 << 10;
/// Connections that the kernel completes and keeps while the service is busy or at its limit.
const BACKLOG_MAX: i32 = 1024;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct ListenError {
    address: String,
    source: io::Error,
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP address.
    Tcp(std::net::TcpListener),
    /// On a path.
    Unix(std::os::unix::net::UnixListener, SocketFile),
    /// On a TCP address, for clients that speak TLS.
    Tls(std::net::TcpListener, Arc<Server>),
}

/// A [`Listener`] within a runtime.
#[derive(Debug)]
pub enum Acceptor {
    /// On a TCP address.
    Tcp(tokio::net::TcpListener),
    /// On a path.
    Unix(tokio::net::UnixListener, SocketFile),
    /// On a TCP address, for clients that speak TLS.
    Tls(tokio::net::TcpListener, Arc<Server>),
}

/// Listens on a TCP address. Port 0 lets the kernel choose.
pub fn tcp(address: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    listen_tcp(address).map_err(|source| ListenError { address: address.to_string(), source })
}

/// Listens on a path. Whoever may write to the file may connect, so its directory guards it.
pub fn unix(path: &Path) -> Result<Listener, ListenError> {
    listen_unix(path).map_err(|source| ListenError { address: path.display().to_string(), source })
}

fn listen_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process in TIME_WAIT must not keep a new one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_MAX)?;
    Ok(socket.into())
}

fn listen_unix(path: &Path) -> io::Result<Listener> {
    remove_abandoned(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::ours(path);
    socket.listen(BACKLOG_MAX)?;
    Ok(Listener::Unix(socket.into(), file))
}

/// A socket file outlives the process that made it; nobody can listen on its path until it is gone.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        // Anything else is not ours to remove: bind says that the path is taken.
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

// === impl Listener ===

impl From<std::net::TcpListener> for Listener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl Listener {
    /// Registers it with the runtime that is entered.
    pub fn register(self) -> io::Result<Acceptor> {
        Ok(match self {
            Self::Tcp(listener) => Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(listener, file) => {
                Acceptor::Unix(tokio::net::UnixListener::from_std(listener)?, file)
            }
            Self::Tls(listener, server) => {
                Acceptor::Tls(tokio::net::TcpListener::from_std(listener)?, server)
            }
        })
    }

    /// Whether its connections begin with a handshake.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(..))
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => match listener.local_addr() {
                Ok(address) => write!(out, "{address}"),
                Err(_) => out.write_str("tcp"),
            },
            Self::Unix(_, file) => write!(out, "{file}"),
        }
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// The next connection. One that is to be encrypted comes bare: [`Acceptor::tls`] has its
    /// handshake.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = accept_tcp(listener).await?;
                Ok((Socket::Tcp(stream), Peer::Tcp(address)))
            }
            Self::Tls(listener, _) => {
                let (stream, address) = accept_tcp(listener).await?;
                Ok((Socket::Tcp(stream), Peer::Tls(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                // Without it, sends only take more turns.
                let _ = SockRef::from(&stream).set_send_buffer_size(UNIX_SEND_BUFFER_BYTES);
                Ok((Socket::Unix(stream.into_std()?), Peer::Unix))
            }
        }
    }

    /// Who takes the handshakes of its connections, if they begin with one.
    pub fn tls(&self) -> Option<&Arc<Server>> {
        match self {
            Self::Tls(_, server) => Some(server),
            Self::Tcp(_) | Self::Unix(..) => None,
        }
    }
}

async fn accept_tcp(
    listener: &tokio::net::TcpListener,
) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept().await?;
    // Small answers must not wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    Ok((stream.into_std()?, address))
}
