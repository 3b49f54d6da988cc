//! The pieces of one write, as one piece of a body: hyper writes them with one vectored write.
//!
//! Always true: no piece is empty; nothing is copied.
//! Never here: what the pieces are.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes in pieces.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

// === impl Chunk ===

impl Chunk {
    pub(super) fn push_front(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_front(piece);
        }
    }
}

impl FromIterator<Bytes> for Chunk {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let pieces: VecDeque<Bytes> =
            pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let bytes = pieces.iter().map(Bytes::len).sum();
        Self { pieces, bytes }
    }
}

impl From<Bytes> for Chunk {
    fn from(piece: Bytes) -> Self {
        Self::from_iter([piece])
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.len().min(self.pieces.len());
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
        }
        filled
    }

    fn advance(&mut self, mut bytes: usize) {
        assert!(bytes <= self.bytes, "no further than to its end");
        self.bytes -= bytes;
        while bytes > 0
            && let Some(front) = self.pieces.front_mut()
        {
            if bytes < front.len() {
                return front.advance(bytes);
            }
            bytes -= front.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_as_they_were_written() {
        fn check(advanced: usize, expected: &[&str]) {
            let pieces = ["c", "", "def", "gh"].map(|piece| Bytes::from_static(piece.as_bytes()));
            let mut chunk: Chunk = pieces.into_iter().collect();
            chunk.push_front(Bytes::from_static(b"ab"));
            chunk.advance(advanced);
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = chunk.chunks_vectored(&mut slices);
            let found: Vec<&[u8]> = slices[..filled].iter().map(|slice| &**slice).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|piece| piece.as_bytes()).collect();
            assert_eq!(found, expected);
            assert_eq!(chunk.remaining(), expected.concat().len());
            assert_eq!(chunk.chunk(), expected.first().copied().unwrap_or_default());
        }
        check(0, &["ab", "c", "def", "gh"]);
        check(1, &["b", "c", "def", "gh"]);
        check(3, &["def", "gh"]);
        check(7, &["h"]);
        check(8, &[]);
    }
}
