//! Packs, one entry at a time: its header as stored and its compressed bytes (gitformat-pack).
//!
//! Always true: an entry's data begins inside the pack and before its trailer.
//! Never here: inflating, and following a delta to its base (`chain`).

use super::StoreError;
use super::map::FileMap;
use super::oid_table::{ID_BYTES, be_u32, id_at};
use super::pack_index::PackIndex;
use crate::ObjectId;
use gix_object::Kind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const HEADER_BYTES: usize = 12;

/// An opened pack that fits its index.
#[derive(Debug)]
pub(super) struct Pack {
    map: FileMap,
    serial: u64,
}

/// The header of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) form: Form,
    /// Inflated size of what is stored: of the object, or of the delta.
    pub(super) size_bytes: u64,
    /// Where the entry begins in the pack.
    pub(super) offset: u64,
    data_at: usize,
}

/// How an object is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole(Kind),
    /// A delta to the entry at this offset.
    OfsDelta(u64),
    /// A delta to this object.
    RefDelta(ObjectId),
}

// === impl Pack ===

impl Pack {
    /// Maps the pack at `path` and compares its object count and checksum with `index`, which
    /// notices a truncated pack and one that is not the index's.
    pub(super) fn open(path: &Path, index: &PackIndex) -> Result<Self, StoreError> {
        static SERIALS: AtomicU64 = AtomicU64::new(0);
        let map = FileMap::open(path)?;
        let bytes = map.bytes();
        let known = bytes.starts_with(b"PACK") && matches!(be_u32(bytes, 4), Some(2 | 3));
        let count = be_u32(bytes, 8);
        let checksum = bytes.len().checked_sub(ID_BYTES).and_then(|at| id_at(bytes, at));
        map.check()?;
        if !known || bytes.len() < HEADER_BYTES + ID_BYTES {
            return Err(map.corrupt("no pack of version 2 or 3"));
        }
        if count != Some(index.count()) || checksum != Some(index.pack_checksum()?) {
            return Err(map.corrupt("truncated, or not the pack of its index"));
        }
        Ok(Self { map, serial: SERIALS.fetch_add(1, Ordering::Relaxed) })
    }

    /// A number that no other opened pack of this process has or had.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// The entry that begins at `offset`.
    pub(super) fn entry(&self, offset: u64) -> Result<Entry, StoreError> {
        let entry = self.parse_entry(offset);
        self.check()?;
        entry.ok_or_else(|| self.map.corrupt(format!("no entry at offset {offset}")))
    }

    /// The compressed bytes of `entry`, and everything behind them up to the trailer; to be trusted
    /// after [`Pack::check`].
    pub(super) fn data(&self, entry: &Entry) -> &[u8] {
        self.content().get(entry.data_at..).unwrap_or_default()
    }

    /// [`StoreError::Faulted`] if anything read so far may have been zeroes in place of data.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.map.check()
    }

    /// Whether the file became unreadable.
    pub(super) fn is_faulted(&self) -> bool {
        self.map.is_faulted()
    }

    /// The error for the entry at `offset`.
    pub(super) fn corrupt(&self, offset: u64, reason: impl std::fmt::Display) -> StoreError {
        self.map.corrupt(format!("entry at offset {offset}: {reason}"))
    }

    /// The error for an entry at `offset` that is beyond a limit.
    pub(super) fn limit(&self, offset: u64, reason: impl std::fmt::Display) -> StoreError {
        self.map.limit(format!("entry at offset {offset}: {reason}"))
    }

    fn content(&self) -> &[u8] {
        let bytes = self.map.bytes();
        &bytes[..bytes.len() - ID_BYTES]
    }

    fn parse_entry(&self, offset: u64) -> Option<Entry> {
        let mut at = usize::try_from(offset).ok().filter(|at| *at >= HEADER_BYTES)?;
        let content = self.content();
        let first = *content.get(at)?;
        at += 1;
        let (mut size_bytes, mut shift, mut more) = (u64::from(first & 0x0f), 4, first & 0x80 != 0);
        while more {
            let byte = *content.get(at)?;
            at += 1;
            if shift > 57 {
                return None;
            }
            size_bytes |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            more = byte & 0x80 != 0;
        }
        let form = match first >> 4 & 7 {
            1 => Form::Whole(Kind::Commit),
            2 => Form::Whole(Kind::Tree),
            3 => Form::Whole(Kind::Blob),
            4 => Form::Whole(Kind::Tag),
            6 => {
                let distance = base_distance(content, &mut at)?;
                let base = offset.checked_sub(distance)?;
                Form::OfsDelta((distance > 0).then_some(base)?)
            }
            7 => {
                let base = id_at(content, at)?;
                at += ID_BYTES;
                Form::RefDelta(base)
            }
            _ => return None,
        };
        (at < content.len()).then_some(Entry { form, size_bytes, offset, data_at: at })
    }
}

/// The distance back to an OFS_DELTA's base: big-endian, seven bits a byte, each continuation
/// adding one so that no distance has two spellings.
fn base_distance(content: &[u8], at: &mut usize) -> Option<u64> {
    let mut distance = 0_u64;
    loop {
        let byte = *content.get(*at)?;
        *at += 1;
        distance = distance.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            return Some(distance);
        }
        distance = distance.checked_add(1)?;
    }
}
