//! What both sides have: the server's half of the negotiation (gitprotocol-pack, "Packfile
//! Negotiation").
//!
//! Always true: what is common stays common, and once every want reaches something common it
//! does so for good.
//! Never here: the dialects in which this is told.

use std::collections::HashSet;

use gix_object::Kind;

use super::desk::DeskError;
use crate::ObjectId;
use crate::history::{History, HistoryError, Node, NodeSet};
use crate::objects::Store;

/// Wants, and haves that turned out to be common.
#[derive(Debug, Default)]
pub struct Negotiation {
    wants: Vec<ObjectId>,
    /// Common objects, in the order in which the client named them.
    common: Vec<ObjectId>,
    /// The same, and what was taken as had before the client named it.
    known: HashSet<ObjectId>,
    /// They have these: common commits and their parents.
    they_have: NodeSet,
    /// They have these, which are no commits.
    they_have_others: HashSet<ObjectId>,
    /// Nothing older than this can be an unseen have; seconds since the epoch.
    oldest_have: Option<i64>,
    /// Commits that reach something they have.
    reaching: NodeSet,
    /// How often haves taught us something.
    lessons: usize,
    /// The lessons behind the last judgement of the wants, and the verdict.
    judged: Option<(usize, bool)>,
}

// === impl Negotiation ===

impl Negotiation {
    /// The objects that the client wants.
    pub fn want(&mut self, ids: &[ObjectId]) {
        self.wants = ids.to_vec();
    }

    /// What both sides have.
    pub fn common(&self) -> &[ObjectId] {
        &self.common
    }

    /// Every object that the client named and that we have, in no order: does not depend on the
    /// order in which it named them, as [`Self::common`] does.
    pub fn known(&self) -> impl Iterator<Item = &ObjectId> {
        self.known.iter()
    }

    /// The client has `id`: whether we do, too. Parents of what it has are taken as had, and are
    /// not listed as common again.
    pub fn have(
        &mut self,
        history: &mut History,
        store: &Store,
        id: &ObjectId,
    ) -> Result<bool, DeskError> {
        let Some(header) = store.header(id)? else { return Ok(false) };
        self.known.insert(*id);
        let new = if header.kind == Kind::Commit {
            let Some(node) = history.commit(id)? else { return Ok(false) };
            let at = history.committed_at(node)?;
            let oldest = self.oldest_have.map_or(at, |oldest| oldest.min(at));
            let mut learnt = self.oldest_have.replace(oldest) != Some(oldest);
            for parent in history.parents(node)?.to_vec() {
                learnt |= self.they_have.insert(parent);
            }
            let new = self.they_have.insert(node);
            // Also of what was implied: it tells more of its parents, and how far to look.
            self.lessons += usize::from(new || learnt);
            new
        } else {
            self.they_have_others.insert(*id)
        };
        if new {
            self.common.push(*id);
        }
        Ok(true)
    }

    /// Whether every want reaches something common, so that more haves would gain nothing.
    pub fn ready(&mut self, history: &mut History) -> Result<bool, HistoryError> {
        if self.common.is_empty() {
            return Ok(false);
        }
        match self.judged {
            Some((_, true)) => return Ok(true),
            Some((lessons, false)) if lessons == self.lessons => return Ok(false),
            Some(_) | None => {}
        }
        let mut dead = NodeSet::default();
        let mut ready = true;
        // Trees and blobs have no ancestry to judge by; git lets them pass as well.
        let mut wants = Vec::with_capacity(self.wants.len());
        for node in history.commits(&self.wants)? {
            wants.push((history.committed_at(node)?, node));
        }
        // Oldest first, as in git: what one want reaches, others reach through it, too old or not.
        wants.sort_unstable();
        for (_, want) in wants {
            if !self.reaches(history, want, &mut dead)? {
                ready = false;
                break;
            }
        }
        self.judged = Some((self.lessons, ready));
        Ok(ready)
    }

    /// Depth first from `want`, not below the oldest have. History has no circles, so a commit
    /// that was left without success is dead for every later want of the same judgement.
    fn reaches(
        &mut self,
        history: &mut History,
        want: Node,
        dead: &mut NodeSet,
    ) -> Result<bool, HistoryError> {
        let mut path: Vec<(Node, usize)> = vec![(want, 0)];
        while let Some((node, tried)) = path.last_mut() {
            let node = *node;
            if self.they_have.contains(node) || self.reaching.contains(node) {
                for (ancestor, _) in &path {
                    self.reaching.insert(*ancestor);
                }
                return Ok(true);
            }
            let next = history.parents(node)?.get(*tried).copied();
            *tried += 1;
            match next {
                None => {
                    dead.insert(node);
                    path.pop();
                }
                Some(parent) if dead.contains(parent) => {}
                Some(parent) => {
                    let known = self.they_have.contains(parent) || self.reaching.contains(parent);
                    if known || !self.too_old(history, parent)? {
                        path.push((parent, 0));
                    } else {
                        dead.insert(parent);
                    }
                }
            }
        }
        Ok(false)
    }

    fn too_old(&self, history: &mut History, node: Node) -> Result<bool, HistoryError> {
        let Some(oldest) = self.oldest_have else { return Ok(false) };
        Ok(history.committed_at(node)? < oldest)
    }
}
