//! Sidechannels: packs travel beside gRPC, on yamux streams that the server opens to its client.
//!
//! ```text
//!   client → server   metadata of the call: gitaly-sidechannel-id: 7
//!   server → client   sidechannel 00 00 00 00 00 00 00 07
//!   client → server   ok
//!   client → server   000bpayload … 0000     packets, half close
//!   server → client   bytes as they are, up to the end of the stream
//! ```
//!
//! yamux streams have no half close for Go's clients, hence the packets in one direction. The
//! server closes the stream before it answers the call; the client waits for both.
//!
//! Always true: payload is handed on as slices of what came in, never gathered to whole packets,
//! so a decoder holds no more than what was pushed last.
//! Never here: streams, deadlines ([`OPENING_MS_MAX`] is kept by whoever has a clock), and which
//! id belongs to which call.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::listenmux::{MAGIC_BYTES, SIDECHANNEL};

mod packet;

pub use packet::{
    DecodeError, Decoder, END, HEADER_BYTES, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX, Packet, Piece,
    packets,
};

/// Key of the metadata that names a sidechannel. If it occurs repeatedly, the last value counts.
pub const METADATA_KEY: &str = "gitaly-sidechannel-id";

/// What the client answers to an opening before any packet.
pub const CONFIRMATION: &[u8; 2] = b"ok";

/// How long Gitaly gives an opening and its confirmation together, in milliseconds.
pub const OPENING_MS_MAX: u64 = 5_000;

/// Length of an opening: the magic and the id.
pub const OPENING_BYTES: usize = MAGIC_BYTES + size_of::<i64>();

/// The client's name for a sidechannel: clients count from 0 on every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SidechannelId(pub i64);

/// The value of [`METADATA_KEY`] is not a decimal number of 64 bits.
///
/// Gitaly goes on with 0, or with the nearest number that fits: the stream of another call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sidechannel id is not a decimal number of 64 bits")]
pub struct InvalidId;

// === impl SidechannelId ===

impl SidechannelId {
    /// What the server sends first on a new stream.
    pub fn opening(self) -> [u8; OPENING_BYTES] {
        let mut opening = [0; OPENING_BYTES];
        opening[..MAGIC_BYTES].copy_from_slice(SIDECHANNEL);
        opening[MAGIC_BYTES..].copy_from_slice(&self.0.to_be_bytes());
        opening
    }

    /// The id behind the magic, big-endian.
    pub fn from_wire(bytes: [u8; size_of::<i64>()]) -> Self {
        Self(i64::from_be_bytes(bytes))
    }
}

impl FromStr for SidechannelId {
    type Err = InvalidId;

    /// Parses the value of [`METADATA_KEY`].
    fn from_str(value: &str) -> Result<Self, InvalidId> {
        value.parse().map(Self).map_err(|_| InvalidId)
    }
}

impl Display for SidechannelId {
    /// The value of [`METADATA_KEY`].
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_metadata() {
        let check = |value: &str, id: Option<i64>| {
            assert_eq!(value.parse(), id.map(SidechannelId).ok_or(InvalidId), "{value:?}");
        };
        check("0", Some(0));
        check("7", Some(7));
        check("-1", Some(-1));
        check("+1", Some(1));
        check("007", Some(7));
        check("9223372036854775807", Some(i64::MAX));
        check("9223372036854775808", None);
        check("", None);
        check("-", None);
        check(" 1", None);
        check("1,2", None);
        check("0x1", None);
        check("1_0", None);
    }

    #[test]
    fn openings() {
        let check = |id: i64, expected: &[u8; OPENING_BYTES]| {
            let opening = SidechannelId(id).opening();
            assert_eq!(&opening, expected);
            let (_, behind) = opening.split_last_chunk().unwrap();
            assert_eq!(SidechannelId::from_wire(*behind), SidechannelId(id));
        };
        check(0, b"sidechannel\0\0\0\0\0\0\0\0");
        check(0x0102_0304, b"sidechannel\0\0\0\0\x01\x02\x03\x04");
        check(-2, b"sidechannel\xff\xff\xff\xff\xff\xff\xff\xfe");
    }
}
