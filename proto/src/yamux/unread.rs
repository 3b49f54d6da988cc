//! What a stream has received and nobody has read, and what waits to be sent.
//!
//! Always true:
//! - a large piece is a slice of the buffer that the socket was read into; a small one is copied
//!   and joined with its neighbours, because it would pin that whole buffer. So with read buffers
//!   of at most [`READ_BUFFER_BYTES_MAX`] a queue pins at most eight times its bytes.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// The largest buffer that the driver may read the socket into.
pub const READ_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Pieces below it are copied.
const SLICE_BYTES_MIN: usize = READ_BUFFER_BYTES_MAX / 8;
/// What small pieces are gathered in.
const GATHER_BYTES: usize = 4096;

/// A queue of bytes in pieces.
#[derive(Debug, Default)]
pub(super) struct Unread {
    whole: VecDeque<Bytes>,
    /// Small pieces behind the whole ones.
    gathered: BytesMut,
    bytes: usize,
}

// === impl Unread ===

impl Unread {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a piece that was cut from a read buffer.
    pub(super) fn receive(&mut self, piece: Bytes) {
        if piece.len() < SLICE_BYTES_MIN { self.copy(&piece) } else { self.push(piece) }
    }

    /// Takes a piece as it is.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.close_gathered();
        self.whole.push_back(piece);
    }

    /// Copies a piece.
    pub(super) fn copy(&mut self, piece: &[u8]) {
        self.bytes += piece.len();
        if self.gathered.len() + piece.len() > SLICE_BYTES_MIN {
            self.close_gathered();
        }
        if self.gathered.capacity() - self.gathered.len() < piece.len() {
            self.gathered.reserve(piece.len().max(GATHER_BYTES));
        }
        self.gathered.extend_from_slice(piece);
    }

    /// The next bytes, as they lie.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let piece = self
            .whole
            .pop_front()
            .or_else(|| (!self.gathered.is_empty()).then(|| self.gathered.split().freeze()))?;
        self.bytes -= piece.len();
        Some(piece)
    }

    /// The next bytes, at most `bytes_max`, which is not zero.
    pub(super) fn pop_up_to(&mut self, bytes_max: usize) -> Option<Bytes> {
        if self.whole.is_empty() {
            self.close_gathered();
        }
        let front = self.whole.front_mut()?;
        let taken = front.len().min(bytes_max);
        let piece = if taken == front.len() {
            self.whole.pop_front()?
        } else {
            let piece = front.slice(..taken);
            front.advance(taken);
            piece
        };
        self.bytes -= taken;
        Some(piece)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.whole.push_back(self.gathered.split().freeze());
        }
    }
}
