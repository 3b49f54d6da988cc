//! Pack indexes, version 1 and 2: object id to offset in the pack (gitformat-pack).
//!
//! Always true: the tables lie inside the file; every answer was checked for faults.
//! Never here: whether an offset makes sense in the pack.

use super::StoreError;
use super::map::FileMap;
use super::oid_table::{FANOUT_BYTES, ID_BYTES, OidTable, be_u32, be_u64, id_at};
use super::prefix::{Candidates, Prefix};
use crate::ObjectId;
use std::path::Path;

const V2_MAGIC: u32 = 0xff74_4f63;
const V2_HEADER_BYTES: usize = 8;
/// The pack's checksum and the index's own.
const TRAILER_BYTES: usize = 2 * ID_BYTES;
/// Set in a 31-bit offset that is really a row of the table of 64-bit ones.
const LARGE_OFFSET: u32 = 0x8000_0000;

/// An opened index.
#[derive(Debug)]
pub(super) struct PackIndex {
    map: FileMap,
    table: OidTable,
    offsets: Offsets,
}

#[derive(Debug)]
enum Offsets {
    /// Before each id.
    V1,
    /// A table of 4 bytes each, then one of 8 bytes each.
    V2 { small_at: usize, large_at: usize, large_count: usize },
}

// === impl PackIndex ===

impl PackIndex {
    /// Maps the index at `path` and checks that its size fits its object count.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let map = FileMap::open(path)?;
        let parsed = match be_u32(map.bytes(), 0) {
            Some(V2_MAGIC) => parse_v2(map.bytes()),
            _ => parse_v1(map.bytes()),
        };
        map.check()?;
        let (table, offsets) = parsed.map_err(|reason| map.corrupt(reason))?;
        Ok(Self { map, table, offsets })
    }

    /// How many objects the pack holds.
    pub(super) fn count(&self) -> u32 {
        self.table.count()
    }

    /// The offset of the entry of `id`.
    pub(super) fn lookup(&self, id: &ObjectId) -> Result<Option<u64>, StoreError> {
        let position = self.table.position(self.map.bytes(), id);
        let offset = position.map(|position| self.offset(position));
        self.map.check()?;
        match offset {
            None => Ok(None),
            Some(Some(offset)) => Ok(Some(offset)),
            Some(None) => Err(self.map.corrupt(format!("no offset for {id}"))),
        }
    }

    /// Adds the ids that begin with `prefix`.
    pub(super) fn with_prefix(&self, prefix: &Prefix, found: &mut Candidates) {
        self.table.with_prefix(self.map.bytes(), prefix, found);
    }

    /// The checksum that the pack must end with.
    pub(super) fn pack_checksum(&self) -> Result<ObjectId, StoreError> {
        let at = self.map.bytes().len() - TRAILER_BYTES;
        let checksum = id_at(self.map.bytes(), at);
        self.map.check()?;
        checksum.ok_or_else(|| self.map.corrupt("no trailer"))
    }

    /// Whether the file became unreadable.
    pub(super) fn is_faulted(&self) -> bool {
        self.map.is_faulted()
    }

    fn offset(&self, position: u32) -> Option<u64> {
        let bytes = self.map.bytes();
        let position = position as usize;
        match self.offsets {
            Offsets::V1 => be_u32(bytes, FANOUT_BYTES + position * (4 + ID_BYTES)).map(u64::from),
            Offsets::V2 { small_at, large_at, large_count } => {
                let small = be_u32(bytes, small_at + position * 4)?;
                if small & LARGE_OFFSET == 0 {
                    return Some(u64::from(small));
                }
                let row = (small & !LARGE_OFFSET) as usize;
                if row < large_count { be_u64(bytes, large_at + row * 8) } else { None }
            }
        }
    }
}

/// How many objects an index of this length tells of: exact for version 2 below 2 GiB of pack, a
/// few too many otherwise (gitformat-pack(5)).
pub(super) fn objects_in(index_bytes: u64) -> u64 {
    let fixed = 8 + FANOUT_BYTES + TRAILER_BYTES;
    let each = ID_BYTES + 4 + 4;
    index_bytes.saturating_sub(fixed as u64) / each as u64
}

fn parse_v1(bytes: &[u8]) -> Result<(OidTable, Offsets), &'static str> {
    let table = OidTable::new(bytes, 0, FANOUT_BYTES + 4, 4 + ID_BYTES).ok_or("bad fan-out")?;
    let expected = FANOUT_BYTES + table.count() as usize * (4 + ID_BYTES) + TRAILER_BYTES;
    if bytes.len() == expected { Ok((table, Offsets::V1)) } else { Err("wrong size") }
}

fn parse_v2(bytes: &[u8]) -> Result<(OidTable, Offsets), &'static str> {
    if be_u32(bytes, 4) != Some(2) {
        return Err("unknown version");
    }
    let ids_at = V2_HEADER_BYTES + FANOUT_BYTES;
    let table = OidTable::new(bytes, V2_HEADER_BYTES, ids_at, ID_BYTES).ok_or("bad fan-out")?;
    let count = table.count() as usize;
    // Ids are followed by CRC-32 values of 4 bytes each.
    let small_at = ids_at + count * (ID_BYTES + 4);
    let large_at = small_at + count * 4;
    let large_bytes = bytes.len().checked_sub(large_at + TRAILER_BYTES).ok_or("wrong size")?;
    if large_bytes % 8 != 0 || large_bytes / 8 > count {
        return Err("wrong size");
    }
    Ok((table, Offsets::V2 { small_at, large_at, large_count: large_bytes / 8 }))
}
