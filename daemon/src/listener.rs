//! Listening sockets, TCP and unix, and the connections that they give.
//!
//! Always true:
//! - a socket returned from here is non-blocking and listens already, so an address in use is an
//!   error of the start, not of the first client;
//! - the file of a unix socket goes with its listener; one that a dead process left is replaced,
//!   one that somebody listens on is not.

mod socket;

pub use self::socket::{Peer, Socket, Stream};

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

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
}

/// The file of a unix socket; removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

/// A [`Listener`] within a runtime.
#[derive(Debug)]
pub enum Acceptor {
    /// On a TCP address.
    Tcp(tokio::net::TcpListener),
    /// On a path.
    Unix(tokio::net::UnixListener, SocketFile),
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
    let file = SocketFile(path.to_owned());
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
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(out, "{address}"),
                Err(_) => out.write_str("tcp"),
            },
            Self::Unix(_, file) => write!(out, "{}", file.0.display()),
        }
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// The next connection.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Small answers must not wait for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream.into_std()?), Peer::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                // Without it, sends only take more turns.
                let _ = SockRef::from(&stream).set_send_buffer_size(UNIX_SEND_BUFFER_BYTES);
                Ok((Socket::Unix(stream.into_std()?), Peer::Unix))
            }
        }
    }
}

// === impl SocketFile ===

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &Path, expected: Result<(), io::ErrorKind>) -> Option<Listener> {
        let listened = unix(path);
        let outcome = listened.as_ref().map(|_| ()).map_err(|error| error.source.kind());
        assert_eq!(outcome, expected, "{}", path.display());
        listened.ok()
    }

    /// Goal: a file that a killed process left is no obstacle, a living process and a file of
    /// somebody else are.
    #[test]
    fn only_an_abandoned_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let first = check(&path, Ok(()));
        check(&path, Err(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind as by a killed process");
        drop(check(&path, Ok(())));
        std::fs::write(&path, "not a socket").unwrap();
        check(&path, Err(io::ErrorKind::AddrInUse));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a socket");
    }
}
