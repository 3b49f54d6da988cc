//! A connection over a unix socket, or back over a mux, whose `:authority` is made readable
//! ([`gitring_proto::authority`]).

use bytes::{Buf, BytesMut};
use gitring_proto::authority::Filter;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Read at once.
const READ_BYTES: usize = 16 * 1024;

/// The connection as HTTP/2 may read it. What is written passes as it is.
#[derive(Debug)]
pub struct Readable<S> {
    inner: S,
    filter: Filter,
    /// Read from the client: at most a frame and what was read with its end.
    held: BytesMut,
    /// Bytes at the front of `held` that may be passed on.
    ready_bytes: usize,
}

// === impl Readable ===

impl<S> Readable<S> {
    /// `inner` stands before the preface.
    pub fn new(inner: S) -> Self {
        Self { inner, filter: Filter::default(), held: BytesMut::new(), ready_bytes: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Readable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.ready_bytes == 0 {
            this.held.reserve(READ_BYTES);
            let reading = pin!(this.inner.read_buf(&mut this.held));
            let read = ready!(reading.poll(context))?;
            if read == 0 {
                // The client left within a frame: the reader sees the part, and the end.
                this.ready_bytes = this.held.len();
                break;
            }
            this.ready_bytes = this.filter.look(&mut this.held);
        }
        let taken = this.ready_bytes.min(buffer.remaining());
        buffer.put_slice(&this.held[..taken]);
        this.held.advance(taken);
        this.ready_bytes -= taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Readable<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
