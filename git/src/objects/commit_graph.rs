//! One commit-graph: a single file or a chain of them, version 1 (gitformat-commit-graph).
//!
//! Always true: every position was checked against the count of commits before it is followed, and
//! every answer for faults. What a graph says may be wrong, never out of bounds.
//! Never here: generation numbers of version 2, Bloom filters, and whether a commit still exists.

use super::chunk_table::ChunkTable;
use super::map::FileMap;
use super::oid_table::{FANOUT_BYTES, ID_BYTES, OidTable, be_u32, be_u64, id_at};
use super::{Commit, StoreError};
use crate::ObjectId;
use std::ops::Range;
use std::path::Path;

const HEADER_BYTES: usize = 8;
/// Tree, two parents, generation and time.
const ROW_BYTES: usize = ID_BYTES + 16;
const NO_PARENT: u32 = 0x7000_0000;
/// In a second parent: the rest stand in the EDGE chunk. There: this one is the last.
const HIGH_BIT: u32 = 0x8000_0000;
/// The low bits of the last number of a row are the time in seconds since 1970.
const TIME_BITS: u32 = 34;
/// Not computed.
const GENERATION_ZERO: u32 = 0;
/// The field is full: the true number may be higher.
const GENERATION_MAX: u32 = 0x3fff_ffff;
/// Layers of a chain. git merges them long before.
const LAYERS_MAX: usize = 64;

/// A graph, its layers in the order of positions: base first.
#[derive(Debug)]
pub(super) struct CommitGraph {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    map: FileMap,
    table: OidTable,
    rows: Range<usize>,
    edges: Range<usize>,
    /// Commits in the layers below.
    base_count: u32,
}

// === impl CommitGraph ===

impl CommitGraph {
    /// Opens the single file at `path`.
    pub(super) fn open_single(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { layers: vec![Layer::open(path, &[], 0)?] })
    }

    /// Opens the layers called `hashes`, base first, each found by `open`. A layer that is missing
    /// or damaged ends the chain: those below it are complete without it, and git does the same.
    pub(super) fn open_chain(
        hashes: &[ObjectId],
        path_of: impl Fn(&ObjectId) -> Option<std::path::PathBuf>,
    ) -> Self {
        let mut layers: Vec<Layer> = Vec::new();
        for (index, hash) in hashes.iter().enumerate().take(LAYERS_MAX) {
            let base_count = layers.last().map_or(Some(0), Layer::end);
            let (Some(path), Some(base_count)) = (path_of(hash), base_count) else { break };
            let Ok(layer) = Layer::open(&path, &hashes[..index], base_count) else { break };
            layers.push(layer);
        }
        Self { layers }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// What the graph knows of `id`; the commit itself may be gone.
    pub(super) fn lookup(&self, id: &ObjectId) -> Result<Option<Commit>, StoreError> {
        for layer in self.layers.iter().rev() {
            let Some(position) = layer.table.position(layer.map.bytes(), id) else {
                layer.map.check()?;
                continue;
            };
            let commit = self.commit(layer, position);
            for layer in &self.layers {
                layer.map.check()?;
            }
            return match commit {
                Some(commit) => Ok(Some(commit)),
                None => Err(layer.map.corrupt(format!("malformed row of {id}"))),
            };
        }
        Ok(None)
    }

    fn commit(&self, layer: &Layer, position: u32) -> Option<Commit> {
        let bytes = layer.map.bytes();
        let at = layer.rows.start + position as usize * ROW_BYTES;
        let tree = id_at(bytes, at)?;
        let first = be_u32(bytes, at + ID_BYTES)?;
        let second = be_u32(bytes, at + ID_BYTES + 4)?;
        let packed = be_u64(bytes, at + ID_BYTES + 8)?;
        let mut parents = Vec::with_capacity(1 + usize::from(second != NO_PARENT));
        if first != NO_PARENT {
            parents.push(self.id(first)?);
        }
        if second != NO_PARENT && second & HIGH_BIT == 0 {
            parents.push(self.id(second)?);
        } else if second != NO_PARENT {
            let edges = bytes.get(layer.edges.clone())?;
            let mut edge_at = (second & !HIGH_BIT) as usize * 4;
            loop {
                let edge = be_u32(edges, edge_at)?;
                parents.push(self.id(edge & !HIGH_BIT)?);
                edge_at += 4;
                if edge & HIGH_BIT != 0 {
                    break;
                }
            }
        }
        let generation = (packed >> TIME_BITS) as u32;
        let known = !matches!(generation, GENERATION_ZERO | GENERATION_MAX);
        let committed_at = (packed & ((1 << TIME_BITS) - 1)).cast_signed();
        Some(Commit { tree, parents, committed_at, generation: known.then_some(generation) })
    }

    /// The commit at a position counted over all layers.
    fn id(&self, position: u32) -> Option<ObjectId> {
        let layer = self.layers.iter().rev().find(|layer| layer.base_count <= position)?;
        layer.table.id(layer.map.bytes(), position - layer.base_count)
    }
}

// === impl Layer ===

impl Layer {
    fn open(path: &Path, bases: &[ObjectId], base_count: u32) -> Result<Self, StoreError> {
        let map = FileMap::open(path)?;
        let parsed = parse(map.bytes(), bases);
        map.check()?;
        let (table, rows, edges) = parsed.ok_or_else(|| map.corrupt("no commit-graph we know"))?;
        Ok(Self { map, table, rows, edges, base_count })
    }

    /// The position after this layer's last.
    fn end(&self) -> Option<u32> {
        // Positions from NO_PARENT on mean something else.
        self.base_count.checked_add(self.table.count()).filter(|end| *end < NO_PARENT)
    }
}

type Parsed = (OidTable, Range<usize>, Range<usize>);

fn parse(bytes: &[u8], bases: &[ObjectId]) -> Option<Parsed> {
    // Signature, version 1, SHA-1 (1), count of chunks, count of base graphs.
    let &[b'C', b'G', b'P', b'H', 1, 1, chunk_count, base_count] = bytes.first_chunk()? else {
        return None;
    };
    let chunks = ChunkTable::parse(bytes, HEADER_BYTES, chunk_count)?;
    let (fanout, ids) = (chunks.get(b"OIDF")?, chunks.get(b"OIDL")?);
    let rows = chunks.get(b"CDAT")?;
    let table = OidTable::new(bytes, fanout.start, ids.start, ID_BYTES)?;
    let count = table.count() as usize;
    let fits = fanout.len() == FANOUT_BYTES
        && ids.len() == count * ID_BYTES
        && rows.len() == count * ROW_BYTES
        && usize::from(base_count) == bases.len();
    let named = bytes.get(chunks.get(b"BASE").unwrap_or_default())?;
    let on_its_bases = named.iter().eq(bases.iter().flat_map(|base| base.as_slice()));
    let edges = chunks.get(b"EDGE").unwrap_or_default();
    (fits && on_its_bases).then_some((table, rows, edges))
}
