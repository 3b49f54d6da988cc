//! Buffers in which packs come from their builder, and in which they are gathered for transports
//! that cannot send many pieces at once.
//!
//! Always true: a buffer is owned by whoever fills or sends it, and comes back when the last
//! byte of it was sent; at most [`IDLE_MAX`] wait here.
//! Never here: what is in the buffers.

use crate::reactor::children::STDOUT_PIPE_BYTES;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// All that a child's pipe may hold: fewer, larger writes to the pack's file, each of which wakes a
/// thread of the kernel. Pages that nobody wrote to take no memory.
const BUFFER_BYTES: usize = STDOUT_PIPE_BYTES;
/// Idle buffers that are kept: 4 MiB.
const IDLE_MAX: usize = 4;

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

    /// The first of `pieces` as one, as many as a buffer holds; `None` where there are none.
    pub fn gather(&self, pieces: &mut Vec<Bytes>) -> Option<Bytes> {
        if pieces.len() < 2 {
            return pieces.pop();
        }
        let (mut buffer, mut filled_bytes) = (self.take(), 0);
        let mut taken = 0;
        for piece in &mut *pieces {
            let room = &mut buffer.bytes()[filled_bytes..];
            let part = piece.split_to(piece.len().min(room.len()));
            room[..part.len()].copy_from_slice(&part);
            filled_bytes += part.len();
            if !piece.is_empty() {
                break;
            }
            taken += 1;
        }
        pieces.drain(..taken);
        Some(buffer.sent(filled_bytes))
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
