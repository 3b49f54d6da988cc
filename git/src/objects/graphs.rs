//! The commit-graphs in use: found in every object directory, opened when first asked for, looked
//! for again after many commits were not in them.
//!
//! Always true: a graph that is damaged, or becomes unreadable, is done without; nothing here ever
//! fails.
//! Never here: the file format (`commit_graph`).

use super::commit_graph::CommitGraph;
use super::{Commit, StoreError};
use crate::ObjectId;
use crate::stamp::Stamp;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Commits not found after which the files are stated again: rarely enough to cost nothing, and
/// often enough that a walk over new history soon gets a graph written meanwhile.
const MISSES_MAX: u32 = 1_024;
/// 64 layers of 41 bytes, and then some.
const CHAIN_FILE_BYTES_MAX: u64 = 8 << 10;

/// The graphs of some object directories.
#[derive(Debug)]
pub(super) struct Graphs {
    objects: Vec<PathBuf>,
    opened: RwLock<Option<Arc<Opened>>>,
    misses: AtomicU32,
}

#[derive(Debug)]
struct Opened {
    graphs: Vec<CommitGraph>,
    stamps: Vec<Option<Stamp>>,
}

// === impl Graphs ===

impl Graphs {
    /// The graphs of the directories `objects`; none are opened yet.
    pub(super) fn new(objects: Vec<PathBuf>) -> Self {
        Self { objects, opened: RwLock::new(None), misses: AtomicU32::new(0) }
    }

    /// What a graph says of `id`.
    pub(super) fn lookup(&self, id: &ObjectId) -> Option<Commit> {
        let opened = self.opened();
        for graph in &opened.graphs {
            match graph.lookup(id) {
                Ok(None) => {}
                Ok(found) => return found,
                // Opened again it is found cut short, and left out, or found replaced.
                Err(StoreError::Faulted { .. }) => self.close(),
                // One damaged row: the commit itself knows better.
                Err(_) => {}
            }
        }
        if self.misses.fetch_add(1, Ordering::Relaxed) % MISSES_MAX == MISSES_MAX - 1
            && self.stamps() != opened.stamps
        {
            self.close();
        }
        None
    }

    fn opened(&self) -> Arc<Opened> {
        if let Some(opened) = &*self.opened.read().unwrap_or_else(PoisonError::into_inner) {
            return Arc::clone(opened);
        }
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let opened = slot.get_or_insert_with(|| {
            let stamps = self.stamps();
            let graphs = self.objects.iter().filter_map(|objects| self.open(objects)).collect();
            Arc::new(Opened { graphs, stamps })
        });
        Arc::clone(opened)
    }

    fn close(&self) {
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The graph of one directory: the single file is preferred, as by git.
    fn open(&self, objects: &Path) -> Option<CommitGraph> {
        if let Ok(graph) = CommitGraph::open_single(&single_path(objects)) {
            return Some(graph);
        }
        let file = std::fs::File::open(chain_path(objects)).ok()?;
        let mut content = String::new();
        file.take(CHAIN_FILE_BYTES_MAX).read_to_string(&mut content).ok()?;
        let hashes: Vec<_> =
            content.lines().map_while(|line| ObjectId::from_hex(line.as_bytes()).ok()).collect();
        // A layer may lie in an alternate: a fork's chain builds on its pool's.
        let graph = CommitGraph::open_chain(&hashes, |hash| {
            let name = format!("info/commit-graphs/graph-{hash}.graph");
            self.objects.iter().map(|objects| objects.join(&name)).find(|path| path.exists())
        });
        Some(graph).filter(|graph| !graph.is_empty())
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        let paths = self.objects.iter().flat_map(|o| [single_path(o), chain_path(o)]);
        paths.map(|path| Stamp::of(&path).ok()).collect()
    }
}

fn single_path(objects: &Path) -> PathBuf {
    objects.join("info/commit-graph")
}

fn chain_path(objects: &Path) -> PathBuf {
    objects.join("info/commit-graphs/commit-graph-chain")
}
