//! Which trees and blobs the commits of a pack bring along.
//!
//! Always true: a tree is read at most once; trees of commits at the edge, which the client has,
//! bring nothing, as in git.
//! Never here: which commits those are.

use std::collections::HashSet;

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
