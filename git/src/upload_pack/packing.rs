//! From a negotiation to a pack request in its canonical form.
//!
//! ```text
//!   wants, common haves ──[reduce]──> wants, edge of what is sent ─┐
//!   include-tag ──────────[tags]────> tags found, tags left open ──┼──> PackRequest, key
//!   filter ───────────────[sparse]──> filter without names ────────┤
//!   where all of it lies ─[stores]──> pool, or own ────────────────┘
//! ```
//!
//! Always true: what is left out of the request changes nothing for any client that has what the
//! request says it has; the form follows from the request, the tags that the client may see and
//! immutable objects alone; at most `commits_max` commits, [`COMMITS_MAX`] in service, are looked at in each of
//! three walks.
//! Never here: building packs.

mod reduce;
mod sparse;
mod stores;
#[cfg(test)]
mod tests;

use super::arguments::Needs;
use super::boundary::Bounded;
use super::desk::Refusal;
use super::refs::View;
use super::tags::{self, Candidates};
use super::walk::selected_within;
use crate::ObjectId;
use crate::history::{History, HistoryError, Node};
use crate::pack_request::{Draft, PackRequest};
use crate::repository::Snapshot;

/// Commits that one walk may look at: 1 to 8 ms without a commit-graph.
pub(super) const COMMITS_MAX: usize = 1_000;

/// What client and server agreed on.
pub(super) struct Agreed<'a> {
    pub(super) needs: &'a Needs,
    pub(super) bounded: &'a Bounded,
    /// Everything of the client's that we have, too, in any order.
    pub(super) haves: Vec<ObjectId>,
    /// Commits that one walk may look at.
    pub(super) commits_max: usize,
}

/// An object that is wanted or had, and the commit that it is or, as a tag, leads to.
#[derive(Debug, Clone, Copy)]
struct Tip {
    id: ObjectId,
    node: Option<Node>,
}

/// The commits that are sent, as far as is known.
struct Sent {
    wants: Vec<Tip>,
    haves: Vec<Tip>,
    /// `None`: more than a short walk can tell.
    commits: Option<Vec<Node>>,
}

/// The pack that was agreed on.
pub(super) fn request(
    history: &mut History,
    snapshot: &Snapshot,
    view: View<'_>,
    agreed: Agreed<'_>,
) -> Result<PackRequest, Refusal> {
    let Agreed { needs, bounded, haves, commits_max } = agreed;
    let (filter, is_keyless) = match &needs.filter {
        None => (None, false),
        Some(filter) => {
            let settled = sparse::settled(filter.canonical(), snapshot)?;
            (Some(settled.filter), settled.is_open)
        }
    };
    let mut draft = Draft {
        wants: sorted([&needs.wants[..], &bounded.more_wants].concat()),
        haves: sorted(haves),
        edges: bounded.edges.clone(),
        shallow: bounded.shallow.clone(),
        filter,
        is_keyless,
        thin: needs.thin,
        ofs_delta: needs.ofs_delta,
        ..Draft::default()
    };
    let candidates = Candidates::of(view, needs.include_tag)?;
    let open: Vec<_> = candidates.beside(&draft.wants).collect();
    let is_plain = needs.filter.is_none()
        && needs.shallows.is_empty()
        && !needs.depth.any()
        && draft.shallow.is_none();
    let mut sent = None;
    if !open.is_empty() || (is_plain && !draft.haves.is_empty()) {
        sent = Some(Sent::of(history, &draft, &candidates, commits_max)?);
    }
    if is_plain {
        reduce::reduce(history, &mut draft, sent.as_ref(), &candidates, commits_max)?;
    }
    match sent.and_then(|sent| Some((sent.wants, sent.commits?))) {
        Some((wants, commits)) if !open.is_empty() => {
            let wants: Vec<Node> = wants.iter().filter_map(|tip| tip.node).collect();
            let sent = tags::Commits { sent: &commits, wants: &wants };
            let found = candidates.sent(history, &open, &sent, draft.filter.as_ref())?;
            if is_plain {
                // Implied by its tag, as if the client had asked for both.
                let is_tagged = |id: &ObjectId| found.tags.iter().any(|tag| tag.peeled == *id);
                draft.wants.retain(|id| !is_tagged(id));
            }
            draft.wants.extend(found.tags.iter().map(|tag| tag.id));
            draft.open_tags = found.open;
        }
        Some(_) | None => draft.open_tags = open,
    }
    draft.store = stores::holding(snapshot, &draft)?;
    Ok(PackRequest::new(draft))
}

/// The open tags of `request` that go along; `history` is fresh.
pub(super) fn open_tags(
    history: &mut History,
    request: &PackRequest,
) -> Result<Vec<ObjectId>, HistoryError> {
    for node in history.commits(request.shallow().unwrap_or_default())? {
        history.make_shallow(node);
    }
    let kept = [request.haves(), request.edges()].concat();
    let sent = tags::Sent { wants: request.wants(), haves: &kept, filter: request.filter() };
    tags::included(history, request.open_tags(), &sent)
}

fn sorted(mut ids: Vec<ObjectId>) -> Vec<ObjectId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

// === impl Tip ===

impl Tip {
    fn of(
        history: &mut History,
        ids: &[ObjectId],
        candidates: &Candidates,
    ) -> Result<Vec<Self>, HistoryError> {
        let tip = |id: &ObjectId| {
            // Spares reading the tags that the snapshot has peeled already.
            let at = candidates.peeled(id).unwrap_or(*id);
            Ok(Self { id: *id, node: history.commit(&at)? })
        };
        ids.iter().map(tip).collect()
    }

    fn is_commit(&self, history: &History) -> bool {
        self.node.is_some_and(|node| history.id(node) == self.id)
    }
}

// === impl Sent ===

impl Sent {
    fn of(
        history: &mut History,
        draft: &Draft,
        candidates: &Candidates,
        commits_max: usize,
    ) -> Result<Self, HistoryError> {
        let unknown = Self { wants: Vec::new(), haves: Vec::new(), commits: None };
        let ids = draft.wants.len() + draft.haves.len() + draft.edges.len();
        if ids > commits_max {
            return Ok(unknown);
        }
        let mut walk = || {
            let wants = Tip::of(history, &draft.wants, candidates)?;
            let haves = Tip::of(history, &draft.haves, candidates)?;
            let edges = Tip::of(history, &draft.edges, candidates)?;
            let nodes = |tips: &[Tip]| tips.iter().filter_map(|tip| tip.node).collect::<Vec<_>>();
            let kept = [nodes(&haves), nodes(&edges)].concat();
            let commits = selected_within(history, &nodes(&wants), &kept, commits_max)?;
            Ok(Self { wants, haves, commits })
        };
        match walk() {
            // Whoever builds the pack meets the hole, or does not come by it.
            Err(HistoryError::Missing(_)) => Ok(unknown),
            walked => walked,
        }
    }
}
