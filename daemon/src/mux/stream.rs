//! One stream of a mux.

use super::Handle;
use super::shared::{Shared, after};
use bytes::{Buf, Bytes};
use gitring_proto::yamux::{Read, StreamError, StreamId};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads and writes one stream.
///
/// [`AsyncWrite::poll_shutdown`] finishes our half and is done once the FIN is on its way. A
/// stream that is dropped before is reset, so that a peer never takes half of an answer for the
/// whole; after it, the stream lingers for the peer's FIN as Go's `Close` does.
///
/// [`AsyncWrite::poll_flush`] has nothing to wait for: what was taken is sent without further
/// ado.
#[derive(Debug)]
pub struct MuxStream {
    mux: Rc<Handle>,
    id: StreamId,
    /// Received, and partly copied out by [`AsyncRead`].
    partial: Bytes,
}

// === impl MuxStream ===

impl MuxStream {
    pub(super) fn new(mux: Rc<Handle>, id: StreamId) -> Self {
        Self { mux, id, partial: Bytes::new() }
    }

    /// Queues `data` without copying it; waits for room, which depends on window and socket.
    pub async fn send(&mut self, mut data: Bytes) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_send(cx, &mut data)).await
    }

    /// The next bytes as they arrived, without copying; `None` once the peer has finished.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, StreamError> {
        if !self.partial.is_empty() {
            return Ok(Some(self.take_partial()));
        }
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Finishes our half; done once the FIN is on its way.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// What [`AsyncRead`] has read further than its caller wanted.
    pub(crate) fn take_partial(&mut self) -> Bytes {
        std::mem::take(&mut self.partial)
    }

    /// See [`MuxStream::send`]: ready once `data` is empty. One task at a time may wait for this
    /// or for [`MuxStream::poll_finish`], another one to receive.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
    ) -> Poll<Result<(), StreamError>> {
        while !data.is_empty() {
            ready!(self.poll_room(cx, |shared, id| shared.session.send(id, data)))?;
        }
        Poll::Ready(Ok(()))
    }

    /// The same for many pieces, which leave `data` as they are taken, first to last.
    pub(crate) fn poll_send_all(
        &self,
        cx: &mut Context<'_>,
        data: &mut Vec<Bytes>,
    ) -> Poll<Result<(), StreamError>> {
        let mut sent = 0;
        let result = loop {
            match data.get_mut(sent).map(|piece| self.poll_send(cx, piece)) {
                Some(Poll::Ready(Ok(()))) => sent += 1,
                Some(other) => break other,
                None => break Poll::Ready(Ok(())),
            }
        };
        data.drain(..sent);
        result
    }

    /// See [`MuxStream::receive`], of which this does not know what [`AsyncRead`] has left.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        let mut shared = self.mux.0.borrow_mut();
        let read = shared.session.read(self.id)?;
        match read {
            Read::Pending => {
                let former = shared.wait_to_read(self.id, cx.waker());
                drop(shared);
                drop(former);
                Poll::Pending
            }
            Read::End => Poll::Ready(Ok(None)),
            Read::Data(data) => {
                drop(shared);
                after(&self.mux.0);
                Poll::Ready(Ok(Some(data)))
            }
        }
    }

    /// See [`MuxStream::finish`].
    pub(crate) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let mut shared = self.mux.0.borrow_mut();
        shared.session.finish(self.id);
        if shared.session.finished(self.id)? {
            return Poll::Ready(Ok(()));
        }
        let former = shared.wait_to_write(self.id, cx.waker());
        drop(shared);
        drop(former);
        after(&self.mux.0);
        Poll::Pending
    }

    /// `take` says how many bytes there was room for.
    fn poll_room(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Shared, StreamId) -> Result<usize, StreamError>,
    ) -> Poll<Result<usize, StreamError>> {
        let mut shared = self.mux.0.borrow_mut();
        let taken = take(&mut shared, self.id)?;
        if taken == 0 {
            let former = shared.wait_to_write(self.id, cx.waker());
            drop(shared);
            drop(former);
            return Poll::Pending;
        }
        drop(shared);
        after(&self.mux.0);
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for MuxStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Some callers' buffers hold what earlier calls have read.
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            if self.partial.is_empty() {
                match self.poll_receive(cx) {
                    Poll::Ready(Ok(Some(data))) => self.partial = data,
                    // What was copied already is an answer; the rest is for the next call.
                    Poll::Ready(_) | Poll::Pending if buffer.filled().len() > before => break,
                    Poll::Ready(Ok(None)) => break,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(into_io(error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let copied = buffer.remaining().min(self.partial.len());
            buffer.put_slice(&self.partial[..copied]);
            self.partial.advance(copied);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MuxStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_room(cx, |shared, id| shared.session.send_copy(id, data)).map_err(into_io)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_room(cx, |shared, id| {
            let mut taken = 0;
            for slice in slices {
                let count = shared.session.send_copy(id, slice)?;
                taken += count;
                if count < slice.len() {
                    break;
                }
            }
            Ok(taken)
        })
        .map_err(into_io)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx).map_err(into_io)
    }
}

impl Drop for MuxStream {
    fn drop(&mut self) {
        let mut shared = self.mux.0.borrow_mut();
        shared.session.release(self.id);
        let forgotten = shared.forget(self.id);
        drop(shared);
        drop(forgotten);
        after(&self.mux.0);
    }
}

fn into_io(error: StreamError) -> io::Error {
    let kind = match error {
        StreamError::Reset => io::ErrorKind::ConnectionReset,
        StreamError::Finished => io::ErrorKind::BrokenPipe,
        StreamError::SessionEnded => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, error)
}
