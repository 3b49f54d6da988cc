//! Answers that were made from one snapshot, kept for those who ask the same.
//!
//! Always true: what is kept follows from the snapshot and the key alone, so it is never stale;
//! all snapshots of the process together keep at most [`BYTES_MAX`].
//! Never here: what the answers are.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes that all memos of this process keep together, keys included. A listing of 2,000 refs
/// takes 140 kB.
pub const BYTES_MAX: usize = 32 << 20;

/// Bytes that one snapshot keeps: no repository may take all the room.
pub const SNAPSHOT_BYTES_MAX: usize = 8 << 20;

/// Of these, bytes of values; when they are full, all values go. Questions that are asked once must
/// not keep out the listings that everybody asks for.
pub const VALUES_BYTES_MAX: usize = 2 << 20;

static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The answers of one snapshot.
#[derive(Debug, Default)]
pub struct Memo {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Vec<u8>, Bytes>,
    values: HashMap<Vec<u8>, Value>,
    values_bytes: usize,
    /// Of answers and values.
    bytes: usize,
}

/// An answer in its own type.
type Value = Arc<dyn Any + Send + Sync>;

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

    /// The value that was kept under `key`.
    pub fn value(&self, key: &[u8]) -> Option<Arc<dyn Any + Send + Sync>> {
        self.kept().values.get(key).cloned()
    }

    /// Keeps a value that takes about so many bytes, if there is room.
    pub fn keep_value(&self, key: Vec<u8>, value: Arc<dyn Any + Send + Sync>, bytes: usize) {
        let bytes = key.len() + bytes;
        let mut kept = self.kept();
        if kept.values_bytes + bytes > VALUES_BYTES_MAX {
            KEPT_BYTES.fetch_sub(kept.values_bytes, Ordering::Relaxed);
            kept.bytes -= kept.values_bytes;
            kept.values_bytes = 0;
            kept.values.clear();
        }
        if bytes > VALUES_BYTES_MAX || kept.values.contains_key(&key) || !kept.reserve(bytes) {
            return;
        }
        kept.values_bytes += bytes;
        kept.values.insert(key, value);
    }

    fn keep(&self, key: Vec<u8>, answer: Bytes) {
        let bytes = key.len() + answer.len();
        let mut kept = self.kept();
        if !kept.answers.contains_key(&key) && kept.reserve(bytes) {
            kept.answers.insert(key, answer);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Kept ===

impl Kept {
    /// Takes so many bytes of the budgets, if they are there.
    fn reserve(&mut self, bytes: usize) -> bool {
        if self.bytes + bytes > SNAPSHOT_BYTES_MAX {
            return false;
        }
        if KEPT_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_MAX {
            KEPT_BYTES.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
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

    #[test]
    fn values_make_room_for_one_another_and_for_nobody_else() {
        let memo = Memo::default();
        let third = VALUES_BYTES_MAX / 3;
        let found = |key: u8| memo.value(&[key]).map(|value| *value.downcast::<u8>().unwrap());
        for key in 0..4 {
            memo.keep_value(vec![key], Arc::new(key), third);
        }
        assert_eq!([0, 1, 2, 3].map(found), [None, None, Some(2), Some(3)]);
        memo.keep_value(vec![9], Arc::new(9_u8), VALUES_BYTES_MAX);
        assert_eq!(found(9), None, "nothing takes all the room");
        assert!(memo.kept().bytes <= VALUES_BYTES_MAX);
    }
}
