//! The first message of a call, for whoever must know or change it before the rest passes.
//!
//! ```text
//!   body ── first_message ─┬─► First::message   decoded, changed, encoded by the caller
//!                          └─► First::rest ── Rest::after(message) ──► body again
//! ```
//!
//! Always true: what follows the first message passes as it comes, whether or not it had arrived
//! with it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Before each message (gRPC over HTTP2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// The beginning of what a client sends.
#[derive(Debug)]
pub struct First<B> {
    /// The first message as it was encoded; none where the client has ended without any.
    pub message: Option<Bytes>,
    /// What follows.
    pub rest: Rest<B>,
}

/// A body behind its first message.
#[derive(Debug)]
pub struct Rest<B> {
    /// Arrived with the message.
    ahead: Bytes,
    /// Ended before the first message.
    trailers: Option<Frame<Bytes>>,
    body: B,
}

/// A body with a first message of the caller's.
#[derive(Debug)]
pub struct Rebuilt<B> {
    /// Prefix and message, then what arrived with it.
    pieces: [Bytes; 2],
    trailers: Option<Frame<Bytes>>,
    body: B,
}

/// Why there is no first message.
#[derive(Debug, thiserror::Error)]
pub enum FirstError {
    /// Longer than the caller wants to hold.
    #[error("grpc: received message larger than max ({bytes} vs. {bytes_max})")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Nothing here inflates.
    #[error("the message is compressed, which no client of Gitaly does")]
    Compressed,
    /// The body ended within it.
    #[error("the request ended within its first message")]
    Truncated,
    /// The client broke off.
    #[error("the client broke off")]
    Body(#[source] Box<dyn Error + Send + Sync>),
}

/// Reads up to the end of the first message, of at most `bytes_max` bytes.
pub async fn first_message<B>(mut body: B, bytes_max: usize) -> Result<First<B>, FirstError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut read = BytesMut::new();
    let mut trailers = None;
    loop {
        if let Some(bytes) = length(&read, bytes_max)?
            && let Some(ahead) = read.len().checked_sub(PREFIX_BYTES + bytes)
        {
            read.advance(PREFIX_BYTES);
            let message = read.split_to(read.len() - ahead).freeze();
            let rest = Rest { ahead: read.freeze(), trailers, body };
            return Ok(First { message: Some(message), rest });
        }
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let frame = frame.transpose().map_err(|error| FirstError::Body(error.into()))?;
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => read.extend_from_slice(&data),
            Some(Err(frame)) => trailers = Some(frame),
            None if read.is_empty() => {
                let rest = Rest { ahead: Bytes::new(), trailers, body };
                return Ok(First { message: None, rest });
            }
            None => return Err(FirstError::Truncated),
        }
    }
}

/// The length of the message that begins here, once it is known.
fn length(read: &[u8], bytes_max: usize) -> Result<Option<usize>, FirstError> {
    let Some(([compressed, length @ ..], _)) = read.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    if *compressed != 0 {
        return Err(FirstError::Compressed);
    }
    let bytes = u32::from_be_bytes(*length) as usize;
    if bytes > bytes_max { Err(FirstError::TooLong { bytes, bytes_max }) } else { Ok(Some(bytes)) }
}

// === impl Rest ===

impl<B> Rest<B> {
    /// The body with this message in front, which has less than 4 GiB.
    pub fn after(self, message: Option<Bytes>) -> Rebuilt<B> {
        let message = message.map_or(Bytes::new(), |message| {
            let mut whole = BytesMut::with_capacity(PREFIX_BYTES + message.len());
            whole.put_u8(0);
            whole.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
            whole.put(message);
            whole.freeze()
        });
        let Self { ahead, trailers, body } = self;
        Rebuilt { pieces: [message, ahead], trailers, body }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Rebuilt<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(piece) = self.pieces.iter_mut().find(|piece| !piece.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(piece)))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        let read = self.pieces.iter().all(Bytes::is_empty) && self.trailers.is_none();
        read && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::convert::Infallible;

    /// Frames that have all arrived.
    struct Frames(VecDeque<Bytes>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    /// The body behind its first message is what it was, or why there is none.
    async fn check(body: &[u8], frame_bytes: usize, expected: Result<Option<&[u8]>, &str>) {
        let frames = Frames(body.chunks(frame_bytes).map(Bytes::copy_from_slice).collect());
        let found = first_message(frames, 10).await.map_err(|error| error.to_string());
        let message = found.as_ref().map(|first| first.message.clone()).map_err(String::as_str);
        assert_eq!(message, expected.map(|message| message.map(Bytes::copy_from_slice)));
        let Ok(First { message, rest }) = found else { return };
        let mut rebuilt = rest.after(message);
        let mut read = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut rebuilt).poll_frame(cx)).await {
            let frame = frame.unwrap_or_else(|error| match error {});
            read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        assert_eq!(read, body, "{frame_bytes}");
    }

    #[tokio::test]
    async fn first_messages_however_the_body_is_cut() {
        let two = b"\0\0\0\0\x03abc\0\0\0\0\x01d";
        for frame_bytes in 1..=two.len() {
            check(two, frame_bytes, Ok(Some(b"abc"))).await;
            check(b"\0\0\0\0\0", frame_bytes, Ok(Some(b""))).await;
            check(b"", frame_bytes, Ok(None)).await;
            let truncated = Err("the request ended within its first message");
            check(b"\0\0\0\0\x03ab", frame_bytes, truncated).await;
            check(b"\0\0", frame_bytes, truncated).await;
            let compressed = Err("the message is compressed, which no client of Gitaly does");
            check(b"\x01\0\0\0\x03abc", frame_bytes, compressed).await;
            let long = Err("grpc: received message larger than max (11 vs. 10)");
            check(b"\0\0\0\0\x0babc", frame_bytes, long).await;
        }
    }
}
