//! The commit graph as one request sees it: parents and dates, read once and remembered.
//!
//! ```text
//!   wants ──> [commit] ──> [commit] ──> …        shallow commits have no parents here
//! ```
//!
//! Always true: a commit is read from the store at most once; parents of a commit that was made
//! shallow are not walked, as with git's grafts.
//! Never here: what a walk is for. Never across requests: memory goes with the request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gix_object::Kind;

use crate::ObjectId;
use crate::objects::{Store, StoreError};

/// Commits that one request may load: 10 million take about 1.3 GB. Linux has 1.4 million.
const COMMITS_MAX: usize = 10_000_000;

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store could not read an object.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A commit names a parent that does not exist.
    #[error("missing commit {0}")]
    Missing(ObjectId),
    /// Nobody waits for the answer any more.
    #[error("cancelled")]
    Cancelled,
    /// The walk went over its limit.
    #[error("history of more than {COMMITS_MAX} commits")]
    TooLong,
}

/// Tells a walk on another thread that nobody waits for it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

/// A commit's place in [`History`], valid for that history alone.
pub type Node = u32;

#[derive(Debug)]
struct Loaded {
    id: ObjectId,
    committed_at: i64,
    parents: Vec<Node>,
}

#[derive(Debug)]
enum Entry {
    /// Named as a parent, not read yet.
    Known(ObjectId),
    Loaded(Loaded),
}

/// The commits that a request has touched.
#[derive(Debug)]
pub struct History {
    store: Arc<Store>,
    cancel: Cancel,
    entries: Vec<Entry>,
    nodes: HashMap<ObjectId, Node>,
    shallow: HashSet<Node>,
}

// === impl Cancel ===

impl Cancel {
    /// From now on every walk that holds this ends with [`HistoryError::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits any more.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl History ===

impl History {
    /// An empty history over `store`.
    pub fn new(store: Arc<Store>, cancel: Cancel) -> Self {
        Self { store, cancel, entries: Vec::new(), nodes: HashMap::new(), shallow: HashSet::new() }
    }

    /// The commit that `id` names or, through annotated tags, leads to; `None` for trees and blobs.
    pub fn commit(&mut self, id: &ObjectId) -> Result<Option<Node>, HistoryError> {
        if let Some(node) = self.nodes.get(id) {
            return Ok(Some(*node));
        }
        let target = match self.store.header(id)?.map(|header| header.kind) {
            Some(Kind::Commit) => *id,
            Some(Kind::Tag) => match self.store.peel(id) {
                Ok(Some(peeled)) => peeled,
                Ok(None) | Err(StoreError::Object { .. }) => {
                    return Err(HistoryError::Missing(*id));
                }
                Err(error) => return Err(error.into()),
            },
            Some(Kind::Tree | Kind::Blob) => return Ok(None),
            None => return Err(HistoryError::Missing(*id)),
        };
        if target != *id {
            let kind = self.store.header(&target)?.map(|header| header.kind);
            return match kind {
                Some(Kind::Commit) => self.node(&target).map(Some),
                Some(Kind::Tree | Kind::Blob | Kind::Tag) => Ok(None),
                None => Err(HistoryError::Missing(target)),
            };
        }
        self.node(&target).map(Some)
    }

    /// The commits among `ids`, tags followed; trees and blobs are left out.
    pub fn commits(&mut self, ids: &[ObjectId]) -> Result<Vec<Node>, HistoryError> {
        let mut nodes = Vec::with_capacity(ids.len());
        for id in ids {
            nodes.extend(self.commit(id)?);
        }
        Ok(nodes)
    }

    /// The name of a commit.
    pub fn id(&self, node: Node) -> ObjectId {
        match &self.entries[node as usize] {
            Entry::Known(id) => *id,
            Entry::Loaded(loaded) => loaded.id,
        }
    }

    /// The commit's root tree.
    pub fn tree(&self, node: Node) -> Result<ObjectId, HistoryError> {
        let id = self.id(node);
        Ok(self.store.commit(&id)?.ok_or(HistoryError::Missing(id))?.tree)
    }

    /// What ends the walks of this history.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Where the commits come from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// When the commit was made, in seconds since the epoch.
    pub fn committed_at(&mut self, node: Node) -> Result<i64, HistoryError> {
        Ok(self.load(node)?.committed_at)
    }

    /// The parents in the commit's order; none where the commit was made shallow.
    pub fn parents(&mut self, node: Node) -> Result<&[Node], HistoryError> {
        if self.shallow.contains(&node) {
            return Ok(&[]);
        }
        Ok(&self.load(node)?.parents)
    }

    /// The parents that the commit itself names, shallow or not.
    pub fn real_parents(&mut self, node: Node) -> Result<&[Node], HistoryError> {
        Ok(&self.load(node)?.parents)
    }

    /// From now on [`Self::parents`] of `node` is empty.
    pub fn make_shallow(&mut self, node: Node) {
        self.shallow.insert(node);
    }

    /// Undoes every [`Self::make_shallow`].
    pub fn restore_parents(&mut self) {
        self.shallow.clear();
    }

    fn node(&mut self, id: &ObjectId) -> Result<Node, HistoryError> {
        if let Some(node) = self.nodes.get(id) {
            return Ok(*node);
        }
        if self.entries.len() >= COMMITS_MAX {
            return Err(HistoryError::TooLong);
        }
        let node = self.entries.len() as Node;
        self.entries.push(Entry::Known(*id));
        self.nodes.insert(*id, node);
        Ok(node)
    }

    fn load(&mut self, node: Node) -> Result<&Loaded, HistoryError> {
        if let Entry::Known(id) = &self.entries[node as usize] {
            let id = *id;
            if self.cancel.is_cancelled() {
                return Err(HistoryError::Cancelled);
            }
            let commit = self.store.commit(&id)?.ok_or(HistoryError::Missing(id))?;
            let parents =
                commit.parents.iter().map(|parent| self.node(parent)).collect::<Result<_, _>>()?;
            self.entries[node as usize] =
                Entry::Loaded(Loaded { id, committed_at: commit.committed_at, parents });
        }
        match &self.entries[node as usize] {
            Entry::Loaded(loaded) => Ok(loaded),
            Entry::Known(_) => unreachable!("loaded above"),
        }
    }
}

/// A set of commits: one bit a node.
#[derive(Debug, Default, Clone)]
pub struct NodeSet {
    words: Vec<u64>,
}

// === impl NodeSet ===

impl NodeSet {
    /// Adds `node`; true where it was not in the set.
    pub fn insert(&mut self, node: Node) -> bool {
        let (word, bit) = (node as usize / 64, node % 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] >> bit & 1 == 0;
        self.words[word] |= 1 << bit;
        new
    }

    /// Takes `node` out.
    pub fn remove(&mut self, node: Node) {
        let (word, bit) = (node as usize / 64, node % 64);
        if let Some(bits) = self.words.get_mut(word) {
            *bits &= !(1 << bit);
        }
    }

    /// Whether `node` is in the set.
    pub fn contains(&self, node: Node) -> bool {
        let (word, bit) = (node as usize / 64, node % 64);
        self.words.get(word).is_some_and(|bits| bits >> bit & 1 == 1)
    }
}

impl FromIterator<Node> for NodeSet {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut set = Self::default();
        for node in nodes {
            set.insert(node);
        }
        set
    }
}
