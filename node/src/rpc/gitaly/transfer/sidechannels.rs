//! A client's sidechannel as the two sides of a fetch.
//!
//! ```text
//!   HTTP   the bytes as they are
//!   SSH    side-band-64k: band 1 standard output, band 2 standard error
//! ```

use crate::rpc::fetch::Buffers;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::pieces::STALL_MAX;
use crate::rpc::wire::{FetchError, Gone, Input, Output};
use bytes::Bytes;
use gitring_daemon::sidechannel::{self, OPENING_MAX, Reader, ServerEnd, Writer};
use gitring_git::sideband::{self, Band, Width};
use gitring_proto::sidechannel::SidechannelId;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Kept of what git complains about until the next piece goes out.
const COMPLAINT_BYTES_MAX: usize = 4 * 1024;

/// Why a call has no sidechannel.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The connection is plain gRPC.
    #[error("the connection carries no sidechannels: dial with a backchannel")]
    NoMux,
    /// The call names none.
    #[error("no sidechannel id in the metadata")]
    NoId,
    /// Not a number.
    #[error("the sidechannel id is not a number")]
    BadId,
    /// The client did not take it.
    #[error(transparent)]
    Refused(#[from] sidechannel::OpenError),
}

/// What the client sends.
#[derive(Debug)]
pub(super) struct SidechannelInput<'a> {
    reader: Reader<'a>,
    silence_max: Option<Duration>,
}

/// What the client of an HTTP fetch gets.
#[derive(Debug)]
pub(super) struct HttpOutput<'a>(pub(super) Writer<'a>);

/// What the client of an SSH fetch gets.
#[derive(Debug)]
pub(super) struct SshOutput<'a> {
    writer: Writer<'a>,
    /// In front of a full packet of standard output, which most are.
    full_header: Bytes,
    /// Headers and payloads of one write, in turn.
    framed: Vec<Bytes>,
    complaint: Vec<u8>,
}

/// Opens the sidechannel that the client of this call waits for.
pub(super) async fn open(context: &Context) -> Result<ServerEnd, OpenError> {
    let mux = context.mux.as_ref().ok_or(OpenError::NoMux)?;
    let id = context.sidechannel_id.as_ref().ok_or(OpenError::NoId)?;
    let id: SidechannelId =
        id.to_str().ok().and_then(|id| id.parse().ok()).ok_or(OpenError::BadId)?;
    Ok(sidechannel::open(mux, id, OPENING_MAX).await?)
}

async fn in_time<E>(writing: impl Future<Output = Result<(), E>>) -> Result<(), Gone> {
    match timeout(STALL_MAX, writing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

/// Ends what the client reads, which it waits for before it looks at the call's answer; after a
/// fetch whose client did not read to the end, breaks it off.
pub(super) async fn close<T>(end: ServerEnd, served: &Result<T, FetchError>) -> Result<(), Gone> {
    match served {
        Err(FetchError::Gone(gone)) => Err(*gone),
        Ok(_) | Err(_) => in_time(end.close()).await,
    }
}

// === impl SidechannelInput ===

impl<'a> SidechannelInput<'a> {
    /// Of an HTTP fetch: the client has its request ready, and says nothing after it.
    pub(super) fn of_http(reader: Reader<'a>) -> Self {
        Self { reader, silence_max: Some(STALL_MAX) }
    }

    /// Of an SSH fetch: the client is silent while it reads, and while it works on what it has read.
    pub(super) fn of_ssh(reader: Reader<'a>) -> Self {
        Self { reader, silence_max: None }
    }
}

impl Input for SidechannelInput<'_> {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        let reading = self.reader.read();
        let read = match self.silence_max {
            None => reading.await,
            Some(silence_max) => timeout(silence_max, reading)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
        };
        read.map_err(io::Error::other)
    }
}

// === impl HttpOutput ===

impl Output for HttpOutput<'_> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        in_time(self.0.write(bytes)).await
    }

    async fn write_all(&mut self, pieces: &mut Vec<Bytes>, _: &Buffers) -> Result<(), Gone> {
        in_time(self.0.write_all(pieces)).await
    }

    fn complain(&mut self, text: &[u8]) {
        tracing::warn!("git: {}", String::from_utf8_lossy(text).trim_end());
    }
}

// === impl SshOutput ===

impl<'a> SshOutput<'a> {
    pub(super) fn new(writer: Writer<'a>) -> Self {
        let full_header = sideband::header(Band::Data, Width::Large.payload_bytes_max());
        let full_header = Bytes::copy_from_slice(&full_header);
        Self { writer, full_header, framed: Vec::new(), complaint: Vec::new() }
    }

    /// Sends what was complained about last.
    pub(super) async fn finish(mut self) -> Result<(), Gone> {
        self.frame_complaint();
        self.send().await
    }

    /// Payloads are not copied: a header goes before each.
    fn frame(&mut self, band: Band, bytes: Bytes) {
        self.frame_all(band, &mut vec![bytes]);
    }

    /// The same for pieces; several of them make one packet.
    fn frame_all(&mut self, band: Band, pieces: &mut Vec<Bytes>) {
        let mut left_bytes: usize = pieces.iter().map(Bytes::len).sum();
        let mut packet_bytes = 0;
        for mut piece in pieces.drain(..) {
            while !piece.is_empty() {
                if packet_bytes == 0 {
                    packet_bytes = left_bytes.min(Width::Large.payload_bytes_max());
                    self.framed.push(self.header(band, packet_bytes));
                }
                let payload = piece.split_to(piece.len().min(packet_bytes));
                packet_bytes -= payload.len();
                left_bytes -= payload.len();
                self.framed.push(payload);
            }
        }
    }

    fn header(&self, band: Band, payload_bytes: usize) -> Bytes {
        match (band, payload_bytes == Width::Large.payload_bytes_max()) {
            (Band::Data, true) => self.full_header.clone(),
            _ => Bytes::copy_from_slice(&sideband::header(band, payload_bytes)),
        }
    }

    fn frame_complaint(&mut self) {
        let complaint = std::mem::take(&mut self.complaint);
        self.frame(Band::Progress, complaint.into());
    }

    async fn send(&mut self) -> Result<(), Gone> {
        in_time(self.writer.write_all(&mut self.framed)).await
    }
}

impl Output for SshOutput<'_> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.frame_complaint();
        self.frame(Band::Data, bytes);
        self.send().await
    }

    async fn write_all(&mut self, pieces: &mut Vec<Bytes>, _: &Buffers) -> Result<(), Gone> {
        self.frame_complaint();
        self.frame_all(Band::Data, pieces);
        self.send().await
    }

    fn complain(&mut self, text: &[u8]) {
        let room = COMPLAINT_BYTES_MAX - self.complaint.len();
        self.complaint.extend_from_slice(&text[..text.len().min(room)]);
    }
}
