//! Whether one commit leads to another.
//!
//! Always true: clocks that ran backwards cost time, not the right answer.
//! Never here: walks without a limit; those are left to git.

use std::collections::{BinaryHeap, HashMap};

use bstr::BStr;

use crate::ObjectId;
use crate::objects::{Store, StoreError};
use crate::repository::Snapshot;
use crate::revision::{Resolved, Revision, Target, are_parents_known};

/// Commits that are looked at. At 10 µs each this is 20 ms, for which one worker may be held up.
const COMMITS_MAX: usize = 2_000;

/// From where a commit was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    from_child: bool,
    /// Whoever is, leads not to the ancestor: it is one of that itself.
    from_ancestor: bool,
    is_queued: bool,
}

/// A walk from two commits towards what they have in common, newest first.
struct Walk<'s> {
    store: &'s Store,
    marks: HashMap<ObjectId, Mark>,
    queue: BinaryHeap<(i64, ObjectId)>,
    /// Of those in the queue, how many may lead from the child to the ancestor.
    open: usize,
}

/// Whether `ancestor` is `child` or reached from it. `Missing`: one of them names no commit.
///
/// # Errors
/// A store that cannot be read.
pub fn is_ancestor(
    snapshot: &Snapshot,
    ancestor: &BStr,
    child: &BStr,
) -> Result<Resolved<bool>, StoreError> {
    if !are_parents_known(snapshot) {
        return Ok(Resolved::Unsupported);
    }
    let resolve = |name: &BStr| Revision::parse(name).resolve_to(snapshot, Target::Commit);
    let (ancestor, child) = match (resolve(ancestor)?, resolve(child)?) {
        (Resolved::Found(ancestor), Resolved::Found(child)) => (ancestor, child),
        (Resolved::Unsupported, _) | (_, Resolved::Unsupported) => {
            return Ok(Resolved::Unsupported);
        }
        (Resolved::Missing, _) | (_, Resolved::Missing) => return Ok(Resolved::Missing),
    };
    if ancestor == child {
        return Ok(Resolved::Found(true));
    }
    let (marks, queue) = (HashMap::new(), BinaryHeap::new());
    let found = Walk { store: &snapshot.store, marks, queue, open: 0 }.run(ancestor, child)?;
    Ok(found.map_or(Resolved::Unsupported, Resolved::Found))
}

// === impl Walk ===

impl Walk<'_> {
    /// `None` if that takes too long, or if a commit is missing.
    fn run(mut self, ancestor: ObjectId, child: ObjectId) -> Result<Option<bool>, StoreError> {
        let from_child = Mark { from_child: true, ..Mark::default() };
        let from_ancestor = Mark { from_ancestor: true, ..Mark::default() };
        if !self.reach(ancestor, from_ancestor)? || !self.reach(child, from_child)? {
            return Ok(None);
        }
        let mut looked_at = 0;
        while self.open > 0 {
            let Some((_, id)) = self.queue.pop() else { break };
            looked_at += 1;
            let mark = self.marks.get_mut(&id).map(|mark| {
                mark.is_queued = false;
                *mark
            });
            let mark = mark.unwrap_or_default();
            self.open -= usize::from(mark.is_open());
            let Some(commit) = self.store.commit(&id)? else { return Ok(None) };
            for parent in commit.parents {
                if mark.is_open() && parent == ancestor {
                    return Ok(Some(true));
                }
                if looked_at > COMMITS_MAX || !self.reach(parent, mark)? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(false))
    }

    /// Marks a commit and sees to it that its parents are marked. Whether the commit is there.
    fn reach(&mut self, id: ObjectId, from: Mark) -> Result<bool, StoreError> {
        let mark = self.marks.entry(id).or_default();
        let before = *mark;
        mark.from_child |= from.from_child;
        mark.from_ancestor |= from.from_ancestor;
        if *mark == before {
            return Ok(true);
        }
        mark.is_queued = true;
        self.open -= usize::from(before.is_queued && before.is_open());
        self.open += usize::from(mark.is_open());
        if !before.is_queued {
            let Some(commit) = self.store.commit(&id)? else { return Ok(false) };
            self.queue.push((commit.committed_at, id));
        }
        Ok(true)
    }
}

// === impl Mark ===

impl Mark {
    fn is_open(self) -> bool {
        self.from_child && !self.from_ancestor
    }
}

#[cfg(test)]
mod tests;
