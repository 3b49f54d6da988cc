//! A client's bytes on their way into a child's standard input.
//!
//! git reads 4 KiB at a time, and whoever waits for room in a full pipe is woken by each of these
//! reads: 25,000 times for a push of 100 MB, which costs the child and us a third more than moving
//! the bytes. So the pipe is as large as it may be, and when it is full we look again when it should
//! be mostly empty.
//!
//! Always true: one piece of the client's is held; a child that reads nothing stops the client.
//! Never here: what the bytes mean.

use super::wire::{FetchError, Input};
use bytes::{Buf, Bytes};
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

/// Asked for a child's stdin. Unprivileged users may have up to /proc/sys/fs/pipe-max-size, 1 MiB
/// unless changed, and less where they have many.
const PIPE_BYTES: usize = 1 << 20;
/// A smaller pipe would be empty before we look again, so we wait to be woken.
const PAUSE_BYTES_MIN: usize = PIPE_BYTES / 2;
/// Written at once: a pipe is locked while bytes are copied, and the child spins for that lock.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Milliseconds between two looks at a full pipe, the fewest and the most.
const PAUSE_MS: RangeInclusive<u64> = 1..=4;

/// Why a child did not get all that its client has to say.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    /// The client's bytes did not arrive.
    #[error("read the request")]
    Input(#[source] io::Error),
    /// Not one of them came for so long.
    #[error("the client has sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// The child's pipe failed.
    #[error("talk to git")]
    Pipe(#[source] io::Error),
}

/// The writing end of a pipe.
struct Feed {
    pipe: pipe::Sender,
    capacity_bytes: u64,
    pause_ms: u64,
    /// Since the last pause.
    written_bytes: u64,
}

/// Gives the child the client's bytes; dropping the pipe at the end is the child's end of file.
///
/// `silence_max` is how long the client may say nothing while the child could take more: `None` for
/// those who wait for an answer in between.
pub(super) async fn feed(
    stdin: Option<pipe::Sender>,
    already_read: Bytes,
    input: &mut impl Input,
    silence_max: Option<Duration>,
) -> Result<(), FeedError> {
    let Some(stdin) = stdin else { return Ok(()) };
    let mut feed = Feed::new(stdin);
    let mut bytes = already_read;
    loop {
        match feed.write_all(bytes).await {
            Ok(()) => {}
            // It has read what it needs; how it ended is judged by its exit.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(FeedError::Pipe(error)),
        }
        let read = match silence_max {
            None => input.read().await,
            Some(most) => timeout(most, input.read()).await.map_err(|_| FeedError::Silent(most))?,
        };
        match read.map_err(FeedError::Input)? {
            Some(more) => bytes = more,
            None => return Ok(()),
        }
    }
}

// === impl FeedError ===

impl From<FeedError> for FetchError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Input(error) => Self::Input(error),
            FeedError::Silent(_) => {
                Self::Input(io::Error::new(io::ErrorKind::TimedOut, error.to_string()))
            }
            FeedError::Pipe(error) => Self::Pipe(error),
        }
    }
}

// === impl Feed ===

impl Feed {
    fn new(pipe: pipe::Sender) -> Self {
        // What is not granted is done without.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
        let capacity_bytes = rustix::pipe::fcntl_getpipe_size(&pipe).unwrap_or(0) as u64;
        Self { pipe, capacity_bytes, pause_ms: *PAUSE_MS.start(), written_bytes: 0 }
    }

    async fn write_all(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.pipe.try_write(&bytes[..bytes.len().min(WRITE_BYTES_MAX)]) {
                Ok(written) => {
                    bytes.advance(written);
                    self.written_bytes += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.pause().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Until there should be room.
    async fn pause(&mut self) -> io::Result<()> {
        if self.capacity_bytes < PAUSE_BYTES_MIN as u64 || self.written_bytes == 0 {
            self.written_bytes = 1;
            return self.pipe.writable().await;
        }
        self.pause_ms = next_pause_ms(self.pause_ms, self.written_bytes, self.capacity_bytes);
        self.written_bytes = 0;
        sleep(Duration::from_millis(self.pause_ms)).await;
        Ok(())
    }
}

/// After which time a pipe that took `written_bytes`, not 0, after `pause_ms` is three quarters empty.
fn next_pause_ms(pause_ms: u64, written_bytes: u64, capacity_bytes: u64) -> u64 {
    (pause_ms * capacity_bytes / 4 * 3 / written_bytes).clamp(*PAUSE_MS.start(), *PAUSE_MS.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::io::AsyncReadExt;

    /// Says this, and nothing more, but does not end.
    struct Stalled(Option<Bytes>);

    impl Input for Stalled {
        async fn read(&mut self) -> io::Result<Option<Bytes>> {
            match self.0.take() {
                Some(bytes) => Ok(Some(bytes)),
                None => pending().await,
            }
        }
    }

    #[test]
    fn a_client_may_be_silent_where_it_waits_for_answers() {
        const SHORT: Duration = Duration::from_millis(20);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (stdin, mut child) = pipe::pipe().unwrap();
            let mut client = Stalled(Some(Bytes::from_static(b"ck")));
            let fed = feed(Some(stdin), Bytes::from_static(b"pa"), &mut client, Some(SHORT)).await;
            assert!(matches!(fed, Err(FeedError::Silent(SHORT))), "{fed:?}");
            let mut taken = String::new();
            child.read_to_string(&mut taken).await.unwrap();
            assert_eq!(taken, "pack");

            let (stdin, _child) = pipe::pipe().unwrap();
            let feeding = feed(Some(stdin), Bytes::new(), &mut client, None);
            assert!(timeout(5 * SHORT, feeding).await.is_err(), "silence was taken for an end");
        });
    }

    /// Goal: time that a child needs for what it was given is no silence of the client's.
    #[test]
    fn a_child_may_take_its_time() {
        const SHORT: Duration = Duration::from_millis(20);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (stdin, _child) = pipe::pipe().unwrap();
            let much = Bytes::from(vec![0; PIPE_BYTES + 1]);
            let mut client = Stalled(None);
            let feeding = feed(Some(stdin), much, &mut client, Some(SHORT));
            assert!(timeout(5 * SHORT, feeding).await.is_err(), "the client was blamed");
        });
    }

    #[test]
    fn a_pipe_is_looked_at_as_often_as_it_empties() {
        fn check(pause_ms: u64, written_bytes: u64, expected_ms: u64) {
            assert_eq!(next_pause_ms(pause_ms, written_bytes, 1 << 20), expected_ms);
        }
        check(1, 1, 4);
        check(1, 330_000, 2);
        check(2, 660_000, 2);
        check(4, 1 << 20, 3);
        check(4, 8 << 20, 1);
    }
}
