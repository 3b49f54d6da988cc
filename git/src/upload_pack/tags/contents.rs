//! Which trees and blobs the commits of a pack bring along.
//!
//! Always true: a tree is read at most once; trees of commits at the edge, which the client has,
//! bring nothing, as in git.
//! Never here: which commits those are.

use std::collections::{HashMap, HashSet};

use gix_object::TreeRefIter;

use crate::ObjectId;
use crate::history::{History, HistoryError, Node, NodeSet};

/// Trees that are read to find what tags of trees and blobs lead to. Such tags are few and most
/// lie near a tip; one that lies deeper than this (about 0.1 s) is left for the client to ask for.
const TREES_MAX: usize = 20_000;

/// The search through trees.
struct Search {
    seen: HashSet<ObjectId>,
    open: HashSet<ObjectId>,
    found: HashSet<ObjectId>,
    trees_left: usize,
}

/// The objects among `targets` that `commits`, and not the commits that these stand on, hold.
pub(super) fn held(
    history: &mut History,
    commits: &[Node],
    targets: HashSet<ObjectId>,
) -> Result<HashSet<ObjectId>, HistoryError> {
    let within: NodeSet = commits.iter().copied().collect();
    let mut edges = Vec::new();
    for commit in commits {
        let outside = |parent: &&Node| !within.contains(**parent);
        edges.extend(history.parents(*commit)?.iter().filter(outside).copied());
    }
    edges.sort_unstable();
    edges.dedup();
    let mut search = Search {
        seen: HashSet::new(),
        open: HashSet::new(),
        found: HashSet::new(),
        trees_left: TREES_MAX,
    };
    for edge in edges {
        let tree = history.tree(edge)?;
        search.walk(history, tree)?;
    }
    search.open = targets.into_iter().filter(|target| !search.seen.contains(target)).collect();
    for commit in commits {
        if search.open.is_empty() {
            break;
        }
        let tree = history.tree(*commit)?;
        search.walk(history, tree)?;
    }
    Ok(search.found)
}

// === impl Search ===

impl Search {
    fn walk(&mut self, history: &History, root: ObjectId) -> Result<(), HistoryError> {
        let mut stack = vec![root];
        while let Some(tree) = stack.pop() {
            if !self.meet(tree) {
                continue;
            }
            if self.trees_left == 0 {
                return Ok(());
            }
            self.trees_left -= 1;
            let Some(object) = history.store().read(&tree)? else { continue };
            let entries = TreeRefIter::from_bytes(&object.data, tree.kind());
            for entry in entries.map_while(Result::ok) {
                let id = entry.oid.to_owned();
                if entry.mode.is_tree() {
                    stack.push(id);
                } else if !entry.mode.is_commit() {
                    self.meet(id);
                }
            }
        }
        Ok(())
    }

    /// Whether `id` was not met before.
    fn meet(&mut self, id: ObjectId) -> bool {
        if self.open.remove(&id) {
            self.found.insert(id);
        }
        self.seen.insert(id)
    }
}

/// Trees that [`may_bring`] reads: about 1 ms.
const CHANGED_TREES_MAX: usize = 200;

/// Whether `commits` may hold one of `targets` where no parent of theirs does: `false` is certain.
/// Reads only trees that differ from the one at the same place in a parent, and gives up, with
/// `true`, after 200 of them.
pub(super) fn may_bring(
    history: &mut History,
    commits: &[Node],
    targets: &HashSet<ObjectId>,
) -> Result<bool, HistoryError> {
    let mut trees_left = CHANGED_TREES_MAX;
    for commit in commits {
        // What a parent holds, its own comparison tells, or the client has it: any one will do.
        let parent = history.parents(*commit)?.first().copied();
        let old = parent.map_or(Ok(empty()), |parent| history.tree(parent))?;
        let mut pairs = vec![(history.tree(*commit)?, old)];
        while let Some((new, old)) = pairs.pop() {
            if new == old {
                continue;
            }
            if targets.contains(&new) || trees_left == 0 {
                return Ok(true);
            }
            trees_left -= 1;
            let store = history.store();
            let (Some(new), Some(old)) = (store.read(&new)?, store.read(&old)?) else {
                return Ok(true);
            };
            if meets(&new.data, &old.data, targets, &mut pairs) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn empty() -> ObjectId {
    ObjectId::empty_tree(gix_hash::Kind::Sha1)
}

/// Whether a blob of the tree `new` that is not at the same place in `old` is a target; adds to
/// `pairs` the trees that differ.
fn meets(
    new: &[u8],
    old: &[u8],
    targets: &HashSet<ObjectId>,
    pairs: &mut Vec<(ObjectId, ObjectId)>,
) -> bool {
    let entries = |data| TreeRefIter::from_bytes(data, gix_hash::Kind::Sha1).map_while(Result::ok);
    let before: HashMap<_, _> = entries(old).map(|entry| (entry.filename, entry)).collect();
    for entry in entries(new) {
        let same = before.get(entry.filename);
        if same.is_some_and(|same| same.oid == entry.oid) {
            continue;
        }
        if entry.mode.is_tree() {
            let old = same.filter(|same| same.mode.is_tree());
            pairs.push((entry.oid.to_owned(), old.map_or_else(empty, |old| old.oid.to_owned())));
        } else if targets.contains(entry.oid) {
            return true;
        }
    }
    false
}
