//! What some commits reach and others do not: `git rev-list` as git's own server asks it.
//!
//! Always true: the answer is git's, also where clocks run backwards: what decides is the order in
//! which commits are met, newest first, and when git stops to look (`limit_list` of git).
//! Never here: trees and blobs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::history::{History, HistoryError, Node, NodeSet};

/// Excluded commits that a walk goes on looking at after the last included one, as a margin for
/// clocks that run backwards (`SLOP` of git).
const SLOP: usize = 5;

/// What `tips` reach and `excluded` do not, newest first; nothing from before `since`.
///
/// An old commit hides its ancestors only from those who reach them through it. Beside excluded
/// commits it excludes them altogether, as in git.
pub fn selected(
    history: &mut History,
    tips: &[Node],
    excluded: &[Node],
    since: Option<i64>,
) -> Result<Vec<Node>, HistoryError> {
    let mut walk = Walk::new(usize::MAX);
    Ok(walk.choose(history, tips, excluded, since)?.unwrap_or_default())
}

/// [`selected`], unless that takes a look at more than `commits_max` commits. Whether it does
/// follows from the commits and from the order of `tips` and `excluded`.
pub fn selected_within(
    history: &mut History,
    tips: &[Node],
    excluded: &[Node],
    commits_max: usize,
) -> Result<Option<Vec<Node>>, HistoryError> {
    if tips.len() + excluded.len() > commits_max {
        return Ok(None);
    }
    Walk::new(commits_max).choose(history, tips, excluded, None)
}

/// Commits to look at, newest first.
#[derive(Default)]
struct Walk {
    queue: BinaryHeap<(i64, Reverse<u64>, Node)>,
    /// Every commit that was ever in the queue.
    queued: NodeSet,
    done: NodeSet,
    excluded: NodeSet,
    /// Commits in the queue that are not excluded.
    included_left: usize,
    pushed: u64,
    /// Commits that may still be looked at.
    looks_left: usize,
}

// === impl Walk ===

impl Walk {
    fn new(looks_left: usize) -> Self {
        Self { looks_left, ..Self::default() }
    }

    /// `None`: too many commits to look at.
    fn choose(
        &mut self,
        history: &mut History,
        tips: &[Node],
        excluded: &[Node],
        since: Option<i64>,
    ) -> Result<Option<Vec<Node>>, HistoryError> {
        for node in excluded {
            self.excluded.insert(*node);
            self.push(history, *node)?;
        }
        for node in tips {
            self.push(history, *node)?;
        }
        for node in excluded {
            self.exclude_ancestors(history, *node)?;
        }
        if excluded.is_empty() { self.all(history, since) } else { self.limited(history, since) }
    }

    fn all(
        &mut self,
        history: &mut History,
        since: Option<i64>,
    ) -> Result<Option<Vec<Node>>, HistoryError> {
        let mut chosen = Vec::new();
        while let Some((at, node)) = self.pop() {
            if !self.may_look() {
                return Ok(None);
            }
            if since.is_some_and(|since| at < since) {
                continue;
            }
            for parent in history.parents(node)?.to_vec() {
                self.push(history, parent)?;
            }
            chosen.push(node);
        }
        Ok(Some(chosen))
    }

    fn limited(
        &mut self,
        history: &mut History,
        since: Option<i64>,
    ) -> Result<Option<Vec<Node>>, HistoryError> {
        let (mut chosen, mut slop, mut last_at) = (Vec::new(), SLOP, i64::MAX);
        while let Some((at, node)) = self.pop() {
            if !self.may_look() {
                return Ok(None);
            }
            if since.is_some_and(|since| at < since) {
                self.excluded.insert(node);
            }
            let out = self.excluded.contains(node);
            for parent in history.parents(node)?.to_vec() {
                if out {
                    self.exclude(parent);
                    self.exclude_ancestors(history, parent)?;
                }
                self.push(history, parent)?;
            }
            if !out {
                chosen.push(node);
                last_at = at;
                continue;
            }
            let Some((next_at, _, _)) = self.queue.peek() else { break };
            slop = if last_at <= *next_at || self.included_left > 0 { SLOP } else { slop - 1 };
            if slop == 0 {
                break;
            }
        }
        chosen.retain(|node| !self.excluded.contains(*node));
        Ok(Some(chosen))
    }

    fn may_look(&mut self) -> bool {
        let may = self.looks_left > 0;
        self.looks_left = self.looks_left.saturating_sub(1);
        may
    }

    fn push(&mut self, history: &mut History, node: Node) -> Result<(), HistoryError> {
        if !self.queued.insert(node) {
            return Ok(());
        }
        self.pushed += 1;
        self.queue.push((history.committed_at(node)?, Reverse(self.pushed), node));
        self.included_left += usize::from(!self.excluded.contains(node));
        Ok(())
    }

    fn pop(&mut self) -> Option<(i64, Node)> {
        let (at, _, node) = self.queue.pop()?;
        self.done.insert(node);
        self.included_left -= usize::from(!self.excluded.contains(node));
        Some((at, node))
    }

    /// True where `node` was not excluded before.
    fn exclude(&mut self, node: Node) -> bool {
        let new = self.excluded.insert(node);
        if new && self.queued.contains(node) && !self.done.contains(node) {
            self.included_left -= 1;
        }
        new
    }

    /// Excludes the parents of `node`, and what was seen to be reached through them already.
    fn exclude_ancestors(&mut self, history: &mut History, node: Node) -> Result<(), HistoryError> {
        let mut stack = history.parents(node)?.to_vec();
        while let Some(node) = stack.pop() {
            if self.exclude(node) && self.queued.contains(node) {
                stack.extend_from_slice(history.parents(node)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
