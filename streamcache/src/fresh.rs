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

/// Two pipes' worth: a producer may write one before a reader on its thread has its turn.
const BYTES_MAX: usize = 2 << 20;
/// A piece may be a slice of a buffer many times its size.
const PIECES_MAX: usize = 3;

/// Pieces that lie in the file as well.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    first: u64,
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

// === impl Fresh ===

impl Fresh {
    /// Holds `piece`, which begins at `start`, unless the fastest reader, at `front`, is too far
    /// behind to take it soon.
    pub(crate) fn push(&mut self, start: u64, piece: Bytes, front: u64) {
        if front.saturating_add(BYTES_MAX as u64) < start {
            return self.clear();
        }
        if self.pieces.is_empty() {
            self.first = start;
        }
        self.bytes += piece.len();
        self.pieces.push_back(piece);
        while self.pieces.len() > PIECES_MAX || self.bytes > BYTES_MAX {
            self.pop();
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

    /// Lets go of what the fastest reader, at `front`, has taken.
    pub(crate) fn release(&mut self, front: u64) {
        while let Some(piece) = self.pieces.front()
            && self.first + piece.len() as u64 <= front
        {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(piece) = self.pieces.pop_front() {
            self.first += piece.len() as u64;
            self.bytes -= piece.len();
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
    fn holds_little_and_for_the_fastest_reader_alone() {
        fn check(fresh: &Fresh, first: u64, bytes: usize) {
            assert_eq!((fresh.first, fresh.bytes), (first, bytes));
            assert_eq!(fresh.pieces.iter().map(Bytes::len).sum::<usize>(), bytes);
        }
        for (front, first, bytes) in [(0, 10, 8), (12, 10, 8), (13, 13, 5), (18, 18, 0)] {
            let mut fresh = fresh(0);
            fresh.release(front);
            check(&fresh, first, bytes);
        }
        let mut many = fresh(10);
        (18..18 + PIECES_MAX as u64).for_each(|at| many.push(at, Bytes::from_static(b"i"), 10));
        check(&many, 18, PIECES_MAX);
        let mut large = fresh(10);
        large.push(18, vec![0; BYTES_MAX].into(), 10);
        check(&large, 18, BYTES_MAX);
        let behind = 18 + BYTES_MAX as u64;
        large.push(behind, Bytes::from_static(b"j"), 18);
        check(&large, behind, 1);
        large.push(behind + 1, Bytes::from_static(b"k"), 18);
        check(&large, behind, 0);
    }
}
