//! Whether everything is there that pushed objects need: `git rev-list --objects --stdin --not --all`
//! of git's connected.c, without the child.
//!
//! ```text
//!   tips ──> new commits ──> boundary: what existing refs reach   (commits)
//!                │ trees, compared with those of the boundary
//!                v
//!            trees and blobs that the boundary does not have must be there   (trees)
//! ```
//!
//! Always true: only what an existing ref reaches counts as complete. That an object is there
//! proves nothing of what it needs: it may be the rest of something that was pruned, and all that
//! it leads to is looked at. What is found missing is looked for once more in the whole boundary,
//! so that an old gap in the repository does not fail a push that does not touch it, as in git.
//! Never here: what objects contain (the child's fsck), submodules' commits, which refs there are.

mod commits;
mod marks;
mod trees;

use std::collections::HashSet;
use std::sync::Arc;

use crate::ObjectId;
use crate::history::Cancel;
use crate::objects::{Kind, Store, StoreError, parse};
use commits::{Commits, Found};
use trees::Trees;
pub(crate) use trees::links as tree_links;

/// Tags around one another that are followed.
const TAGS_MAX: usize = 1_000;

/// Why a push is not known to be complete.
#[derive(Debug, thiserror::Error)]
pub enum ConnectivityError {
    /// Something that is needed is not there.
    #[error("missing {what} {id}")]
    Missing {
        /// The object.
        id: ObjectId,
        /// What it would be: commit, tree, blob, object.
        what: &'static str,
    },
    /// Something that is needed cannot be read, or is not what it has to be.
    #[error("bad {what} {id}")]
    Unreadable {
        /// The object.
        id: ObjectId,
        /// What it should be.
        what: &'static str,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody waits for the answer any more.
    #[error("cancelled")]
    Cancelled,
    /// More commits or objects than are looked at for one push.
    #[error("more than {limit} {what} to check")]
    TooMany {
        /// The limit.
        limit: usize,
        /// Its unit.
        what: &'static str,
    },
}

/// Checks the tips of one push, all at once or each on its own.
#[derive(Debug)]
pub struct Checker {
    store: Arc<Store>,
    commits: Commits,
    trees: Trees,
    /// Commits and tags that are needed, and do not lie in the quarantine.
    outside: Vec<ObjectId>,
    cancel: Cancel,
}

/// What tips name: commits to walk from, and objects that no commit leads to.
#[derive(Debug, Default)]
struct Tips {
    commits: Vec<ObjectId>,
    trees: Vec<ObjectId>,
}

// === impl ConnectivityError ===

impl ConnectivityError {
    /// Whether the push is at fault, or at least not complete.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Unreadable { .. })
    }

    /// What went wrong with one object, where a damaged one is as bad as none.
    fn reading(error: StoreError, id: &ObjectId, what: &'static str) -> Self {
        match error {
            StoreError::Corrupt { .. } | StoreError::Object { .. } => {
                Self::Unreadable { id: *id, what }
            }
            StoreError::Io { .. } | StoreError::Faulted { .. } | StoreError::Limit { .. } => {
                Self::Store(error)
            }
        }
    }
}

// === impl Checker ===

impl Checker {
    /// A checker over `store`, whose first directory is the quarantine; what `complete` names is
    /// what existing refs point to. Of these, `hints` are tried first.
    pub fn new(
        store: Arc<Store>,
        complete: Vec<ObjectId>,
        hints: Vec<ObjectId>,
        cancel: Cancel,
    ) -> Self {
        let commits = Commits::new(Arc::clone(&store), complete, hints, cancel.clone());
        let trees = Trees::new(Arc::clone(&store), cancel.clone());
        Self { store, commits, trees, outside: Vec::new(), cancel }
    }

    /// Whether all that `tips` need is there.
    ///
    /// # Errors
    /// The first gap that was found, or what stood in the way.
    pub fn check(&mut self, tips: &[ObjectId]) -> Result<(), ConnectivityError> {
        match self.check_once(tips, false) {
            Err(error) if error.is_missing() => self.check_once(tips, true),
            checked => checked,
        }
    }

    /// What the tips that were checked need, as far as it lies outside of the quarantine and was not
    /// found to be reached by a ref: somebody has written it, and nobody has said that it is on
    /// stable storage. Objects that a ref does reach may be among them, and some twice.
    pub fn take_outside(&mut self) -> Vec<ObjectId> {
        let mut outside = std::mem::take(&mut self.outside);
        outside.append(&mut self.trees.take_outside());
        outside
    }

    /// The commits among `ids` that no existing ref reaches.
    pub(crate) fn unreached(
        &mut self,
        ids: &[ObjectId],
    ) -> Result<Vec<ObjectId>, ConnectivityError> {
        let mut left = self.peel(ids)?.commits;
        for thorough in [false, true] {
            if left.is_empty() {
                break;
            }
            let found = self.commits.discover(&left, thorough)?;
            let id = |node: &commits::Node| self.commits.id(*node);
            let new: HashSet<ObjectId> = found.new.iter().map(id).collect();
            left.retain(|id| new.contains(id));
        }
        Ok(left)
    }

    /// Whether `tip` reaches one of `commits`, other than through what existing refs reach.
    pub(crate) fn meets(
        &mut self,
        tip: &ObjectId,
        commits: &HashSet<ObjectId>,
    ) -> Result<bool, ConnectivityError> {
        let tips = match self.peel(&[*tip]) {
            // It is refused for another reason.
            Err(error) if error.is_missing() => return Ok(false),
            tips => tips?,
        };
        let found = self.commits.discover(&tips.commits, true)?;
        Ok(found.new.iter().any(|node| commits.contains(&self.commits.id(*node))))
    }

    fn check_once(&mut self, tips: &[ObjectId], thorough: bool) -> Result<(), ConnectivityError> {
        let tips = self.peel(tips)?;
        let found = self.commits.discover(&tips.commits, thorough)?;
        if let Some(id) = found.missing {
            return Err(ConnectivityError::Missing { id, what: "commit" });
        }
        if thorough {
            self.mark_boundary(&found)?;
        }
        let complete: Vec<ObjectId> =
            found.boundary.iter().map(|node| self.commits.tree(*node)).collect();
        // A commit-graph may know what is gone.
        for node in found.boundary.iter().chain(&found.new) {
            let id = self.commits.id(*node);
            if !self.store.contains(&id)? {
                return Err(ConnectivityError::Missing { id, what: "commit" });
            }
        }
        for node in &found.new {
            self.note(self.commits.id(*node))?;
            self.trees.check(&self.commits.tree(*node), &complete)?;
        }
        tips.trees.iter().try_for_each(|tree| self.trees.check(tree, &complete))
    }

    /// Takes for complete all that the boundary and refs to trees have, wherever they have it.
    fn mark_boundary(&mut self, found: &Found) -> Result<(), ConnectivityError> {
        for id in self.commits.complete() {
            match self.store.kind(id) {
                Ok(Some(Kind::Tree)) => self.trees.mark(id)?,
                Ok(Some(Kind::Blob)) => self.trees.take_for_complete(id),
                // A damaged one proves nothing.
                Ok(Some(Kind::Commit | Kind::Tag) | None) | Err(_) => {}
            }
        }
        let boundary = found.boundary.iter();
        boundary.map(|node| self.commits.tree(*node)).try_for_each(|tree| self.trees.mark(&tree))
    }

    fn note(&mut self, id: ObjectId) -> Result<(), ConnectivityError> {
        if !self.store.lies_in(0, &id)? {
            self.outside.push(id);
        }
        Ok(())
    }

    /// Follows tags, all of which have to be there.
    fn peel(&mut self, ids: &[ObjectId]) -> Result<Tips, ConnectivityError> {
        let mut tips = Tips::default();
        for id in ids {
            let (mut at, mut tags) = (*id, 0);
            loop {
                let kind = self.store.kind(&at);
                let kind =
                    kind.map_err(|error| ConnectivityError::reading(error, &at, "object"))?;
                match kind {
                    None => return Err(ConnectivityError::Missing { id: at, what: "object" }),
                    Some(Kind::Commit) => break tips.commits.push(at),
                    Some(Kind::Tree) => break tips.trees.push(at),
                    Some(Kind::Blob) => break self.note(at)?,
                    // A ref points to it: what it needs is no matter of this push.
                    Some(Kind::Tag) if self.commits.complete().contains(&at) => break,
                    Some(Kind::Tag) => self.note(at)?,
                }
                let tag = self.store.read(&at);
                let tag = tag.map_err(|error| ConnectivityError::reading(error, &at, "tag"))?;
                let target = tag.and_then(|tag| parse::tag_link(&tag.data));
                tags += 1;
                at = match target {
                    Some((target, _)) if tags <= TAGS_MAX => target,
                    Some(_) | None => {
                        return Err(ConnectivityError::Unreadable { id: at, what: "tag" });
                    }
                };
            }
            if self.cancel.is_cancelled() {
                return Err(ConnectivityError::Cancelled);
            }
        }
        Ok(tips)
    }
}

#[cfg(test)]
mod tests;
