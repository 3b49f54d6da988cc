//! Inflated delta bases of all stores, so that reading a chain's members one after the other does
//! not inflate its beginning each time; and commits and tags that were read last.
//!
//! Always true: at most [`BYTES_MAX`] in the whole process; keys name a pack by its serial, which
//! is never used twice, so a stale entry can only be evicted, never hit.
//! Never here: entries read from a faulted map (the caller checks before it inserts).

use gix_object::Kind;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of objects held, over all shards.
const BYTES_MAX: usize = 32 << 20;
/// A lock each, so that threads seldom wait for each other.
const SHARDS: usize = 16;
const SHARD_BYTES_MAX: usize = BYTES_MAX / SHARDS;
/// Larger objects would push out too many others.
const ENTRY_BYTES_MAX: usize = SHARD_BYTES_MAX / 4;
/// What a row costs besides its object: map and queue entries, two allocations.
const ROW_BYTES: usize = 160;

/// Serial of the pack and offset of the entry.
pub(super) type Key = (u64, u64);

/// A whole object.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) kind: Kind,
    pub(super) data: Arc<Vec<u8>>,
}

#[derive(Default)]
struct Shard {
    rows: HashMap<Key, Row>,
    /// Oldest first; a row hit since it was last seen here gets another round.
    order: VecDeque<Key>,
    bytes: usize,
}

struct Row {
    base: Base,
    hit: bool,
}

static CACHE: [Mutex<Option<Shard>>; SHARDS] = [const { Mutex::new(None) }; SHARDS];

/// The base stored under `key`.
pub(super) fn get(key: Key) -> Option<Base> {
    let mut shard = shard(key).lock().unwrap_or_else(PoisonError::into_inner);
    let row = shard.as_mut()?.rows.get_mut(&key)?;
    row.hit = true;
    Some(row.base.clone())
}

/// Stores `base`, unless it is too large.
pub(super) fn insert(key: Key, base: Base) {
    let cost = base.data.capacity() + ROW_BYTES;
    if cost > ENTRY_BYTES_MAX {
        return;
    }
    let mut shard = shard(key).lock().unwrap_or_else(PoisonError::into_inner);
    shard.get_or_insert_default().insert(key, base, cost);
}

fn shard((serial, offset): Key) -> &'static Mutex<Option<Shard>> {
    // Fibonacci hashing: the upper bits of the product mix all of the key.
    let mixed = (offset ^ serial.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &CACHE[(mixed >> 60) as usize % SHARDS]
}

// === impl Shard ===

impl Shard {
    fn insert(&mut self, key: Key, base: Base, cost: usize) {
        if self.rows.contains_key(&key) {
            return;
        }
        while self.bytes + cost > SHARD_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.rows.get_mut(&oldest) {
                Some(row) if row.hit => {
                    row.hit = false;
                    self.order.push_back(oldest);
                }
                _ => {
                    if let Some(row) = self.rows.remove(&oldest) {
                        self.bytes -= row.base.data.capacity() + ROW_BYTES;
                    }
                }
            }
        }
        self.bytes += cost;
        self.order.push_back(key);
        self.rows.insert(key, Row { base, hit: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_keeps_within_its_bytes_and_prefers_what_is_hit() {
        let mut shard = Shard::default();
        let base = |bytes| Base { kind: Kind::Blob, data: Arc::new(vec![0; bytes]) };
        for offset in 0..5_000 {
            let base = base(1 + (offset as usize * 7919) % 9_000);
            let cost = base.data.capacity() + ROW_BYTES;
            shard.insert((1, offset), base, cost);
            if let Some(first) = shard.rows.get_mut(&(1, 0)) {
                first.hit = true;
            }
            let held: usize = shard.rows.values().map(|r| r.base.data.capacity() + ROW_BYTES).sum();
            assert_eq!((held, shard.order.len()), (shard.bytes, shard.rows.len()));
            assert!(held <= SHARD_BYTES_MAX);
        }
        assert!(shard.rows.contains_key(&(1, 0)) && !shard.rows.contains_key(&(1, 1)));
    }
}
