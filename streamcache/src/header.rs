//! The first 4,096 bytes of a stored stream.
//!
//! ```text
//!   offset  size  meaning (integers are little-endian)
//!        0     8  magic
//!        8     4  version
//!       12     4  length of the note in bytes
//!       16    32  key
//!       48     8  length of the payload in bytes
//!       56    32  BLAKE3 of the payload
//!       88     8  creation time, nanoseconds since the Unix epoch
//!       96    32  BLAKE3 of this header with these 32 bytes zero
//!      128   384  zero
//!      512  3584  note, then zeros
//!     4096     -  payload
//! ```
//!
//! Always true:
//! - a header that decodes is the one that was encoded: a torn one fails its own digest.
//!
//! Never here: files.

use crate::{Key, Note};
use bytes::Bytes;
use std::time::Duration;

/// Length of the header; the payload begins behind it, aligned to a page.
pub(crate) const HEADER_BYTES: usize = 4_096;

/// [`HEADER_BYTES`] as an offset.
pub(crate) const PAYLOAD_OFFSET: u64 = HEADER_BYTES as u64;

const MAGIC: &[u8; 8] = b"\x89STREAM\n";
const VERSION: u32 = 1;
const DIGEST_AT: usize = 96;
const NOTE_AT: usize = 512;

/// What is written before a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: Key,
    pub(crate) length_bytes: u64,
    pub(crate) digest: [u8; 32],
    /// When the stream was begun, since the Unix epoch.
    pub(crate) created: Duration,
    pub(crate) note: Note,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("{0} bytes are no header")]
    Length(usize),
    #[error("another kind of file")]
    Foreign,
    #[error("version {0} of the format")]
    Version(u32),
    #[error("a torn or changed header")]
    Corrupt,
}

// === impl Header ===

impl Header {
    /// The bytes of this header.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![0; HEADER_BYTES];
        let note = self.note.as_bytes();
        // 2^64 nanoseconds end in the year 2554.
        let created = u64::try_from(self.created.as_nanos()).unwrap_or(u64::MAX);
        // A note has 3,584 bytes at most.
        let note_bytes = note.len() as u32;
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&note_bytes.to_le_bytes());
        out[16..48].copy_from_slice(self.key.as_bytes());
        out[48..56].copy_from_slice(&self.length_bytes.to_le_bytes());
        out[56..88].copy_from_slice(&self.digest);
        out[88..96].copy_from_slice(&created.to_le_bytes());
        out[NOTE_AT..NOTE_AT + note.len()].copy_from_slice(note);
        let digest = blake3::hash(&out);
        out[DIGEST_AT..DIGEST_AT + 32].copy_from_slice(digest.as_bytes());
        out.into()
    }

    /// The header that `bytes` are.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Ok(bytes) = <&[u8; HEADER_BYTES]>::try_from(bytes) else {
            return Err(HeaderError::Length(bytes.len()));
        };
        if &bytes[..8] != MAGIC {
            return Err(HeaderError::Foreign);
        }
        let version = u32::from_le_bytes(array(&bytes[8..12]));
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let mut blank = *bytes;
        blank[DIGEST_AT..DIGEST_AT + 32].fill(0);
        if blake3::hash(&blank).as_bytes() != &bytes[DIGEST_AT..DIGEST_AT + 32] {
            return Err(HeaderError::Corrupt);
        }
        let note_bytes = u32::from_le_bytes(array(&bytes[12..16])) as usize;
        let note = bytes[NOTE_AT..].get(..note_bytes).ok_or(HeaderError::Corrupt)?;
        Ok(Self {
            key: Key::new(array(&bytes[16..48])),
            length_bytes: u64::from_le_bytes(array(&bytes[48..56])),
            digest: array(&bytes[56..88]),
            created: Duration::from_nanos(u64::from_le_bytes(array(&bytes[88..96]))),
            note: Note::new(Bytes::copy_from_slice(note)).map_err(|_| HeaderError::Corrupt)?,
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the ranges above have these lengths")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(note: &[u8]) -> Header {
        Header {
            key: Key::new([7; 32]),
            length_bytes: 5_000_000_000,
            digest: [9; 32],
            created: Duration::from_nanos(1_700_000_000_123_456_789),
            note: Note::new(Bytes::copy_from_slice(note)).unwrap(),
        }
    }

    #[test]
    fn decodes_what_it_encoded() {
        for note in [&b""[..], b"x", &[b'n'; 3_584]] {
            let bytes = header(note).encode();
            assert_eq!(Header::decode(&bytes), Ok(header(note)), "{} bytes", note.len());
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        fn check(at: usize, expected: HeaderError) {
            let mut bytes = header(b"note").encode().to_vec();
            bytes[at] ^= 0x40;
            assert_eq!(Header::decode(&bytes), Err(expected), "byte {at}");
        }
        check(0, HeaderError::Foreign);
        check(8, HeaderError::Version(0x41));
        for at in [12, 15, 16, 47, 48, 55, 56, 88, 95, 96, 127, 128, 511, 512, 516, 4_095] {
            check(at, HeaderError::Corrupt);
        }
    }

    #[test]
    fn other_lengths_and_an_empty_page_are_no_header() {
        fn check(bytes: &[u8], expected: HeaderError) {
            assert_eq!(Header::decode(bytes), Err(expected));
        }
        check(b"", HeaderError::Length(0));
        check(&header(b"").encode()[..4_095], HeaderError::Length(4_095));
        // A `.part` whose header never came, renamed by a crash that lost the header's page.
        check(&[0; HEADER_BYTES], HeaderError::Foreign);
    }
}
