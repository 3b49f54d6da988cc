//! A child's standard output, read in large pieces.
//!
//! ```text
//!   Watched ──something came──> Flowing ──nothing for a while──> Watched
//!   epoll tells of each write   looked at once a millisecond
//! ```
//!
//! git writes packs 8 KiB at a time, and epoll wakes us for each: 40,000 times for a pack of
//! 320 MB, which costs more than moving it. So a pipe that flows is taken out of epoll, and its
//! buffer (1 MiB) fills in the meantime.
//!
//! Always true: the first bytes, and the first after a pause, are told of at once.
//! Never here: what is in the pipe.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::time::sleep;

/// Between two looks. The pipe is full after this time at 1 GB/s.
const GATHER: Duration = Duration::from_millis(1);

/// The reading end of a pipe.
#[derive(Debug)]
pub(super) enum Flow {
    /// Registered with the reactor.
    Watched(pipe::Receiver),
    /// Not registered.
    Flowing(OwnedFd),
    /// At its end.
    Ended,
}

// === impl Flow ===

impl Flow {
    /// Whether the end was not reached yet.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Ended)
    }

    /// Returns when it is worth reading.
    pub(super) async fn ready(&self) {
        match self {
            // An error shows when it is read.
            Self::Watched(pipe) => drop(pipe.readable().await),
            Self::Flowing(_) => sleep(GATHER).await,
            Self::Ended => std::future::pending().await,
        }
    }

    /// Reads what is there; `None` if there is nothing now, or nothing more.
    pub(super) fn read(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let read = match self {
            Self::Watched(pipe) => pipe.try_read(space),
            Self::Flowing(pipe) => rustix::io::read(pipe, space).map_err(io::Error::from),
            Self::Ended => Ok(0),
        };
        match read {
            Ok(0) => {
                *self = Self::Ended;
                Ok(None)
            }
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// After a round of reads: whether it brought anything decides how the next is waited for.
    pub(super) fn settle(self, brought_anything: bool) -> io::Result<Self> {
        Ok(match (self, brought_anything) {
            (Self::Watched(pipe), true) => Self::Flowing(pipe.into_nonblocking_fd()?),
            (Self::Flowing(pipe), false) => Self::Watched(pipe::Receiver::from_owned_fd(pipe)?),
            (same, _) => same,
        })
    }
}
