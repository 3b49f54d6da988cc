//! Sockets that listened before this process did: a service manager's, or those of the process
//! whose place it takes.
//!
//! Always true:
//! - a socket is recognised by where it listens, never by its place or its name;
//! - what listens where nothing was inherited is opened here;
//! - files of unix sockets stay another's until [`Inherited::settle`]: a process that fails to
//!   start removes none.

use super::kept::SocketFile;
use super::{ListenError, Listener, activated, listen_unix, tcp};
use rustix::net::sockopt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A descriptor that came from another process.
#[derive(Debug)]
pub struct Received {
    /// What it is remains to be seen.
    pub(crate) socket: OwnedFd,
    /// Of `LISTEN_FDNAMES`; may be empty.
    pub(crate) name: String,
    /// Whether the file of a unix socket is to go with this process.
    pub(crate) has_file: bool,
}

/// What is there to listen with.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Held>,
    /// Files that become ours once we serve.
    files: Vec<SocketFile>,
}

#[derive(Debug)]
struct Held {
    received: Received,
    place: Place,
}

/// Where a socket listens.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp(SocketAddr),
    /// `[::]` with IPv4 in it.
    Both(u16),
    Unix(PathBuf),
}

// === impl Inherited ===

impl Inherited {
    /// What a service manager has opened for us (`LISTEN_FDS`), which may be nothing.
    pub fn from_service_manager() -> io::Result<Self> {
        Self::new(activated::take()?)
    }

    /// Sockets of any origin. One that does not listen is an error.
    pub(crate) fn new(received: Vec<Received>) -> io::Result<Self> {
        let hold = |received: Received| Ok(Held { place: place(&received.socket)?, received });
        let sockets = received.into_iter().map(hold).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { sockets, files: Vec::new() })
    }

    /// Listens on a TCP address.
    pub fn tcp(&mut self, address: SocketAddr) -> Result<TcpListener, ListenError> {
        match self.take(|place| place.takes(address)) {
            Some(held) => {
                let listener = TcpListener::from(held.received.socket);
                let source = listener.set_nonblocking(true);
                source.map_err(|source| ListenError { address: address.to_string(), source })?;
                Ok(listener)
            }
            None => tcp(address),
        }
    }

    /// Listens on a path.
    pub fn unix(&mut self, path: &Path) -> Result<Listener, ListenError> {
        let failed = |source| ListenError { address: path.display().to_string(), source };
        let wanted = std::fs::canonicalize(path).ok();
        let held = self.take(|place| match place {
            Place::Unix(at) => {
                at == path || (wanted.is_some() && std::fs::canonicalize(at).ok() == wanted)
            }
            Place::Tcp(_) | Place::Both(_) => false,
        });
        let Some(held) = held else { return listen_unix(path).map_err(failed) };
        let listener = UnixListener::from(held.received.socket);
        listener.set_nonblocking(true).map_err(failed)?;
        let file = SocketFile::anothers(path);
        if held.received.has_file {
            self.files.push(file.clone());
        }
        Ok(Listener::Unix(listener, file))
    }

    /// To be called once everything listens: closes what nobody has asked for, and takes over the
    /// files. Says what was closed.
    pub fn settle(self) -> Vec<String> {
        for file in &self.files {
            file.take_over();
        }
        let closed = self.sockets.into_iter().map(|held| {
            if let (true, Place::Unix(path)) = (held.received.has_file, &held.place) {
                // Dropped at once, and the file with it.
                SocketFile::ours(path);
            }
            held.to_string()
        });
        closed.collect()
    }

    fn take(&mut self, is_wanted: impl Fn(&Place) -> bool) -> Option<Held> {
        let at = self.sockets.iter().position(|held| is_wanted(&held.place))?;
        Some(self.sockets.swap_remove(at))
    }
}

/// Where a socket listens; an error if it does not.
fn place(socket: &OwnedFd) -> io::Result<Place> {
    let socket = socket.as_fd();
    if !sockopt::socket_acceptconn(socket)? {
        return Err(io::Error::other("an inherited descriptor is no socket that listens"));
    }
    let address = socket2::SockRef::from(&socket).local_addr()?;
    match (address.as_socket(), address.as_pathname()) {
        (Some(SocketAddr::V6(v6)), _)
            if v6.ip().is_unspecified() && !sockopt::ipv6_v6only(socket)? =>
        {
            Ok(Place::Both(v6.port()))
        }
        (Some(address), _) => Ok(Place::Tcp(address)),
        (None, Some(path)) => Ok(Place::Unix(path.to_owned())),
        (None, None) => Err(io::Error::other("an inherited socket has neither port nor path")),
    }
}

// === impl Place ===

impl Place {
    fn takes(&self, wanted: SocketAddr) -> bool {
        match self {
            // With port 0 any free one is wanted, not this one.
            Self::Tcp(address) => *address == wanted && wanted.port() != 0,
            // systemd's `ListenStream=8075` is this one.
            Self::Both(port) => wanted.port() == *port && wanted.ip().is_unspecified(),
            Self::Unix(_) => false,
        }
    }
}

// === impl Held ===

impl std::fmt::Display for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Tcp(address) => write!(out, "{address}")?,
            Place::Both(port) => write!(out, "[::]:{port}")?,
            Place::Unix(path) => write!(out, "{}", path.display())?,
        }
        match &*self.received.name {
            "" => Ok(()),
            name => write!(out, " ({name})"),
        }
    }
}
