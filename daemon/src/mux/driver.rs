//! Moves bytes between the socket and the session.
//!
//! Always true:
//! - the socket is read into one buffer that grows with what arrives, up to 128 KiB, and is given
//!   back when the connection goes quiet: most connections are idle;
//! - a write carries as many frames of as many streams as are ready, up to `WRITE_BYTES_MAX`;
//! - a turn is bounded, so that one busy connection leaves the thread to the others;
//! - payload may lie in maps of files: a page that is gone never ends the connection (`vectored`).
//!   Who sent it has to find out, and to end its stream.

use super::MuxError;
use super::shared::{Shared, wake};
use crate::vectored;
use bytes::BytesMut;
use gitring_proto::yamux::{Outgoing, READ_BUFFER_BYTES_MAX};
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// A socket that takes nothing for so long has nobody at its other end: the peer reads its socket
/// whether or not its streams are read. Go gives up after 10 s.
pub(super) const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Frames that are taken from the session at once: the window of a stock client, and a bit.
const WRITE_BYTES_MAX: usize = 256 << 10;
/// Slices of one vectored write.
const SLICES_MAX: usize = 64;
const READ_BYTES_MIN: usize = 16 << 10;
/// Rounds of reading and writing before others have their turn.
const ROUNDS_MAX: usize = 8;

/// Keeps a connection going; ends with it. Dropping it ends the connection at once.
#[derive(Debug)]
#[must_use = "nothing moves unless the driver is polled"]
pub struct Driver<S> {
    socket: S,
    shared: Rc<RefCell<Shared>>,
    started: Instant,
    input: BytesMut,
    /// Room that the next read gets.
    read_bytes: usize,
    out: Outgoing,
    /// Written bytes may sit in a buffer of the socket.
    unflushed: bool,
    stall: Stall,
}

/// When the socket's refusal to take bytes becomes an error.
#[derive(Debug, Default)]
struct Stall {
    running: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Driver ===

impl<S> Driver<S> {
    pub(super) fn new(socket: S, shared: Rc<RefCell<Shared>>) -> Self {
        Self {
            socket,
            shared,
            started: Instant::now(),
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            out: Outgoing::default(),
            unflushed: false,
            stall: Stall::default(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// `Ready(true)`: the socket is at its end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, MuxError>> {
        if self.input.capacity() - self.input.len() < self.read_bytes / 2 {
            self.input.reserve(self.read_bytes);
        }
        let room = self.input.capacity() - self.input.len();
        let count = ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))?;
        if count == 0 {
            return Poll::Ready(if self.input.is_empty() {
                Ok(true)
            } else {
                Err(MuxError::Truncated)
            });
        }
        let now = self.started.elapsed();
        let result = self.shared.borrow_mut().session.receive(&mut self.input, now);
        self.adapt(count, room);
        wake(&self.shared);
        result?;
        Poll::Ready(Ok(false))
    }

    fn adapt(&mut self, count: usize, room: usize) {
        if count == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BUFFER_BYTES_MAX);
        } else if count < self.read_bytes / 4 && self.read_bytes > READ_BYTES_MIN {
            self.read_bytes /= 2;
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
        }
    }

    /// `Ready`: nothing is left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        loop {
            if self.out.is_empty() {
                self.shared.borrow_mut().session.transmit(&mut self.out, WRITE_BYTES_MAX);
                wake(&self.shared);
            }
            if self.out.is_empty() {
                return self.poll_flush(cx);
            }
            let Poll::Ready(written) = self.poll_write_some(cx) else {
                return self.stall.poll(cx);
            };
            if written? == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.stall.running = false;
        }
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = self.out.slices(&mut slices);
        let written = ready!(vectored::poll_write(&mut self.socket, cx, &slices[..filled]))?;
        self.out.advance(written);
        self.unflushed = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        for _ in 0..ROUNDS_MAX {
            let read = self.poll_read(cx)?;
            let written = self.poll_write(cx)?;
            if read == Poll::Ready(true) {
                return Poll::Ready(Ok(()));
            }
            if written.is_ready() && self.shared.borrow().abandoned {
                return Pin::new(&mut self.socket).poll_shutdown(cx).map_err(MuxError::from);
            }
            if read.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = Result<(), MuxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let former = this.shared.borrow_mut().wait_to_drive(cx.waker());
        drop(former);
        let end = ready!(this.poll_rounds(cx));
        if end.is_err() {
            // The peer is told why, if its socket takes it now.
            let _ = this.poll_write(cx);
        }
        this.shared.borrow_mut().end();
        wake(&this.shared);
        Poll::Ready(end)
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.shared.borrow_mut().end();
        wake(&self.shared);
    }
}

// === impl Stall ===

impl Stall {
    /// `Pending` until the socket has taken nothing for [`WRITE_STALL_MAX`].
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_MAX)));
        if !self.running {
            self.running = true;
            timer.as_mut().reset(Instant::now() + WRITE_STALL_MAX);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(MuxError::Stalled))
    }
}
