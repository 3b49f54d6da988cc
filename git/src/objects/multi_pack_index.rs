//! The multi-pack index: object id to pack and offset, over many packs (gitformat-pack,
//! "multi-pack-index (MIDX) files").
//!
//! Always true: every pack number answered is one of [`MultiPackIndex::pack_stems`].
//! Never here: incremental chains (`multi-pack-index.d`): their packs have indexes of their own,
//! which are then searched.

use super::StoreError;
use super::chunk_table::ChunkTable;
use super::map::FileMap;
use super::oid_table::{FANOUT_BYTES, ID_BYTES, OidTable, be_u32, be_u64};
use super::prefix::{Candidates, Prefix};
use crate::ObjectId;
use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

const HEADER_BYTES: usize = 12;
/// Set in an offset that is really a row of the LOFF chunk.
const LARGE_OFFSET: u32 = 0x8000_0000;
/// A pack number and an offset, 4 bytes each.
const ROW_BYTES: usize = 8;

/// An opened multi-pack index.
#[derive(Debug)]
pub(super) struct MultiPackIndex {
    map: FileMap,
    layout: Layout,
}

#[derive(Debug)]
struct Layout {
    table: OidTable,
    rows: Range<usize>,
    large: Range<usize>,
    stems: Vec<OsString>,
}

// === impl MultiPackIndex ===

impl MultiPackIndex {
    /// Maps the file at `path` and checks that its chunks fit its counts.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let map = FileMap::open(path)?;
        let layout = parse(map.bytes());
        map.check()?;
        let layout = layout.ok_or_else(|| map.corrupt("no multi-pack index of version 1"))?;
        Ok(Self { map, layout })
    }

    /// The names of the packs by number, without `.idx` or `.pack`.
    pub(super) fn pack_stems(&self) -> &[OsString] {
        &self.layout.stems
    }

    /// The number of the pack that holds `id`, and the offset of its entry.
    pub(super) fn lookup(&self, id: &ObjectId) -> Result<Option<(usize, u64)>, StoreError> {
        let position = self.layout.table.position(self.map.bytes(), id);
        let found = position.map(|position| self.row(position));
        self.map.check()?;
        match found {
            None => Ok(None),
            Some(Some(row)) => Ok(Some(row)),
            Some(None) => Err(self.map.corrupt(format!("no place for {id}"))),
        }
    }

    /// Adds the ids that begin with `prefix`.
    pub(super) fn with_prefix(&self, prefix: &Prefix, found: &mut Candidates) {
        self.layout.table.with_prefix(self.map.bytes(), prefix, found);
    }

    /// Whether the file became unreadable.
    pub(super) fn is_faulted(&self) -> bool {
        self.map.is_faulted()
    }

    fn row(&self, position: u32) -> Option<(usize, u64)> {
        let bytes = self.map.bytes();
        let at = self.layout.rows.start + position as usize * ROW_BYTES;
        let pack = be_u32(bytes, at)? as usize;
        let small = be_u32(bytes, at + 4)?;
        // Without an LOFF chunk all 32 bits are offset.
        let offset = if small & LARGE_OFFSET == 0 || self.layout.large.is_empty() {
            u64::from(small)
        } else {
            let row = (small & !LARGE_OFFSET) as usize;
            be_u64(bytes.get(self.layout.large.clone())?, row * 8)?
        };
        (pack < self.layout.stems.len()).then_some((pack, offset))
    }
}

fn parse(bytes: &[u8]) -> Option<Layout> {
    // Signature, version 1, SHA-1 (1), count of chunks, no base files.
    let &[b'M', b'I', b'D', b'X', 1, 1, chunk_count, 0] = bytes.first_chunk()? else {
        return None;
    };
    let pack_count = be_u32(bytes, 8)? as usize;
    let chunks = ChunkTable::parse(bytes, HEADER_BYTES, chunk_count)?;
    let fanout = chunks.get(b"OIDF")?;
    let ids = chunks.get(b"OIDL")?;
    let rows = chunks.get(b"OOFF")?;
    let table = OidTable::new(bytes, fanout.start, ids.start, ID_BYTES)?;
    let count = table.count() as usize;
    let fits = fanout.len() == FANOUT_BYTES
        && ids.len() == count * ID_BYTES
        && rows.len() == count * ROW_BYTES;
    let stems = pack_stems(bytes.get(chunks.get(b"PNAM")?)?, pack_count)?;
    let large = chunks.get(b"LOFF").unwrap_or_default();
    fits.then_some(Layout { table, rows, large, stems })
}

/// NUL-terminated names, padded with NULs.
fn pack_stems(chunk: &[u8], count: usize) -> Option<Vec<OsString>> {
    let stems = chunk.split(|byte| *byte == 0).take(count).map(|name| {
        let stem = name.strip_suffix(b".idx").or_else(|| name.strip_suffix(b".pack"))?;
        Some(OsString::from_vec(stem.to_vec()))
    });
    let stems = stems.collect::<Option<Vec<_>>>()?;
    (stems.len() == count).then_some(stems)
}
