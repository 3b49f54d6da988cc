//! Answers that were made from one snapshot, kept for those who ask the same.
//!
//! Always true: what is kept follows from the snapshot and the key alone, so it is never stale;
//! all snapshots of the process together keep at most [`BYTES_MAX`].
//! Never here: what the answers are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Bytes that all memos of this process keep together, keys included. A listing of 2,000 refs
/// takes 140 kB.
pub const BYTES_MAX: usize = 32 << 20;

/// Bytes that one snapshot keeps: no repository may take all the room.
pub const SNAPSHOT_BYTES_MAX: usize = 8 << 20;

static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The answers of one snapshot.
#[derive(Debug, Default)]
pub struct Memo {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Vec<u8>, Bytes>,
    bytes: usize,
}

// === impl Memo ===

impl Memo {
    /// What was kept under `key`.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.kept().answers.get(key).cloned()
    }

    /// What was kept under `key`, or what `make` makes, which is kept if there is room.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get_or_make<E>(
        &self,
        key: Vec<u8>,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        if let Some(answer) = self.get(&key) {
            return Ok(answer);
        }
        let mut made = make()?;
        made.shrink_to_fit();
        let answer = Bytes::from(made);
        self.keep(key, answer.clone());
        Ok(answer)
    }

    fn keep(&self, key: Vec<u8>, answer: Bytes) {
        let bytes = key.len() + answer.len();
        let mut kept = self.kept();
        if kept.bytes + bytes > SNAPSHOT_BYTES_MAX || kept.answers.contains_key(&key) {
            return;
        }
        if KEPT_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_MAX {
            KEPT_BYTES.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        kept.bytes += bytes;
        kept.answers.insert(key, answer);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Memo {
    fn drop(&mut self) {
        KEPT_BYTES.fetch_sub(self.kept().bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_made_once_unless_there_is_no_room() {
        let memo = Memo::default();
        let mut made = 0;
        let mut ask = |memo: &Memo, key: &[u8], bytes: usize| {
            let make = || {
                made += 1;
                Ok::<_, ()>(vec![7; bytes])
            };
            assert_eq!(memo.get_or_make(key.to_vec(), make).unwrap().len(), bytes);
            made
        };
        assert_eq!(ask(&memo, b"small", 100), 1);
        assert_eq!(ask(&memo, b"small", 100), 1);
        assert_eq!(ask(&memo, b"large", SNAPSHOT_BYTES_MAX), 2);
        assert_eq!(ask(&memo, b"large", SNAPSHOT_BYTES_MAX), 3);
    }
}
