//! The annotated tags that a client may see, and which of them go along with few commits.
//!
//! Always true: the lists follow from the snapshot and its hide rules, and are kept with it;
//! finding tags here takes no walk.
//! Never here: the commits that are sent.

use std::collections::HashSet;

use bytes::Bytes;
use gix_object::Kind;

use super::{Tag, contents, leaves_out_commits, lets_through};
use crate::ObjectId;
use crate::history::{History, HistoryError, Node};
use crate::objects::StoreError;
use crate::pack_request::key::tags_bytes;
use crate::upload_pack::filter::Filter;
use crate::upload_pack::refs::View;

const ID_BYTES: usize = 20;
const PAIR_BYTES: usize = 2 * ID_BYTES;

/// Pairs of tag and target, sorted.
#[derive(Debug, Default)]
pub struct Candidates {
    all: Bytes,
    /// Those that lead to trees and blobs.
    contents: Bytes,
}

/// What is sent.
#[derive(Debug)]
pub struct Commits<'a> {
    /// Every commit.
    pub sent: &'a [Node],
    /// The commits that wants are or lead to.
    pub wants: &'a [Node],
}

/// Tags that go along, and those of which a closer look has to tell.
#[derive(Debug, Default)]
pub struct Found {
    /// They go along.
    pub tags: Vec<Tag>,
    /// They may.
    pub open: Vec<Tag>,
}

// === impl Candidates ===

impl Candidates {
    /// The tags in `view`; none unless `is_asked`.
    pub(in crate::upload_pack) fn of(view: View<'_>, is_asked: bool) -> Result<Self, StoreError> {
        if !is_asked {
            return Ok(Self::default());
        }
        let all = view.kept(b't', || {
            let mut tags = view.tags();
            tags.sort_unstable();
            tags.dedup();
            Ok::<_, StoreError>(tags_bytes(&tags))
        })?;
        let contents = view.kept(b'c', || {
            let mut found = Vec::new();
            for tag in pairs(&all) {
                if matches!(view.store().kind(&tag.peeled)?, Some(Kind::Tree | Kind::Blob)) {
                    found.push(tag);
                }
            }
            Ok::<_, StoreError>(tags_bytes(&found))
        })?;
        Ok(Self { all, contents })
    }

    /// Those that are not wanted anyway; `wants` are sorted.
    pub fn beside<'a>(&'a self, wants: &'a [ObjectId]) -> impl Iterator<Item = Tag> + 'a {
        pairs(&self.all).filter(|tag| wants.binary_search(&tag.id).is_err())
    }

    /// What a tag leads to, if it is one of these.
    pub fn peeled(&self, tag: &ObjectId) -> Option<ObjectId> {
        find(&self.all, tag)
    }

    /// Which of `open` go along with these commits.
    pub fn sent(
        &self,
        history: &mut History,
        open: &[Tag],
        commits: &Commits<'_>,
        filter: Option<&Filter>,
    ) -> Result<Found, HistoryError> {
        let mut targets: HashSet<ObjectId> =
            commits.sent.iter().map(|node| history.id(*node)).collect();
        if filter.is_some_and(leaves_out_commits) {
            // Whatever a filter says, wants themselves are sent.
            let wants: HashSet<ObjectId> =
                commits.wants.iter().map(|node| history.id(*node)).collect();
            targets.retain(|id| wants.contains(id));
        }
        let mut found = Found::default();
        for tag in open.iter().filter(|tag| targets.contains(&tag.peeled)) {
            if history.store().contains(&tag.id)? {
                found.tags.push(*tag);
            }
        }
        if commits.sent.is_empty() || self.contents.is_empty() {
            return Ok(found);
        }
        let is_content = |tag: &&Tag| find(&self.contents, &tag.id).is_some();
        for tag in open.iter().filter(is_content) {
            let Some(header) = history.store().header(&tag.peeled)? else { continue };
            if filter.is_none_or(|filter| lets_through(filter, header.kind, header.size_bytes)) {
                found.open.push(*tag);
            }
        }
        let wanted = found.open.iter().map(|tag| tag.peeled).collect();
        if !found.open.is_empty() && !contents::may_bring(history, commits.sent, &wanted)? {
            found.open.clear();
        }
        Ok(found)
    }
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = Tag> {
    let id = |bytes: &[u8]| ObjectId::from_bytes_or_panic(bytes);
    let pair = move |pair: &[u8]| Tag { id: id(&pair[..ID_BYTES]), peeled: id(&pair[ID_BYTES..]) };
    bytes.chunks_exact(PAIR_BYTES).map(pair)
}

/// The target of a tag in a sorted list.
fn find(bytes: &[u8], tag: &ObjectId) -> Option<ObjectId> {
    let pair = |at: usize| &bytes[at * PAIR_BYTES..(at + 1) * PAIR_BYTES];
    let (mut low, mut high) = (0, bytes.len() / PAIR_BYTES);
    while low < high {
        let middle = low.midpoint(high);
        if &pair(middle)[..ID_BYTES] < tag.as_slice() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let found = (low < bytes.len() / PAIR_BYTES).then(|| pair(low))?;
    (found[..ID_BYTES] == *tag.as_slice())
        .then(|| ObjectId::from_bytes_or_panic(&found[ID_BYTES..]))
}
