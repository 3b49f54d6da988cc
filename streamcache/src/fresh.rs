//! The pieces of a stream that were made last, for its fastest reader if that keeps up with the
//! producer: what was just written need not be read again.
//!
//! ```text
//!   0 ................. first ............ written
//!   in the file         in the file, and held here while a reader is about to take it
//! ```
//!
//! Always true:
//! - what is held is contiguous and ends with the last byte in the file;
//! - at most `PIECES_MAX` pieces and `BYTES_MAX` are held, and none that the fastest reader has
//!   taken, or that it is too far behind to take soon.
//!
//! Never here: bytes that are nowhere else. Whoever finds nothing reads the file.

use bytes::Bytes;
use std::collections::VecDeque;

/// A pipe's worth: what a producer may write before a reader on its thread has its turn.
const BYTES_MAX: usize = 1 << 20;
/// A piece may be a slice of a buffer many times its size.
const PIECES_MAX: usize = 4;

/// Pieces that lie in the file as well.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    first: u64,
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

// === impl Fresh ===

impl Fresh {
    /// Holds `piece`, which begins at `start`, where the fastest reader, at `front`, will want it
    /// next or has only what is held to take before.
    pub(crate) fn push(&mut self, start: u64, piece: Bytes, front: u64) {
        if self.pieces.is_empty() {
            if front != start {
                return;
            }
            self.first = start;
        }
        self.bytes += piece.len();
        self.pieces.push_back(piece);
        if self.pieces.len() > PIECES_MAX || self.bytes > BYTES_MAX {
            self.clear();
        }
    }

    /// At most `bytes_max` from `position` on, where that is held.
    pub(crate) fn get(&self, position: u64, bytes_max: usize) -> Option<Bytes> {
        let mut skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        for piece in &self.pieces {
            if skip < piece.len() {
                return Some(piece.slice(skip..piece.len().min(skip.saturating_add(bytes_max))));
            }
            skip -= piece.len();
        }
        None
    }

    /// Lets go of what the fastest reader, at `front`, has taken; of everything where that is so far
    /// behind that it reads the file.
    pub(crate) fn release(&mut self, front: u64) {
        if front < self.first {
            self.clear();
        }
        while let Some(piece) = self.pieces.front()
            && self.first + piece.len() as u64 <= front
        {
            self.first += piece.len() as u64;
            self.bytes -= piece.len();
            self.pieces.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.pieces = VecDeque::new();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `abc` at 10, `defgh` behind it.
    fn fresh(front: u64) -> Fresh {
        let mut fresh = Fresh::default();
        fresh.push(10, Bytes::from_static(b"abc"), front);
        fresh.push(13, Bytes::from_static(b"defgh"), front);
        fresh
    }

    #[test]
    fn gives_what_the_fastest_reader_wants_next() {
        fn check(position: u64, bytes_max: usize, expected: Option<&str>) {
            let found = fresh(10).get(position, bytes_max);
            assert_eq!(found, expected.map(|text| Bytes::copy_from_slice(text.as_bytes())));
        }
        check(9, 9, None);
        check(10, 2, Some("ab"));
        check(12, 9, Some("c"));
        check(13, usize::MAX, Some("defgh"));
        check(17, 9, Some("h"));
        check(18, 9, None);
    }

    #[test]
    fn holds_nothing_for_those_who_are_behind() {
        fn check(fresh: &Fresh, pieces: usize, bytes: usize) {
            assert_eq!((fresh.pieces.len(), fresh.bytes), (pieces, bytes));
        }
        check(&fresh(9), 0, 0);
        // Caught up between the two.
        check(&fresh(13), 1, 5);
        for (front, pieces, bytes) in [(10, 2, 8), (12, 2, 8), (13, 1, 5), (18, 0, 0), (9, 0, 0)] {
            let mut fresh = fresh(10);
            fresh.release(front);
            check(&fresh, pieces, bytes);
        }
        let mut many = fresh(10);
        (18..18 + PIECES_MAX as u64 - 1).for_each(|at| many.push(at, Bytes::from_static(b"i"), 10));
        check(&many, 0, 0);
        let mut large = fresh(10);
        large.push(18, vec![0; BYTES_MAX].into(), 10);
        check(&large, 0, 0);
    }
}
