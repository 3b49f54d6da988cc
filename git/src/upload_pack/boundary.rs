//! The boundary of a shallow client: what `deepen`, `deepen-since`, `deepen-not` and
//! `deepen-relative` make of it (gitprotocol-pack, "shallow-update").
//!
//! ```text
//!   want ── o ── o ── S ── o ── C ── o      S: new boundary (`shallow`)
//!                                           C: old boundary, inside the new one: `unshallow`
//! ```
//!
//! Always true: after [`draw`] the history walks as the client will see it.
//! Never here: the wire format beyond the two kinds of lines.

use std::collections::HashSet;

use gix_object::Kind;

use super::arguments::{DEPTH_INFINITE, Needs};
use super::desk::Refusal;
use super::walk::selected;
use crate::ObjectId;
use crate::history::{History, HistoryError, Node, NodeSet};
use crate::objects::Store;
use crate::pkt_line;

/// What changes for the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boundary {
    /// Commits that from now on have no parents for the client.
    pub shallow: Vec<ObjectId>,
    /// Commits that get their parents back.
    pub unshallow: Vec<ObjectId>,
}

/// What a boundary means for the pack.
#[derive(Debug, Default)]
pub struct Bounded {
    /// For the client; `None` where it did not ask for a depth.
    pub boundary: Option<Boundary>,
    /// Parents of unshallowed commits: to be sent like wants.
    pub more_wants: Vec<ObjectId>,
    /// Unshallowed commits: the client has them, not what they reach.
    pub edges: Vec<ObjectId>,
    /// Every commit without parents in this request; `None` where nothing is shallow.
    pub shallow: Option<Vec<ObjectId>>,
}

/// Commits inside and on the edge of a depth.
#[derive(Default)]
struct Selection {
    /// Within, their parents too.
    inside: NodeSet,
    /// Within, some parents not.
    edge: Vec<Node>,
}

// === impl Boundary ===

impl Boundary {
    /// Appends `shallow` and `unshallow` lines; like git's, without line feeds.
    pub fn push_lines(&self, out: &mut Vec<u8>) {
        for id in &self.shallow {
            pkt_line::push_text(out, format_args!("shallow {id}"));
        }
        for id in &self.unshallow {
            pkt_line::push_text(out, format_args!("unshallow {id}"));
        }
    }
}

/// Draws the boundary that `needs` asks for; `not` are its `deepen-not` refs, resolved.
pub(super) fn draw(
    history: &mut History,
    store: &Store,
    needs: &Needs,
    not: &[ObjectId],
) -> Result<Bounded, Refusal> {
    let clients = client_boundary(history, store, &needs.shallows)?;
    let wants = history.commits(&needs.wants)?;
    let selection = match (&needs.depth, needs.relative) {
        (depth, _) if depth.commits > 0 && depth.by_walk() => {
            return Err(Refusal::Quiet(
                "git upload-pack: deepen and deepen-since (or deepen-not) cannot be used together"
                    .into(),
            ));
        }
        (depth, _) if depth.commits == DEPTH_INFINITE => {
            let mut everything = Selection::default();
            clients.iter().for_each(|node| {
                everything.inside.insert(*node);
            });
            Some(everything)
        }
        (depth, true) if depth.commits > 0 => {
            Some(match depth_of_boundary(history, &wants, &clients)? {
                0 => Selection::default(),
                current => by_depth(history, &wants, current.saturating_add(depth.commits))?,
            })
        }
        (depth, false) if depth.commits > 0 => Some(by_depth(history, &wants, depth.commits)?),
        (depth, _) if depth.by_walk() => {
            let not = history.commits(not)?;
            Some(by_walk(history, &wants, &not, depth.since)?)
        }
        _ => None,
    };
    settle(history, &clients, selection).map_err(Refusal::from)
}

/// Turns a selection into lines for the client and work for the pack; cuts the history.
fn settle(
    history: &mut History,
    clients: &[Node],
    selection: Option<Selection>,
) -> Result<Bounded, HistoryError> {
    let mut bounded = Bounded::default();
    let mut shallow = Vec::new();
    if let Some(selection) = selection {
        let had: HashSet<Node> = clients.iter().copied().collect();
        let mut boundary = Boundary::default();
        for node in selection.edge {
            if !had.contains(&node) && !selection.inside.contains(node) {
                boundary.shallow.push(history.id(node));
                shallow.push(history.id(node));
                history.make_shallow(node);
            }
        }
        for node in clients.iter().filter(|node| selection.inside.contains(**node)) {
            boundary.unshallow.push(history.id(*node));
            bounded.edges.push(history.id(*node));
            for parent in history.real_parents(*node)?.to_vec() {
                bounded.more_wants.push(history.id(parent));
            }
        }
        bounded.boundary = Some(boundary);
    }
    for node in clients {
        // Also those that were unshallowed: what they reach comes by way of `more_wants`.
        history.make_shallow(*node);
        shallow.push(history.id(*node));
    }
    bounded.shallow = (!shallow.is_empty()).then_some(shallow);
    Ok(bounded)
}

/// The client's boundary, without what we do not have.
fn client_boundary(
    history: &mut History,
    store: &Store,
    ids: &[ObjectId],
) -> Result<Vec<Node>, Refusal> {
    let (mut seen, mut found) = (NodeSet::default(), Vec::new());
    for id in ids {
        match store.header(id)? {
            None => continue,
            Some(header) if header.kind != Kind::Commit => {
                return Err(Refusal::Quiet(format!("invalid shallow object {id}")));
            }
            Some(_) => {}
        }
        if let Some(node) = history.commit(id)?
            && seen.insert(node)
        {
            found.push(node);
        }
    }
    Ok(found)
}

/// Commits fewer than `depth` steps from a want are inside; those at `depth` are the edge.
fn by_depth(history: &mut History, wants: &[Node], depth: u32) -> Result<Selection, HistoryError> {
    let (mut seen, mut level) = (NodeSet::default(), Vec::new());
    let mut selection = Selection::default();
    for want in wants {
        if seen.insert(*want) {
            level.push(*want);
        }
    }
    let mut at = 1;
    while at < depth && !level.is_empty() {
        let mut next = Vec::new();
        for node in level {
            selection.inside.insert(node);
            for parent in history.parents(node)?.to_vec() {
                if seen.insert(parent) {
                    next.push(parent);
                }
            }
        }
        level = next;
        at += 1;
    }
    selection.edge = level;
    Ok(selection)
}

/// Steps from the nearest want to the nearest commit of the client's boundary, the want itself
/// being 1; 0 where no want reaches it.
fn depth_of_boundary(
    history: &mut History,
    wants: &[Node],
    clients: &[Node],
) -> Result<u32, HistoryError> {
    let clients: HashSet<Node> = clients.iter().copied().collect();
    let (mut seen, mut depth) = (NodeSet::default(), 1);
    let mut level: Vec<Node> = wants.iter().copied().filter(|want| seen.insert(*want)).collect();
    while !level.is_empty() && !clients.is_empty() {
        if level.iter().any(|node| clients.contains(node)) {
            return Ok(depth);
        }
        let mut next = Vec::new();
        for node in level {
            for parent in history.parents(node)?.to_vec() {
                if seen.insert(parent) {
                    next.push(parent);
                }
            }
        }
        level = next;
        depth += 1;
    }
    Ok(0)
}

/// Commits that `since` and `not` leave are inside, unless one of their parents is left out.
fn by_walk(
    history: &mut History,
    wants: &[Node],
    not: &[Node],
    since: Option<i64>,
) -> Result<Selection, Refusal> {
    let chosen = selected(history, wants, not, since)?;
    if chosen.is_empty() {
        return Err(Refusal::Quiet("no commits selected for shallow requests".into()));
    }
    let mut selection = Selection::default();
    let mut within = NodeSet::default();
    for node in &chosen {
        within.insert(*node);
    }
    for node in chosen {
        if history.parents(node)?.iter().all(|parent| within.contains(*parent)) {
            selection.inside.insert(node);
        } else {
            selection.edge.push(node);
        }
    }
    Ok(selection)
}
