//! The bytes of a stream that no disk would take.
//!
//! ```text
//!   0 ........ file_end ......... first ............ end
//!   in the file          taken by    held, in chunks
//!                        everybody
//! ```
//!
//! Always true:
//! - a chunk is held until the slowest reader has taken its last byte;
//! - what is held is contiguous and ends with the last byte made;
//! - what is held is counted in the pool, as long as it is held.
//!
//! Never here: waiting, and who the readers are.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the streams of one index hold in memory together.
#[derive(Debug)]
pub(crate) struct Pool {
    bytes_max: u64,
    bytes: AtomicU64,
}

/// What follows the part of a stream that lies in its file.
#[derive(Debug)]
pub(crate) struct Memory {
    file_end: u64,
    first: u64,
    chunks: VecDeque<Bytes>,
    bytes: usize,
    pool: Arc<Pool>,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: AtomicU64::new(0) }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether `more` bytes may be held only by a stream that holds nothing else. Nothing is
    /// reserved: threads that ask at once may each exceed it by the piece that they hold.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        self.bytes().saturating_add(more as u64) > self.bytes_max
    }
}

// === impl Memory ===

impl Memory {
    /// Nothing yet, behind a file that holds the stream up to `file_end`.
    pub(crate) fn new(file_end: u64, pool: &Arc<Pool>) -> Self {
        let (chunks, pool) = (VecDeque::new(), pool.clone());
        Self { file_end, first: file_end, chunks, bytes: 0, pool }
    }

    /// Where the part in the file ends.
    pub(crate) fn file_end(&self) -> u64 {
        self.file_end
    }

    /// Whether `more` bytes may be held too.
    pub(crate) fn has_room(&self, more: usize, bytes_max: usize) -> bool {
        self.bytes + more <= bytes_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.pool.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        self.chunks.push_back(chunk);
    }

    /// At most `bytes_max` from `position` on, which is held.
    pub(crate) fn get(&self, position: u64, bytes_max: usize) -> Option<Bytes> {
        let mut start = self.first;
        for chunk in &self.chunks {
            let end = start + chunk.len() as u64;
            if (start..end).contains(&position) {
                let from = (position - start) as usize;
                return Some(chunk.slice(from..chunk.len().min(from.saturating_add(bytes_max))));
            }
            start = end;
        }
        None
    }

    /// Lets go of what everybody has taken; `slowest` is the smallest position of a reader.
    pub(crate) fn release(&mut self, slowest: u64) {
        while let Some(chunk) = self.chunks.front()
            && self.first + chunk.len() as u64 <= slowest
        {
            self.first += chunk.len() as u64;
            self.bytes -= chunk.len();
            self.pool.bytes.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
            self.chunks.pop_front();
        }
    }

    /// Whether a reader that has taken `position` bytes keeps the first chunk here.
    pub(crate) fn is_held_by(&self, position: u64) -> bool {
        self.chunks.front().is_some_and(|chunk| position < self.first + chunk.len() as u64)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.pool.bytes.fetch_sub(self.bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of 10 bytes, then the chunks `abc`, `defgh`, `ij`.
    fn memory() -> Memory {
        let mut memory = Memory::new(10, &Arc::new(Pool::new(0)));
        for chunk in ["abc", "defgh", "ij"] {
            memory.push(Bytes::from_static(chunk.as_bytes()));
        }
        memory
    }

    #[test]
    fn finds_the_bytes_of_a_position() {
        fn check(position: u64, bytes_max: usize, expected: Option<&str>) {
            let found = memory().get(position, bytes_max);
            assert_eq!(found, expected.map(|text| Bytes::copy_from_slice(text.as_bytes())));
        }
        check(9, 1, None);
        check(10, 100, Some("abc"));
        check(12, 100, Some("c"));
        check(13, 2, Some("de"));
        check(15, usize::MAX, Some("fgh"));
        check(19, 9, Some("j"));
        check(20, 9, None);
    }

    #[test]
    fn holds_a_chunk_until_its_last_byte_was_taken() {
        fn check(slowest: u64, first: u64, bytes: usize) {
            let mut memory = memory();
            memory.release(slowest);
            assert_eq!((memory.first, memory.bytes), (first, bytes), "slowest at {slowest}");
            assert_eq!(memory.pool.bytes(), bytes as u64);
            assert!(memory.has_room(20 - bytes, 20) && !memory.has_room(21 - bytes, 20));
            assert_eq!(memory.is_held_by(slowest), slowest < 20);
        }
        check(0, 10, 10);
        check(12, 10, 10);
        check(13, 13, 7);
        check(17, 13, 7);
        check(18, 18, 2);
        check(20, 20, 0);
    }
}
