//! Fetches that were answered before: a herd asks one question many times.
//!
//! Always true: an answer is kept only if it follows from the snapshot and the question alone; so
//! not that of a desk which has heard other commands, and no refusal. Objects that come or go
//! without any ref or pack that changes leave it as it is: a have that was unknown makes a pack
//! larger, never wrong.
//! Never here: how an answer is found.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::question::FetchAnswer;
use super::refs::View;
use super::v2::Fetch;
use crate::repository::memo::Memo;

/// Objects named in a question whose answer is kept: to make the key of more costs as much as a
/// visit to a worker.
const IDS_MAX: usize = 10_000;
/// What an answer takes beside its lists.
const ANSWER_BYTES: usize = 1_024;

/// A question's bytes, to be hashed as a whole.
#[derive(Default)]
struct Canonical(Vec<u8>);

/// What the answer to `fetch` is kept under; `None` if it is not worth it.
pub(super) fn key(view: &View<'_>, fetch: &Fetch) -> Option<Vec<u8>> {
    let needs = &fetch.needs;
    if needs.wants.len() + needs.shallows.len() + fetch.haves.len() > IDS_MAX {
        return None;
    }
    let mut bytes = Canonical(view.key(b'f'));
    needs.wants.hash(&mut bytes);
    needs.want_refs.hash(&mut bytes);
    needs.shallows.hash(&mut bytes);
    needs.depth.hash(&mut bytes);
    needs.filter.hash(&mut bytes);
    // Progress is no part of the answer.
    let flags = [needs.relative, needs.thin, needs.ofs_delta, needs.include_tag];
    (flags, fetch.done, fetch.wait_for_done).hash(&mut bytes);
    fetch.haves.hash(&mut bytes);
    Some(blake3::hash(&bytes.0).as_bytes().to_vec())
}

/// The answer that was kept under `key`.
pub(super) fn recall(memo: &Memo, key: &[u8]) -> Option<FetchAnswer> {
    memo.value(key)?.downcast_ref::<FetchAnswer>().cloned()
}

/// Keeps an answer, if there is room.
pub(super) fn remember(memo: &Memo, key: Vec<u8>, answer: &FetchAnswer) {
    let pack_bytes = answer.pack.as_ref().map_or(0, |pack| {
        let ids = pack.wants().len() + pack.haves().len() + pack.edges().len();
        (ids + pack.shallow().map_or(0, <[_]>::len)) * 20 + pack.open_tags().len() * 40
    });
    let boundary_bytes = answer
        .boundary
        .as_ref()
        .map_or(0, |boundary| (boundary.shallow.len() + boundary.unshallow.len()) * 20);
    let common = answer.acknowledgments.as_ref().map_or(0, |acks| acks.common.len());
    let refs_bytes: usize = answer.wanted_refs.iter().map(|(_, name)| 64 + name.len()).sum();
    let bytes = ANSWER_BYTES + pack_bytes + boundary_bytes + common * 20 + refs_bytes;
    memo.keep_value(key, Arc::new(answer.clone()), bytes);
}

impl Hasher for Canonical {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Nobody asks: the bytes themselves are taken.
    fn finish(&self) -> u64 {
        0
    }
}
