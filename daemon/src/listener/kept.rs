//! What a process keeps of a listening socket, so that it can give it to another process.
//!
//! Always true: a socket listens for as long as anybody keeps it, here or in another process; its
//! file is removed by the last one here, and only where it is ours to remove.

use super::Listener;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file of a unix socket.
#[derive(Debug, Clone)]
pub struct SocketFile(Arc<File>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    is_ours: AtomicBool,
}

/// A listening socket beside its [`Listener`].
#[derive(Debug)]
pub struct Kept {
    socket: OwnedFd,
    file: Option<SocketFile>,
}

// === impl SocketFile ===

impl SocketFile {
    /// One that we made.
    pub(super) fn ours(path: &Path) -> Self {
        Self::of(path, true)
    }

    /// One of another process, for now.
    pub(super) fn anothers(path: &Path) -> Self {
        Self::of(path, false)
    }

    fn of(path: &Path, is_ours: bool) -> Self {
        Self(Arc::new(File { path: path.to_owned(), is_ours: AtomicBool::new(is_ours) }))
    }

    pub(super) fn take_over(&self) {
        self.0.is_ours.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for SocketFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0.path.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if *self.is_ours.get_mut() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Of a listener that is about to accept.
    pub fn of(listener: &Listener) -> io::Result<Self> {
        let (socket, file) = match listener {
            Listener::Tcp(socket) | Listener::Tls(socket, _) => (socket.as_fd(), None),
            Listener::Unix(socket, file) => (socket.as_fd(), Some(file.clone())),
        };
        Ok(Self { socket: socket.try_clone_to_owned()?, file })
    }

    /// Of a TCP listener that somebody else accepts from.
    pub fn of_tcp(listener: &std::net::TcpListener) -> io::Result<Self> {
        Ok(Self { socket: listener.as_fd().try_clone_to_owned()?, file: None })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether there is a file that goes with us.
    pub(crate) fn has_file(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.0.is_ours.load(Ordering::Relaxed))
    }

    /// Another process listens from now on: the file is its.
    pub fn give_away(self) {
        if let Some(file) = &self.file {
            file.0.is_ours.store(false, Ordering::Relaxed);
        }
    }
}
