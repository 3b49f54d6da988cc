//! `include-tag`: annotated tags of what a pack sends go along with it (gitprotocol-pack).
//!
//! Always true: the tags come from the request's snapshot, under its hide rules, and are told to
//! every builder as objects. A broken tag is left out, it spoils nothing.
//! Never here: tags that the client asks for itself; they are wants.

mod candidates;
mod contents;

pub use candidates::{Candidates, Commits};

use std::collections::HashSet;

use gix_object::Kind;

use super::filter::Filter;
use super::walk::selected;
use crate::ObjectId;
use crate::history::{History, HistoryError, Node, NodeSet};
pub use crate::pack_request::Tag;

/// What a pack is about to hold.
#[derive(Debug)]
pub struct Sent<'a> {
    /// Objects to send with all that they reach.
    pub wants: &'a [ObjectId],
    /// Objects that the client has.
    pub haves: &'a [ObjectId],
    /// Objects left out.
    pub filter: Option<&'a Filter>,
}

/// What tags lead to, by how it is found in a pack.
#[derive(Default)]
struct Targets {
    commits: Vec<(Node, ObjectId)>,
    /// Trees and blobs.
    contents: Vec<Tag>,
}

/// The tags among `candidates` whose target will be in the pack, and which the client does not
/// ask for anyway.
pub fn included(
    history: &mut History,
    candidates: &[Tag],
    sent: &Sent<'_>,
) -> Result<Vec<ObjectId>, HistoryError> {
    let mut targets = targets(history, candidates, sent)?;
    let wants = history.commits(sent.wants)?;
    let haves = history.commits(sent.haves)?;
    if sent.filter.is_some_and(leaves_out_commits) {
        // Whatever a filter says, wants themselves are sent.
        targets.commits.retain(|(target, _)| wants.contains(target));
    }
    let mut found = Vec::new();
    if !targets.contents.is_empty() {
        let commits = selected(history, &wants, &haves, None)?;
        let ids = targets.contents.iter().map(|tag| tag.peeled).collect();
        let held = contents::held(history, &commits, ids)?;
        let tags = targets.contents.iter().filter(|tag| held.contains(&tag.peeled));
        found.extend(tags.map(|tag| tag.id));
    }
    if !targets.commits.is_empty() {
        let reached: NodeSet = if haves.is_empty() {
            let commits = targets.commits.iter().map(|(target, _)| *target).collect();
            reached_until(history, &wants, commits)?
        } else {
            selected(history, &wants, &haves, None)?.into_iter().collect()
        };
        let tags = targets.commits.iter().filter(|(target, _)| reached.contains(*target));
        found.extend(tags.map(|(_, tag)| *tag));
    }
    let mut included = Vec::with_capacity(found.len());
    for tag in found {
        if history.store().contains(&tag)? {
            included.push(tag);
        }
    }
    Ok(included)
}

/// Targets that can be in the pack at all.
fn targets(
    history: &mut History,
    candidates: &[Tag],
    sent: &Sent<'_>,
) -> Result<Targets, HistoryError> {
    let wanted: HashSet<&ObjectId> = sent.wants.iter().collect();
    let mut targets = Targets::default();
    for tag in candidates.iter().filter(|tag| !wanted.contains(&tag.id)) {
        let Some(header) = history.store().header(&tag.peeled)? else { continue };
        match header.kind {
            Kind::Commit => {
                if let Some(target) = history.commit(&tag.peeled)? {
                    targets.commits.push((target, tag.id));
                }
            }
            Kind::Tree | Kind::Blob
                if sent
                    .filter
                    .is_none_or(|filter| lets_through(filter, header.kind, header.size_bytes)) =>
            {
                targets.contents.push(*tag);
            }
            Kind::Tree | Kind::Blob | Kind::Tag => {}
        }
    }
    Ok(targets)
}

/// What `tips` reach, until all of `targets` were met.
fn reached_until(
    history: &mut History,
    tips: &[Node],
    mut targets: HashSet<Node>,
) -> Result<NodeSet, HistoryError> {
    let (mut seen, mut stack) = (NodeSet::default(), tips.to_vec());
    while let Some(node) = stack.pop() {
        if !seen.insert(node) {
            continue;
        }
        if targets.remove(&node) && targets.is_empty() {
            break;
        }
        stack.extend_from_slice(history.parents(node)?);
    }
    Ok(seen)
}

/// Whether no commit gets through `filter`.
fn leaves_out_commits(filter: &Filter) -> bool {
    let stops = |part: &Filter| matches!(part, Filter::ObjectType(kind) if *kind != Kind::Commit);
    filter.parts().into_iter().any(stops)
}

/// Whether a tree or blob gets through wherever it lies. Filters that go by its place, and
/// combined ones, are taken to stop it: their clients fetch tags of trees and blobs by name.
fn lets_through(filter: &Filter, kind: Kind, size_bytes: u64) -> bool {
    match filter {
        Filter::BlobNone => kind == Kind::Tree,
        Filter::BlobLimit(bytes) => kind == Kind::Tree || size_bytes < *bytes,
        Filter::ObjectType(wanted) => kind == *wanted,
        Filter::TreeDepth(_) | Filter::SparseOid(_) | Filter::Combine(_) => false,
    }
}
