//! What the commands of all pushes together may take of memory.
//!
//! Always true: a push of usual size counts for nothing; what a large one has taken returns when
//! its [`Share`] is dropped.
//! Never here: limits of single pushes (`git::receive_pack::commands`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of all pushes together: a push of a million commands takes some 100 MB, and about as much again
/// for each list that hooks and clients are given.
const ALL_BYTES_MAX: usize = 512 << 20;
/// Of each push, uncounted.
const FREE_BYTES: usize = 64 << 10;
/// Taken at once.
const STEP_BYTES: usize = 1 << 20;

/// The memory of all pushes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CommandMemory {
    taken_bytes: Arc<AtomicUsize>,
}

/// What one push has of it.
#[derive(Debug)]
pub(super) struct Share {
    memory: CommandMemory,
    bytes: usize,
}

/// There is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the commands of all pushes together take more than {ALL_BYTES_MAX} bytes; try again")]
pub struct OutOfMemory;

// === impl CommandMemory ===

impl CommandMemory {
    /// Nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { memory: self.clone(), bytes: 0 }
    }
}

// === impl Share ===

impl Share {
    /// Grows to `bytes`, in steps.
    pub(super) fn cover(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes <= self.bytes.max(FREE_BYTES) {
            return Ok(());
        }
        let wanted = bytes.next_multiple_of(STEP_BYTES) - self.bytes;
        let more = |taken: usize| Some(taken + wanted).filter(|taken| *taken <= ALL_BYTES_MAX);
        let taken = &self.memory.taken_bytes;
        let grown = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        grown.map_err(|_| OutOfMemory)?;
        self.bytes += wanted;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_share_what_there_is() {
        let memory = CommandMemory::default();
        let [mut one, mut two, mut small] = [(); 3].map(|()| memory.share());
        one.cover(ALL_BYTES_MAX / 2).unwrap();
        assert_eq!(two.cover(ALL_BYTES_MAX / 2 + 1), Err(OutOfMemory));
        two.cover(ALL_BYTES_MAX / 2).unwrap();
        one.cover(100).unwrap();
        small.cover(FREE_BYTES).unwrap();
        assert_eq!(small.cover(FREE_BYTES + 1), Err(OutOfMemory));
        drop(one);
        small.cover(FREE_BYTES + 1).unwrap();
        drop((two, small));
        assert_eq!(memory.taken_bytes.load(Ordering::Relaxed), 0);
    }
}
