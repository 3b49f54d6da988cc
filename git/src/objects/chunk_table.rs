//! The table of contents shared by multi-pack indexes and commit-graphs (gitformat-chunk).
//!
//! Always true: every range lies inside the file and before its trailing checksum.
//! Never here: what a chunk means.

use super::oid_table::{ID_BYTES, be_u32, be_u64};
use std::ops::Range;

/// Bytes of one row: a four-letter name and an offset.
const ROW_BYTES: usize = 12;

/// Chunks in file order.
#[derive(Debug)]
pub(super) struct ChunkTable(Vec<(u32, Range<usize>)>);

// === impl ChunkTable ===

impl ChunkTable {
    /// Reads `count` rows and their terminating one at `at`. `None` if any of them is malformed.
    pub(super) fn parse(bytes: &[u8], at: usize, count: u8) -> Option<Self> {
        let count = usize::from(count);
        let content_at = at + (count + 1) * ROW_BYTES;
        let content_end = bytes.len().checked_sub(ID_BYTES)?;
        let row = |index: usize| {
            let name = be_u32(bytes, at + index * ROW_BYTES)?;
            let offset = usize::try_from(be_u64(bytes, at + index * ROW_BYTES + 4)?).ok()?;
            (content_at <= offset && offset <= content_end).then_some((name, offset))
        };
        let mut chunks = Vec::with_capacity(count);
        for index in 0..count {
            let ((name, start), (_, end)) = (row(index)?, row(index + 1)?);
            if name == 0 || end < start {
                return None;
            }
            chunks.push((name, start..end));
        }
        Some(Self(chunks))
    }

    /// Where the first chunk called `name` lies.
    pub(super) fn get(&self, name: &[u8; 4]) -> Option<Range<usize>> {
        let name = u32::from_be_bytes(*name);
        self.0.iter().find(|(other, _)| *other == name).map(|(_, range)| range.clone())
    }
}
