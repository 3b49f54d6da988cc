//! Whether one commit is reached from another: what `receive.denyNonFastForwards` asks
//! (`in_merge_bases` of git).
//!
//! ```text
//!   old ── o ── o ── new      both are painted downwards, newest first, until
//!      └─── o                 `old` is met from `new`, or all that is left has both colours
//! ```
//!
//! Always true: exact, also where clocks run backwards: a commit between `new` and `old` can never
//! have the colour of `old`, so the walk does not end before it was looked at.
//! Never here: more than two commits.

use std::collections::{BinaryHeap, HashMap};

use crate::history::{History, HistoryError, Node};

const NEW: u8 = 1;
const OLD: u8 = 2;

/// Whether `old` is `new` or an ancestor of it.
///
/// # Errors
/// A commit on the way is missing, or nobody waits any more.
pub fn is_ancestor(history: &mut History, old: Node, new: Node) -> Result<bool, HistoryError> {
    let mut colours: HashMap<Node, u8> = HashMap::new();
    let mut queue = BinaryHeap::new();
    // Commits in the queue that do not have both colours.
    let mut open = 0_usize;
    for (node, colour) in [(new, NEW), (old, OLD)] {
        *colours.entry(node).or_default() |= colour;
        queue.push((history.committed_at(node)?, node, colours[&node]));
        open += usize::from(colours[&node] != NEW | OLD);
    }
    while let Some((_, node, queued_as)) = queue.pop() {
        open -= usize::from(queued_as != NEW | OLD);
        let colour = colours[&node];
        if colours[&old] == NEW | OLD {
            return Ok(true);
        }
        for parent in history.parents(node)?.to_vec() {
            let known = colours.entry(parent).or_default();
            if *known | colour == *known {
                continue;
            }
            *known |= colour;
            let queued_as = *known;
            open += usize::from(queued_as != NEW | OLD);
            queue.push((history.committed_at(parent)?, parent, queued_as));
        }
        if open == 0 {
            break;
        }
    }
    Ok(colours[&old] == NEW | OLD)
}
