//! Calls whose messages are bytes: nothing is encoded or decoded while load is made.
//!
//! Always true: a message is copied once, into its frame.
//!
//! Never here: which messages.

use bytes::{Buf, BufMut, Bytes};
use gitring_daemon::client::Client;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};

/// Messages are short; tonic's own buffers have 8 KiB and are made anew for each call.
const BUFFER_BYTES: usize = 512;

/// Bytes that are sent at once.
const SEND_BYTES: usize = 32 * 1024;

/// Messages as they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

/// A call with one answer.
pub(super) async fn unary(
    client: &Client,
    path: &PathAndQuery,
    request: Request<Bytes>,
) -> Result<Bytes, Status> {
    let answer = Grpc::new(client.clone()).unary(request, path.clone(), Raw).await?;
    Ok(answer.into_inner())
}

/// A call with many answers.
pub(super) async fn stream(
    client: &Client,
    path: &PathAndQuery,
    request: Request<Bytes>,
) -> Result<Streaming<Bytes>, Status> {
    let answers = Grpc::new(client.clone()).server_streaming(request, path.clone(), Raw).await?;
    Ok(answers.into_inner())
}

// === impl Raw ===

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, SEND_BYTES)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, SEND_BYTES)
    }
}
