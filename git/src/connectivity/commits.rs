//! The commits that a push brings, and where they meet what existing refs reach.
//!
//! ```text
//!   1. walk from the tips as long as commits lie in the quarantine; where that ends, a ref mostly
//!      points to just there: one pass over the refs, none of which is read
//!   2. what is left may be an ancestor of a branch that the push names: a short walk from these
//!   3. else paint from all refs and from what is left, newest first, until nothing is left that
//!      only the push reaches
//! ```
//!
//! Always true: a commit counts as reached only by a walk from a ref, or because a ref points to it.
//! Those found new may be too many (clocks that run backwards, commits that were sent again), never
//! too few; the thorough way finds exactly what git does or fewer.
//! Never here: trees and blobs.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::{ConnectivityError, marks};
use crate::ObjectId;
use crate::history::{Cancel, NodeSet};
use crate::objects::{Store, StoreError};

/// Commits of a quarantine that are walked without asking what refs reach.
const BLIND_COMMITS_MAX: usize = 256;
/// Commits looked at from the hints before all refs are asked.
const HINTED_COMMITS_MAX: usize = 2_000;
/// Hints that are followed.
const HINTS_MAX: usize = 32;
/// Commits that one push may make us read: 10 million take about 1.3 GB.
const COMMITS_MAX: usize = 10_000_000;
/// Commits between two looks at whether somebody waits.
const CANCEL_INTERVAL: usize = 256;

/// A place in [`Commits`].
pub(super) type Node = u32;

/// Commits read for one push, and what refs point to.
#[derive(Debug)]
pub(super) struct Commits {
    store: Arc<Store>,
    complete: Vec<ObjectId>,
    hints: Vec<ObjectId>,
    cancel: Cancel,
    nodes: Vec<Commit>,
    places: HashMap<ObjectId, Node>,
    looks: usize,
}

#[derive(Debug)]
struct Commit {
    id: ObjectId,
    tree: ObjectId,
    parents: Vec<ObjectId>,
    /// Level, where a commit-graph knows it (what it does not know cannot be an ancestor of what it
    /// knows), then the time.
    order: (u32, i64),
}

/// What tips bring.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Commits that no ref reaches.
    pub(super) new: Vec<Node>,
    /// Commits that refs reach, next to the new ones.
    pub(super) boundary: Vec<Node>,
    /// A parent of a new commit, or a tip, that is not there.
    pub(super) missing: Option<ObjectId>,
}

/// Commits painted from both sides.
#[derive(Default)]
struct Painting {
    queue: BinaryHeap<(u32, i64, Node)>,
    wanted: NodeSet,
    reached: NodeSet,
    /// In the queue, and wanted only.
    open: usize,
    queued: NodeSet,
    missing: Vec<(Node, ObjectId)>,
}

// === impl Commits ===

impl Commits {
    pub(super) fn new(
        store: Arc<Store>,
        complete: Vec<ObjectId>,
        hints: Vec<ObjectId>,
        cancel: Cancel,
    ) -> Self {
        let (nodes, places) = (Vec::new(), HashMap::new());
        Self { store, complete, hints, cancel, nodes, places, looks: 0 }
    }

    pub(super) fn id(&self, node: Node) -> ObjectId {
        self.nodes[node as usize].id
    }

    pub(super) fn tree(&self, node: Node) -> ObjectId {
        self.nodes[node as usize].tree
    }

    /// What refs point to.
    pub(super) fn complete(&self) -> &[ObjectId] {
        &self.complete
    }

    /// What the commits `tips` bring. The thorough way asks all refs and goes on to the end of what
    /// they reach.
    pub(super) fn discover(
        &mut self,
        tips: &[ObjectId],
        thorough: bool,
    ) -> Result<Found, ConnectivityError> {
        if !thorough && let Some((mut found, left)) = self.walk_quarantine(tips)? {
            let left = self.ask_refs(left, &mut found)?;
            if !left.is_empty() && found.missing.is_none() {
                let rest = self.paint(&left, false)?;
                found.new.extend(rest.new);
                found.boundary.extend(rest.boundary);
                found.missing = rest.missing;
            }
            self.leave_parents(&mut found);
            return Ok(found);
        }
        self.paint(tips, thorough)
    }

    /// Tips that refs reach are no boundary: no new commit builds on them.
    fn leave_parents(&self, found: &mut Found) {
        let parents = found.new.iter().flat_map(|node| &self.nodes[*node as usize].parents);
        let parents: HashSet<&ObjectId> = parents.collect();
        found.boundary.retain(|node| parents.contains(&self.nodes[*node as usize].id));
    }

    /// Step 1: the commits that lie in the quarantine, and those that they lead to outside.
    /// `None`: there are too many to go on without knowing what refs reach.
    fn walk_quarantine(
        &mut self,
        tips: &[ObjectId],
    ) -> Result<Option<(Found, Vec<ObjectId>)>, ConnectivityError> {
        let (mut found, mut left) = (Found::default(), Vec::new());
        let mut seen: HashSet<ObjectId> = HashSet::new();
        let mut stack: Vec<ObjectId> = tips.to_vec();
        while let Some(id) = stack.pop() {
            if !seen.insert(id) {
                continue;
            }
            if !self.store.lies_in(0, &id)? {
                left.push(id);
                continue;
            }
            if found.new.len() == BLIND_COMMITS_MAX {
                return Ok(None);
            }
            let Some(node) = self.read(&id)? else {
                found.missing = Some(id);
                return Ok(Some((found, left)));
            };
            found.new.push(node);
            stack.extend_from_slice(&self.nodes[node as usize].parents);
        }
        Ok(Some((found, left)))
    }

    /// Steps 1 and 2: moves those of `left` that refs are found to reach to the boundary.
    fn ask_refs(
        &mut self,
        mut left: Vec<ObjectId>,
        found: &mut Found,
    ) -> Result<Vec<ObjectId>, ConnectivityError> {
        if left.is_empty() {
            return Ok(left);
        }
        let hints = self.hints.iter().take(HINTS_MAX);
        let candidates: HashSet<ObjectId> = left.iter().chain(hints).copied().collect();
        let tips = marks::common(&candidates, &self.complete);
        let mut is_left = |commits: &mut Self, id: &ObjectId, reached: bool| {
            // A ref to what is not there reaches nothing.
            let node = if reached { commits.read_tolerantly(id)? } else { None };
            found.boundary.extend(node);
            Ok::<bool, ConnectivityError>(node.is_none())
        };
        let mut rest = Vec::new();
        for id in left.drain(..) {
            if is_left(self, &id, tips.contains(&id))? {
                rest.push(id);
            }
        }
        let starts: Vec<ObjectId> =
            self.hints.iter().take(HINTS_MAX).filter(|id| tips.contains(*id)).copied().collect();
        if rest.is_empty() || starts.is_empty() {
            return Ok(rest);
        }
        let reached = self.reached_from(&starts, &rest)?;
        for id in rest {
            if is_left(self, &id, reached.contains(&id))? {
                left.push(id);
            }
        }
        Ok(left)
    }

    /// Step 2: those of `wanted` that a short walk from `starts` meets.
    fn reached_from(
        &mut self,
        starts: &[ObjectId],
        wanted: &[ObjectId],
    ) -> Result<HashSet<ObjectId>, ConnectivityError> {
        let mut left: HashSet<ObjectId> = wanted.iter().copied().collect();
        let mut met = HashSet::new();
        // Below all that is wanted there is nothing to find.
        let mut floor = u32::MAX;
        for id in wanted {
            let node = self.read_tolerantly(id)?;
            floor = floor.min(node.map_or(0, |node| self.nodes[node as usize].order.0));
        }
        let mut painting = Painting::default();
        for id in starts {
            painting.push_reached(self, id)?;
        }
        for _ in 0..HINTED_COMMITS_MAX {
            let Some((level, _, node)) = painting.queue.pop() else { break };
            if left.remove(&self.id(node)) {
                met.insert(self.id(node));
            }
            if left.is_empty() || level < floor {
                break;
            }
            self.look()?;
            for parent in self.nodes[node as usize].parents.clone() {
                painting.push_reached(self, &parent)?;
            }
        }
        Ok(met)
    }

    /// Step 3.
    fn paint(&mut self, tips: &[ObjectId], to_the_end: bool) -> Result<Found, ConnectivityError> {
        let mut painting = Painting::default();
        let complete = std::mem::take(&mut self.complete);
        let pushed = complete.iter().try_for_each(|id| painting.push_reached(self, id));
        self.complete = complete;
        pushed?;
        let mut found = Found::default();
        for id in tips {
            match self.read(id)? {
                Some(node) => painting.push_wanted(self, node),
                None => found.missing = found.missing.or(Some(*id)),
            }
        }
        while let Some((.., node)) = painting.queue.pop() {
            painting.queued.remove(node);
            let is_reached = painting.reached.contains(node);
            painting.open -= usize::from(!is_reached);
            self.look()?;
            for parent in self.nodes[node as usize].parents.clone() {
                if is_reached {
                    painting.push_reached(self, &parent)?;
                    continue;
                }
                match self.read_tolerantly(&parent)? {
                    Some(parent) => painting.push_wanted(self, parent),
                    None => painting.missing.push((node, parent)),
                }
            }
            if painting.open == 0 && !to_the_end {
                break;
            }
        }
        self.settle(&painting, &mut found);
        Ok(found)
    }

    fn settle(&self, painting: &Painting, found: &mut Found) {
        let nodes = 0..self.nodes.len() as Node;
        found.new = nodes.filter(|node| painting.is_new(*node)).collect();
        let parents = found.new.iter().flat_map(|node| &self.nodes[*node as usize].parents);
        let mut seen = NodeSet::default();
        for id in parents {
            let Some(&node) = self.places.get(id) else { continue };
            if painting.reached.contains(node) && seen.insert(node) {
                found.boundary.push(node);
            }
        }
        let missing = painting.missing.iter().find(|(child, _)| painting.is_new(*child));
        found.missing = found.missing.or(missing.map(|(_, parent)| *parent));
    }

    /// Reads a commit that has to be there; `None` if it is not.
    fn read(&mut self, id: &ObjectId) -> Result<Option<Node>, ConnectivityError> {
        if let Some(node) = self.places.get(id) {
            return Ok(Some(*node));
        }
        if self.nodes.len() >= COMMITS_MAX {
            return Err(ConnectivityError::TooMany { limit: COMMITS_MAX, what: "commits" });
        }
        let commit = self.store.commit(id);
        let commit = commit.map_err(|error| ConnectivityError::reading(error, id, "commit"))?;
        let Some(commit) = commit else { return Ok(None) };
        let node = self.nodes.len() as Node;
        let order = (commit.generation.unwrap_or(u32::MAX), commit.committed_at);
        self.nodes.push(Commit { id: *id, tree: commit.tree, parents: commit.parents, order });
        self.places.insert(*id, node);
        Ok(Some(node))
    }

    /// Reads what a ref reaches: it may be missing, damaged, or no commit.
    fn read_tolerantly(&mut self, id: &ObjectId) -> Result<Option<Node>, ConnectivityError> {
        match self.read(id) {
            Err(
                ConnectivityError::Unreadable { .. }
                | ConnectivityError::Store(StoreError::Limit { .. }),
            ) => Ok(None),
            read => read,
        }
    }

    fn look(&mut self) -> Result<(), ConnectivityError> {
        self.looks += 1;
        if self.looks.is_multiple_of(CANCEL_INTERVAL) && self.cancel.is_cancelled() {
            return Err(ConnectivityError::Cancelled);
        }
        Ok(())
    }
}

// === impl Painting ===

impl Painting {
    fn is_new(&self, node: Node) -> bool {
        self.wanted.contains(node) && !self.reached.contains(node)
    }

    fn push_wanted(&mut self, commits: &Commits, node: Node) {
        if self.reached.contains(node) || !self.wanted.insert(node) {
            return;
        }
        self.open += 1;
        self.push(commits, node);
    }

    fn push_reached(
        &mut self,
        commits: &mut Commits,
        id: &ObjectId,
    ) -> Result<(), ConnectivityError> {
        let Some(node) = commits.read_tolerantly(id)? else { return Ok(()) };
        if !self.reached.insert(node) {
            return Ok(());
        }
        // What was wanted and looked at is looked at again: its parents are reached, too.
        if self.wanted.contains(node) && self.queued.contains(node) {
            self.open -= 1;
            return Ok(());
        }
        self.push(commits, node);
        Ok(())
    }

    fn push(&mut self, commits: &Commits, node: Node) {
        let (level, at) = commits.nodes[node as usize].order;
        self.queued.insert(node);
        self.queue.push((level, at, node));
    }
}
