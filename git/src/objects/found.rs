//! Where packed objects were found last: what an attempt ([`crate::at_once`]) may know of them
//! without looking into a map.
//!
//! Always true: a table of [`ROWS`] for the whole process, in which a later row replaces an earlier
//! one; a row counts for the store that wrote it, as long as that has found no other packs since.
//! Never here: loose objects, which may vanish at any time; what an object contains.

use super::chain::Chains;
use super::{Kind, LOOKUPS_UNSTATED_MAX, Object, Store, StoreError, base_cache};
use crate::{ObjectId, at_once};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Rows of the table: 2.5 MB.
const ROWS: usize = 1 << 15;
/// A lock each, so that threads seldom wait for each other.
const SHARDS: usize = 16;

/// An object in a pack.
#[derive(Debug, Clone, Copy)]
struct Row {
    store: u64,
    /// How often the store had found other packs.
    rescans: u64,
    id: ObjectId,
    place: base_cache::Key,
    /// None if only its place was asked for.
    kind: Option<Kind>,
}

static TABLE: [Mutex<Vec<Option<Row>>>; SHARDS] = [const { Mutex::new(Vec::new()) }; SHARDS];
static SERIALS: AtomicU64 = AtomicU64::new(0);

/// A number that no other store of the process has.
pub(super) fn serial() -> u64 {
    SERIALS.fetch_add(1, Ordering::Relaxed)
}

// === impl Store ===

impl Store {
    /// Lets later attempts know of an object that was found after `rescans`.
    pub(super) fn remember(
        &self,
        rescans: u64,
        id: &ObjectId,
        (chains, offset): (Chains<'_>, u64),
        kind: Option<Kind>,
    ) {
        let place = (chains.pack.serial(), offset);
        let (shard, slots) = slots(self.serial, id);
        let mut rows = shard.lock().unwrap_or_else(PoisonError::into_inner);
        rows.resize(ROWS / SHARDS, None);
        put(&mut rows, slots, Row { store: self.serial, rescans, id: *id, place, kind });
    }

    /// Whether the object is known to exist, in an attempt.
    pub(super) fn is_remembered(&self, id: &ObjectId) -> bool {
        self.recall(id).is_some()
    }

    /// The kind of the object, in an attempt, if it was asked for before.
    pub(super) fn recall_kind(&self, id: &ObjectId) -> Option<Kind> {
        self.recall(id)?.kind
    }

    /// The object, in an attempt, if it is kept inflated.
    pub(super) fn recall_object(&self, id: &ObjectId) -> Option<Object> {
        let base = base_cache::get(self.recall(id)?.place)?;
        Some(Object { kind: base.kind, data: base.data.to_vec() })
    }

    /// Refuses to look further in an attempt.
    pub(super) fn may_wait(&self) -> Result<(), StoreError> {
        at_once::may_wait().map_err(|source| {
            let path = self.levels.first().map(|level| level.objects.clone());
            StoreError::Io { path: path.unwrap_or_default(), source }
        })
    }

    fn recall(&self, id: &ObjectId) -> Option<Row> {
        if !at_once::is_attempt() {
            return None;
        }
        let (shard, slots) = slots(self.serial, id);
        let rows = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = slots.into_iter().filter_map(|at| rows.get(at).copied()?);
        let row = held.find(|row| row.is_of(self.serial, id))?;
        drop(rows);
        // It counts as a look-up: packs long unlinked go in the end.
        let is_due = || self.lookups.fetch_add(1, Ordering::Relaxed) >= LOOKUPS_UNSTATED_MAX;
        (row.rescans == self.rescans() && !is_due()).then_some(row)
    }
}

// === impl Row ===

impl Row {
    fn is_of(&self, store: u64, id: &ObjectId) -> bool {
        self.store == store && self.id == *id
    }
}

/// Puts a row into the first of two slots; what lay there moves to the second. So two objects that
/// are asked for in turn do not drive each other out.
fn put(rows: &mut [Option<Row>], [first, second]: [usize; 2], mut row: Row) {
    let is_same = |known: &Row| known.is_of(row.store, &row.id);
    let known = [first, second].into_iter().filter_map(|at| rows[at]).find(is_same);
    let is_first = rows[first].as_ref().is_some_and(is_same);
    if let Some(known) = known.filter(|known| known.place == row.place) {
        row.kind = row.kind.or(known.kind);
    }
    if !is_first {
        rows[second] = rows[first];
    }
    rows[first] = Some(row);
}

/// The two places in the table for an object of a store.
fn slots(store: u64, id: &ObjectId) -> (&'static Mutex<Vec<Option<Row>>>, [usize; 2]) {
    // Ids are random, but forks have the same ones.
    let start = id.as_slice().first_chunk().copied().map_or(0, u64::from_le_bytes);
    let mixed = start ^ store.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let at = (mixed >> 40) as usize % ROWS;
    let first = at / SHARDS;
    (&TABLE[at % SHARDS], [first, first ^ 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_share_a_pair_of_slots_and_a_third_replaces_the_older() {
        let row = |digit: u8, kind| {
            let id = ObjectId::from_hex(&[b'0' + digit; 40]).unwrap();
            Row { store: 7, rescans: 0, id, place: (1, u64::from(digit)), kind }
        };
        let mut rows = vec![None; 2];
        put(&mut rows, [0, 1], row(1, Some(Kind::Commit)));
        put(&mut rows, [0, 1], row(2, None));
        put(&mut rows, [1, 0], row(1, None));
        let held = |rows: &[Option<Row>]| {
            [1, 2, 3].map(|digit| {
                let id = row(digit, None).id;
                rows.iter().flatten().find(|held| held.is_of(7, &id)).map(|held| held.kind)
            })
        };
        assert_eq!(held(&rows), [Some(Some(Kind::Commit)), Some(None), None], "the kind stays");
        put(&mut rows, [0, 1], row(3, None));
        assert_eq!(held(&rows), [None, Some(None), Some(None)]);
    }
}
