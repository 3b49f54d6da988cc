//! The header of every frame: version, type, flags, stream id, length; 12 bytes, big endian.
//!
//! Source: hashicorp/yamux `spec.md`, "Framing".

use super::Role;

/// Length of a frame's header.
pub const HEADER_BYTES: usize = 12;

/// The stream is new.
pub(super) const SYN: u16 = 1;
/// The stream is acknowledged.
pub(super) const ACK: u16 = 2;
/// The sender's half is finished.
pub(super) const FIN: u16 = 4;
/// The stream ends at once.
pub(super) const RST: u16 = 8;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `length` bytes of payload follow.
    Data,
    /// `length` more bytes may be sent to the sender of this.
    WindowUpdate,
    /// `length` is an opaque value to send back.
    Ping,
    /// `length` is a [`GoAway`].
    GoAway,
}

/// Why no further streams are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoAway {
    /// Nothing went wrong.
    Normal = 0,
    ProtocolError = 1,
    InternalError = 2,
}

/// A header as it was on the wire, its version and type checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) id: u32,
    pub(super) length: u32,
}

/// Whether `role` opens streams with this id.
pub(super) fn opened_by(role: Role, id: u32) -> bool {
    (id % 2 == 1) == (role == Role::Client)
}

// === impl Header ===

impl Header {
    pub(super) fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, super::SessionError> {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(super::SessionError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            unknown => return Err(super::SessionError::FrameType(unknown)),
        };
        Ok(Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            id: u32::from_be_bytes([i0, i1, i2, i3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[1] = self.kind as u8;
        bytes[2..4].copy_from_slice(&self.flags.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.id.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}
