//! What names a stream, and what its maker says of it.

use bytes::Bytes;
use std::fmt;

/// Longest [`Note`], so that a header fits its 4,096 bytes.
const NOTE_BYTES_MAX: usize = 3_584;

/// Names a stream: a digest over everything that decides its bytes. Whoever knows a key gets the
/// stream, so a key holds whatever keeps strangers apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// What the maker of a stream wants written beside it for people who look: any bytes, 3,584 at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note(Bytes);

/// A note longer than a header has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are too many for a note, {NOTE_BYTES_MAX} fit")]
pub struct NoteTooLong {
    /// Its length.
    pub bytes: usize,
}

// === impl Key ===

impl Key {
    /// A key from its digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(digest))
    }
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({self})")
    }
}

// === impl Note ===

impl Note {
    /// A note of these bytes.
    ///
    /// # Errors
    /// Where they do not fit.
    pub fn new(bytes: Bytes) -> Result<Self, NoteTooLong> {
        match bytes.len() {
            0..=NOTE_BYTES_MAX => Ok(Self(bytes)),
            bytes => Err(NoteTooLong { bytes }),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
