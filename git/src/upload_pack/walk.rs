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
    let mut walk = Walk::default();
    for node in excluded {
        walk.excluded.insert(*node);
        walk.push(history, *node)?;
    }
    for node in tips {
        walk.push(history, *node)?;
    }
    for node in excluded {
        walk.exclude_ancestors(history, *node)?;
    }
    if excluded.is_empty() { walk.all(history, since) } else { walk.limited(history, since) }
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
}

// === impl Walk ===

impl Walk {
    fn all(mut self, history: &mut History, since: Option<i64>) -> Result<Vec<Node>, HistoryError> {
        let mut chosen = Vec::new();
        while let Some((at, node)) = self.pop() {
            if since.is_some_and(|since| at < since) {
                continue;
            }
            for parent in history.parents(node)?.to_vec() {
                self.push(history, parent)?;
            }
            chosen.push(node);
        }
        Ok(chosen)
    }

    fn limited(
        mut self,
        history: &mut History,
        since: Option<i64>,
    ) -> Result<Vec<Node>, HistoryError> {
        let (mut chosen, mut slop, mut last_at) = (Vec::new(), SLOP, i64::MAX);
        while let Some((at, node)) = self.pop() {
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
        Ok(chosen)
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
