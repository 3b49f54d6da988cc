//! Buffers in which packs are framed, reused from one window to the next.
//!
//! ```text
//!   [hhhhh|payload 65,515][hhhhh|payload 65,515] …    one buffer, sent as one piece
//! ```
//!
//! Always true: a buffer is owned by whoever fills or sends it, and comes back when the last
//! byte of it was sent; at most [`IDLE_MAX`] wait here.
//! Never here: what is in the buffers.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Packets of side-band-64k that one buffer holds: four are 256 KiB, one large vectored write.
pub(super) const PACKETS: usize = 4;
const BUFFER_BYTES: usize = PACKETS * gitring_git::pkt_line::PACKET_BYTES_MAX;
/// Idle buffers that are kept: 4 MiB.
const IDLE_MAX: usize = 16;

/// The buffers of the process; its clones share them.
#[derive(Debug, Clone, Default)]
pub struct Buffers {
    idle: Arc<Mutex<Vec<Box<[u8]>>>>,
}

/// A buffer out of the pool.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    home: Buffers,
}

// === impl Buffers ===

impl Buffers {
    /// A buffer whose content is arbitrary.
    pub(super) fn take(&self) -> Buffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        Buffer { bytes, home: self.clone() }
    }
}

// === impl Buffer ===

impl Buffer {
    /// All of it, to be filled.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The front of it, to be sent; the buffer goes home when that was dropped.
    pub(super) fn sent(self, length_bytes: usize) -> Bytes {
        Bytes::from_owner(self).slice(..length_bytes)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}
