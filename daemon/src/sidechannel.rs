//! Sidechannels: the streams that carry packs beside gRPC, both ends.
//!
//! ```text
//!   server: open ── writes magic and id, waits for "ok" ── ServerEnd
//!   client: Registry::register ── metadata of a call ── Waiter::accept ── ClientEnd
//! ```
//!
//! Always true:
//! - an end that is dropped before it was closed resets the stream, so a pack that breaks off is
//!   never taken for a whole one;
//! - a waiter that is dropped is forgotten, and its id never used again.
//!
//! Never here: framing (`gitring_proto::sidechannel`), what is carried.

mod client;

#[cfg(test)]
mod tests;

use crate::mux::{Mux, MuxStream, StreamError};
use bytes::Bytes;
use gitring_proto::sidechannel::{CONFIRMATION, DecodeError, Decoder, OPENING_MS_MAX, Piece};
use gitring_proto::yamux;
use std::future::poll_fn;
use std::time::Duration;

pub use client::{AcceptError, ClientEnd, ReceiveError, Registry, Waiter};
pub use gitring_proto::sidechannel::SidechannelId;

/// How long Gitaly waits for a client's confirmation.
pub const OPENING_MAX: Duration = Duration::from_millis(OPENING_MS_MAX);

/// Why a server got no sidechannel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// No stream.
    #[error("open a stream for the sidechannel: {0}")]
    Stream(yamux::OpenError),
    /// The stream broke, for one because the client reset it: it does not know the id.
    #[error("sidechannel handshake: {0}")]
    Broken(#[from] StreamError),
    /// The client closed the stream.
    #[error("sidechannel handshake: unexpected EOF")]
    Closed,
    /// The client answered something else than `ok`.
    #[error("sidechannel handshake: unexpected response: {0:?}")]
    Unconfirmed(Bytes),
    /// No answer within the deadline.
    #[error("sidechannel handshake: no response within {0:?}")]
    TimedOut(Duration),
}

/// Why a server cannot read on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// The stream broke.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The client sent something else than packets, or closed the stream without the last one.
    #[error(transparent)]
    Packets(#[from] DecodeError),
}

/// The end of whoever serves the call: reads packets, writes bytes as they are.
#[derive(Debug)]
pub struct ServerEnd {
    stream: MuxStream,
    decoder: Decoder,
}

/// Reads one end while its [`Writer`] writes.
#[derive(Debug)]
pub struct Reader<'a> {
    stream: &'a MuxStream,
    decoder: &'a mut Decoder,
}

/// Writes one end while its [`Reader`] reads.
#[derive(Debug)]
pub struct Writer<'a> {
    stream: &'a MuxStream,
}

/// Opens the sidechannel that the client of a call waits for, with [`OPENING_MAX`] usually.
pub async fn open(
    mux: &Mux,
    id: SidechannelId,
    deadline: Duration,
) -> Result<ServerEnd, OpenError> {
    let (stream, early) = open_stream(mux, id, deadline).await?;
    let mut decoder = Decoder::default();
    decoder.push(early);
    Ok(ServerEnd { stream, decoder })
}

/// The same for whoever passes on what the client sends: the stream, and what came behind the
/// confirmation.
pub(crate) async fn open_stream(
    mux: &Mux,
    id: SidechannelId,
    deadline: Duration,
) -> Result<(MuxStream, Bytes), OpenError> {
    tokio::time::timeout(deadline, handshake(mux, id))
        .await
        .unwrap_or(Err(OpenError::TimedOut(deadline)))
}

async fn handshake(mux: &Mux, id: SidechannelId) -> Result<(MuxStream, Bytes), OpenError> {
    let mut stream = mux.open().await.map_err(OpenError::Stream)?;
    stream.send(Bytes::copy_from_slice(&id.opening())).await?;
    let mut answer = Bytes::new();
    while answer.len() < CONFIRMATION.len() {
        let data = stream.receive().await?.ok_or(OpenError::Closed)?;
        // One byte at most comes before another piece, so this is no copy worth mentioning.
        answer = if answer.is_empty() { data } else { [answer, data].concat().into() };
    }
    let confirmation = answer.split_to(CONFIRMATION.len());
    if confirmation != CONFIRMATION[..] {
        return Err(OpenError::Unconfirmed(confirmation));
    }
    Ok((stream, answer))
}

// === impl ServerEnd ===

impl ServerEnd {
    /// Ends what the client reads. Once this is done, the call may be answered.
    pub async fn close(mut self) -> Result<(), StreamError> {
        self.stream.finish().await
    }

    /// Both directions at once, for a task that reads and writes at the same time.
    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let stream = &self.stream;
        (Reader { stream, decoder: &mut self.decoder }, Writer { stream })
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// The next piece of what the client sends; `None` once it has half closed.
    pub async fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            match self.decoder.next()? {
                Some(Piece::Payload(data)) => return Ok(Some(data)),
                Some(Piece::End) => return Ok(None),
                None => {}
            }
            match poll_fn(|cx| self.stream.poll_receive(cx)).await? {
                Some(data) => self.decoder.push(data),
                None => {
                    self.decoder.close()?;
                    return Ok(None);
                }
            }
        }
    }
}

// === impl Writer ===

impl Writer<'_> {
    /// Queues bytes without copying them; waits while the client's window and the socket are full.
    pub async fn write(&mut self, mut data: Bytes) -> Result<(), StreamError> {
        poll_fn(|cx| self.stream.poll_send(cx, &mut data)).await
    }

    /// The same for many pieces, which leave `data` as they are taken.
    pub async fn write_all(&mut self, data: &mut Vec<Bytes>) -> Result<(), StreamError> {
        poll_fn(|cx| self.stream.poll_send_all(cx, data)).await
    }
}
