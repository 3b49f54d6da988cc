//! A child's standard output, read in large pieces.
//!
//! ```text
//!   Watched ──something came──> Flowing ──nothing for a while──> Watched
//!   epoll tells of each write   looked at when it may be three quarters full
//! ```
//!
//! git writes packs 8 KiB at a time, and epoll wakes us for each: 40,000 times for a pack of
//! 320 MB, which costs more than moving it. So a pipe that flows is taken out of epoll, and its
//! buffer (1 MiB) fills in the meantime.
//!
//! Always true: the first bytes, and the first after a pause, are told of at once.
//! Never here: what is in the pipe.

use crate::reactor::children::STDOUT_PIPE_BYTES;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::time::sleep;

/// Milliseconds between two looks, the fewest and the most. The pipe is full after one at 1 GB/s.
const GATHER_MS: RangeInclusive<u64> = 1..=4;
/// What a look should find: enough to be worth it, and not so much that the child has to wait.
const GATHER_BYTES: u64 = STDOUT_PIPE_BYTES as u64 / 4 * 3;

/// The reading end of a pipe.
#[derive(Debug)]
pub(super) enum Flow {
    /// Registered with the reactor.
    Watched(pipe::Receiver),
    /// Not registered, and looked at again after so many milliseconds.
    Flowing(OwnedFd, u64),
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
            Self::Flowing(_, gather_ms) => sleep(Duration::from_millis(*gather_ms)).await,
            Self::Ended => std::future::pending().await,
        }
    }

    /// Reads what is there; `None` if there is nothing now, or nothing more.
    pub(super) fn read(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let read = match self {
            Self::Watched(pipe) => pipe.try_read(space),
            Self::Flowing(pipe, _) => rustix::io::read(pipe, space).map_err(io::Error::from),
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

    /// After a round of reads: what it brought decides how the next is waited for.
    pub(super) fn settle(self, brought_bytes: u64) -> io::Result<Self> {
        Ok(match (self, brought_bytes) {
            (Self::Watched(pipe), 1..) => {
                Self::Flowing(pipe.into_nonblocking_fd()?, *GATHER_MS.start())
            }
            (Self::Flowing(pipe, _), 0) => Self::Watched(pipe::Receiver::from_owned_fd(pipe)?),
            (Self::Flowing(pipe, gather_ms), _) => {
                Self::Flowing(pipe, next_gather_ms(gather_ms, brought_bytes))
            }
            (same, _) => same,
        })
    }
}

/// After which time a pipe that gave `brought_bytes`, not 0, after `gather_ms` holds what it should.
fn next_gather_ms(gather_ms: u64, brought_bytes: u64) -> u64 {
    (gather_ms * GATHER_BYTES / brought_bytes).clamp(*GATHER_MS.start(), *GATHER_MS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_looked_at_as_often_as_it_fills() {
        fn check(gather_ms: u64, brought_bytes: u64, expected_ms: u64) {
            assert_eq!(next_gather_ms(gather_ms, brought_bytes), expected_ms);
        }
        check(1, 1, 4);
        check(1, 330_000, 2);
        check(2, 660_000, 2);
        check(4, 1 << 20, 3);
        check(1, 1 << 20, 1);
        check(4, 8 << 20, 1);
    }
}
