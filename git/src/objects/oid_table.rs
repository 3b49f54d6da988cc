//! Sorted object ids behind a 256-entry fan-out: the look-up shared by pack indexes, multi-pack
//! indexes and commit-graphs (gitformat-pack, gitformat-commit-graph).
//!
//! Always true: no position at or above `count` is answered, whatever the bytes say.
//! Never here: what a position stands for.

use super::prefix::{Candidates, Prefix};
use crate::ObjectId;
use std::cmp::Ordering;

/// Bytes of a SHA-1.
pub(super) const ID_BYTES: usize = 20;
/// 256 counts of 4 bytes.
pub(super) const FANOUT_BYTES: usize = 1024;

/// Where the fan-out and the ids lie inside a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct OidTable {
    fanout_at: usize,
    ids_at: usize,
    /// From one id to the next: 20, or 24 where a v1 index puts a pack offset before each.
    stride: usize,
    count: u32,
}

/// The big-endian number at `at`, if it lies inside `bytes`.
pub(super) fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw))
}

/// The big-endian number at `at`, if it lies inside `bytes`.
pub(super) fn be_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|raw| u64::from_be_bytes(*raw))
}

/// The object id at `at`, if it lies inside `bytes`.
pub(super) fn id_at(bytes: &[u8], at: usize) -> Option<ObjectId> {
    bytes.get(at..)?.first_chunk().map(|raw| ObjectId::Sha1(*raw))
}

// === impl OidTable ===

impl OidTable {
    /// Reads the fan-out at `fanout_at`. `None` if it decreases somewhere or is cut short.
    pub(super) fn new(
        bytes: &[u8],
        fanout_at: usize,
        ids_at: usize,
        stride: usize,
    ) -> Option<Self> {
        let mut count = 0;
        for entry in 0..256 {
            let next = be_u32(bytes, fanout_at + entry * 4)?;
            if next < count {
                return None;
            }
            count = next;
        }
        Some(Self { fanout_at, ids_at, stride, count })
    }

    /// How many ids there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Where `id` stands in the order.
    pub(super) fn position(&self, bytes: &[u8], id: &ObjectId) -> Option<u32> {
        let wanted = id.as_slice();
        let first = usize::from(wanted[0]);
        let mut low = match first {
            0 => 0,
            _ => be_u32(bytes, self.fanout_at + (first - 1) * 4)?,
        };
        let mut high = be_u32(bytes, self.fanout_at + first * 4)?.min(self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.ids_at + middle as usize * self.stride;
            match bytes.get(at..at + ID_BYTES)?.cmp(wanted) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Adds the ids that begin with `prefix`.
    pub(super) fn with_prefix(&self, bytes: &[u8], prefix: &Prefix, found: &mut Candidates) {
        let positions = self.first_from(bytes, prefix.first())..self.count;
        let ids = positions.map_while(|position| self.id(bytes, position));
        for id in ids.take_while(|id| prefix.matches(id)) {
            if !found.add(id) {
                return;
            }
        }
    }

    /// The position of the first id that is not lower than `id`.
    fn first_from(&self, bytes: &[u8], id: &ObjectId) -> u32 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(bytes, middle).is_some_and(|at| at < *id) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The id at `position`.
    pub(super) fn id(&self, bytes: &[u8], position: u32) -> Option<ObjectId> {
        if position >= self.count {
            return None;
        }
        id_at(bytes, self.ids_at + position as usize * self.stride)
    }
}
