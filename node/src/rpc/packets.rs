//! Packets out of a client's byte stream.
//!
//! Always true: buffers one packet and what arrived with it, never more.
//! Never here: what packets mean.

use crate::rpc::wire::Input;
use bytes::{Buf, Bytes, BytesMut};
use gitring_git::pkt_line::{self, DecodeError, Decoded, HEADER_BYTES, Packet};
use std::io;

/// Reads a client's packets.
#[derive(Debug)]
pub(super) struct Packets<'a, I> {
    input: &'a mut I,
    /// What arrived; the front chunk is decoded without a copy.
    arrived: Bytes,
    /// A packet that came in pieces.
    pieces: BytesMut,
}

/// Why there is no next packet.
#[derive(Debug, thiserror::Error)]
pub(super) enum PacketError {
    /// The client's bytes did not arrive.
    #[error("read the request")]
    Input(#[source] io::Error),
    /// They are no packets.
    #[error("protocol error: {0}")]
    Framing(#[from] DecodeError),
}

/// One packet with the bytes that it stands in.
#[derive(Debug)]
pub(super) struct Framed(Bytes);

// === impl Framed ===

impl Framed {
    /// The packet.
    pub(super) fn packet(&self) -> Packet<'_> {
        match pkt_line::decode(&self.0) {
            Ok(Decoded::Packet { packet, .. }) => packet,
            // Was decoded before it was framed.
            Ok(Decoded::Incomplete { .. }) | Err(_) => Packet::Flush,
        }
    }
}

// === impl Packets ===

impl<'a, I: Input> Packets<'a, I> {
    /// Packets of `input`.
    pub(super) fn new(input: &'a mut I) -> Self {
        Self { input, arrived: Bytes::new(), pieces: BytesMut::new() }
    }

    /// The next packet; `None` where the client has ended. As in git, an end inside a packet is an
    /// end: whether one may come here is the conversation's to judge.
    pub(super) async fn next(&mut self) -> Result<Option<Framed>, PacketError> {
        loop {
            let front = if self.pieces.is_empty() { &self.arrived[..] } else { &self.pieces[..] };
            let missing_bytes = match pkt_line::decode(front)? {
                Decoded::Packet { length_bytes, .. } if self.pieces.is_empty() => {
                    return Ok(Some(Framed(self.arrived.split_to(length_bytes))));
                }
                Decoded::Packet { .. } => return Ok(Some(Framed(self.pieces.split().freeze()))),
                Decoded::Incomplete { missing_bytes } => missing_bytes,
            };
            if self.arrived.is_empty() || self.pieces.is_empty() {
                self.pieces.extend_from_slice(&self.arrived);
                self.arrived = Bytes::new();
                match self.input.read().await.map_err(PacketError::Input)? {
                    Some(bytes) => self.arrived = bytes,
                    None => return Ok(None),
                }
            }
            if !self.pieces.is_empty() {
                let taken = missing_bytes.min(self.arrived.len());
                self.pieces.extend_from_slice(&self.arrived[..taken]);
                self.arrived.advance(taken);
            }
            debug_assert!(self.pieces.len() <= pkt_line::PACKET_BYTES_MAX.max(HEADER_BYTES));
        }
    }

    /// What arrived and was not returned as a packet yet.
    pub(super) fn take_unread(&mut self) -> Bytes {
        if self.pieces.is_empty() {
            return std::mem::take(&mut self.arrived);
        }
        let mut unread = std::mem::take(&mut self.pieces);
        unread.extend_from_slice(&std::mem::take(&mut self.arrived));
        unread.freeze()
    }

    /// Where further bytes come from.
    pub(super) fn input(&mut self) -> &mut I {
        self.input
    }
}
