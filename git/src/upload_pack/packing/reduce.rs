//! Leaving out wants and haves that change nothing.
//!
//! ```text
//!   have ─ o ─ o ─ E ─ new ─ new ─ want        E: the edge, parents of new commits that the
//!         have ─┘     have ─ o                 client has; all that its haves say of this pack
//! ```
//!
//! Always true: a want is left out only if another want reaches it, or the client has it; the
//! haves that are left are had by the client, and keep exactly the same commits back. Only for
//! requests without filters and with nothing shallow: there a want brings more than its history,
//! and a have less.
//! Never here: trees and blobs; wants and haves that are none of commits stay as they are.

use std::collections::BinaryHeap;

use super::{Candidates, Sent, Tip};
use crate::ObjectId;
use crate::history::{History, HistoryError, Node, NodeSet};
use crate::pack_request::Draft;

/// Reduces wants and haves of `draft`; `sent` is known where the client has anything.
pub(super) fn reduce(
    history: &mut History,
    draft: &mut Draft,
    sent: Option<&Sent>,
    candidates: &Candidates,
    commits_max: usize,
) -> Result<(), HistoryError> {
    if let Some(sent) = sent.filter(|_| !draft.haves.is_empty())
        && let Some(commits) = &sent.commits
        && sent.wants.iter().all(|want| want.node.is_some())
    {
        (draft.wants, draft.haves) = to_edge(history, sent, commits)?;
        return Ok(());
    }
    for list in [&mut draft.wants, &mut draft.haves] {
        match maximal(history, list, candidates, commits_max) {
            Ok(kept) => *list = kept,
            Err(HistoryError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The wants that no other one reaches, and the edge of what they send. Any two clients that lack
/// the same of the same wants get the same.
fn to_edge(
    history: &mut History,
    sent: &Sent,
    commits: &[Node],
) -> Result<(Vec<ObjectId>, Vec<ObjectId>), HistoryError> {
    let within: NodeSet = commits.iter().copied().collect();
    let (mut reached, mut edge) = (NodeSet::default(), NodeSet::default());
    let mut haves = Vec::new();
    let mut had = |history: &History, node: Node| {
        if edge.insert(node) {
            haves.push(history.id(node));
        }
    };
    for commit in commits {
        for parent in history.parents(*commit)?.to_vec() {
            reached.insert(parent);
            if !within.contains(parent) {
                had(history, parent);
            }
        }
    }
    let mut wants = Vec::new();
    for want in sent.wants.iter().filter(|want| !want.is_commit(history)) {
        wants.push(want.id);
        if let Some(target) = want.node {
            reached.insert(target);
            if !within.contains(target) {
                had(history, target);
            }
        }
    }
    for want in sent.wants.iter().filter(|want| want.is_commit(history)) {
        let Some(node) = want.node else { continue };
        if within.contains(node) && !reached.contains(node) {
            wants.push(want.id);
        }
    }
    if wants.is_empty() {
        // The client has all that it wants: an empty pack, whatever that was.
        return Ok((wants, Vec::new()));
    }
    haves.extend(sent.haves.iter().filter(|have| !have.is_commit(history)).map(|have| have.id));
    Ok((wants, haves))
}

/// Those of `ids` that no other one reaches, as far as a short walk by date can tell.
fn maximal(
    history: &mut History,
    ids: &[ObjectId],
    candidates: &Candidates,
    commits_max: usize,
) -> Result<Vec<ObjectId>, HistoryError> {
    if ids.len() < 2 || ids.len() > commits_max {
        return Ok(ids.to_vec());
    }
    let tips = Tip::of(history, ids, candidates)?;
    let (mut dates, mut reached, mut walk) = (Vec::new(), NodeSet::default(), Walk::default());
    let mut wanted = NodeSet::default();
    for tip in &tips {
        let Some(node) = tip.node else { continue };
        if !tip.is_commit(history) {
            walk.push(history, node)?;
            continue;
        }
        wanted.insert(node);
        dates.push((history.committed_at(node)?, node));
        for parent in history.parents(node)?.to_vec() {
            walk.push(history, parent)?;
        }
    }
    // Oldest last.
    dates.sort_unstable_by(|one, two| two.cmp(one));
    let mut looks_left = commits_max.saturating_sub(tips.len());
    while let Some((at, _, node)) = walk.queue.pop() {
        if wanted.contains(node) {
            reached.insert(node);
        }
        while dates.last().is_some_and(|(_, node)| reached.contains(*node)) {
            dates.pop();
        }
        // What is older reaches none of those left, unless clocks ran backwards: then they stay.
        if dates.last().is_none_or(|(oldest, _)| at < *oldest) || looks_left == 0 {
            break;
        }
        looks_left -= 1;
        for parent in history.parents(node)?.to_vec() {
            walk.push(history, parent)?;
        }
    }
    let is_reached =
        |tip: &&Tip| tip.is_commit(history) && tip.node.is_some_and(|node| reached.contains(node));
    Ok(tips.iter().filter(|tip| !is_reached(tip)).map(|tip| tip.id).collect())
}

/// Commits to look at, newest first; of equal date the greater id first, whatever was read before.
#[derive(Default)]
struct Walk {
    queue: BinaryHeap<(i64, ObjectId, Node)>,
    queued: NodeSet,
}

// === impl Walk ===

impl Walk {
    fn push(&mut self, history: &mut History, node: Node) -> Result<(), HistoryError> {
        if self.queued.insert(node) {
            self.queue.push((history.committed_at(node)?, history.id(node), node));
        }
        Ok(())
    }
}
