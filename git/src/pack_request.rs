//! What a pack must hold: the seam between a negotiation and whoever builds packs.
//!
//! Always true: names only objects, never refs, so that the same request means the same pack
//! whatever happens to the repository's refs meanwhile; canonical: lists are sorted and hold
//! nothing twice, so that two requests are equal if they have the same [`key::PackKey`].
//! Never here: which wants and haves could be left out (`upload_pack::packing`), and how the pack
//! is built, framed or delivered.

pub mod fingerprint;
pub mod key;
pub mod store;

pub use fingerprint::Parts;
pub use key::PackKey;
pub use store::ObjectStore;

use crate::ObjectId;
use crate::upload_pack::filter::Filter;

/// A ref below `refs/tags/` that names an annotated tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// The tag object.
    pub id: ObjectId,
    /// What it leads to in the end.
    pub peeled: ObjectId,
}

/// What a negotiation came to, lists in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Where all objects named here lie.
    pub store: ObjectStore,
    /// As [`PackRequest::wants`].
    pub wants: Vec<ObjectId>,
    /// As [`PackRequest::haves`].
    pub haves: Vec<ObjectId>,
    /// As [`PackRequest::edges`].
    pub edges: Vec<ObjectId>,
    /// As [`PackRequest::shallow`].
    pub shallow: Option<Vec<ObjectId>>,
    /// As [`PackRequest::filter`].
    pub filter: Option<Filter>,
    /// The filter names something that only git finds, maybe through a ref: no key.
    pub is_keyless: bool,
    /// As [`PackRequest::thin`].
    pub thin: bool,
    /// As [`PackRequest::ofs_delta`].
    pub ofs_delta: bool,
    /// As [`PackRequest::open_tags`].
    pub open_tags: Vec<Tag>,
}

/// Everything that decides which objects a pack holds and how they may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRequest {
    draft: Draft,
    key: Option<PackKey>,
}

// === impl PackRequest ===

impl PackRequest {
    /// Makes a draft canonical, and its key. Hashes 40 bytes an object: call it on a worker.
    pub fn new(mut draft: Draft) -> Self {
        let lists = [&mut draft.wants, &mut draft.haves, &mut draft.edges];
        for list in lists.into_iter().chain(&mut draft.shallow) {
            list.sort_unstable();
            list.dedup();
        }
        // git finds bases that the client has among the haves alone: without any, thin or not is
        // the same pack.
        draft.thin &= !(draft.haves.is_empty() && draft.edges.is_empty());
        draft.filter = draft.filter.map(|filter| filter.canonical());
        draft.open_tags.sort_unstable();
        draft.open_tags.dedup();
        draft.open_tags.retain(|tag| draft.wants.binary_search(&tag.id).is_err());
        let key = (!draft.is_keyless).then(|| PackKey::of(&draft));
        Self { draft, key }
    }

    /// What requests for the same pack have in common. `None`: the pack may not be shared.
    pub fn key(&self) -> Option<&PackKey> {
        self.key.as_ref()
    }

    /// Where all objects named here lie, and against which the pack is built.
    pub fn store(&self) -> &ObjectStore {
        &self.draft.store
    }

    /// Objects to send with all that they reach; unshallowed parents are among them, and the tags
    /// of `include-tag` that were found already. None at all: the client has what it asked for, and
    /// gets a pack without objects.
    pub fn wants(&self) -> &[ObjectId] {
        &self.draft.wants
    }

    /// Objects that the client has, with all that they reach.
    pub fn haves(&self) -> &[ObjectId] {
        &self.draft.haves
    }

    /// Old shallow boundary that the client keeps while its parents are sent: has the commit,
    /// not its parents.
    pub fn edges(&self) -> &[ObjectId] {
        &self.draft.edges
    }

    /// Commits to be treated as without parents: the client's boundary, old and new. `None`: the
    /// request has nothing shallow about it.
    pub fn shallow(&self) -> Option<&[ObjectId]> {
        self.draft.shallow.as_deref()
    }

    /// What is left out, in its canonical form; the repository allows it.
    pub fn filter(&self) -> Option<&Filter> {
        self.draft.filter.as_ref()
    }

    /// Deltas may refer to objects that the client has (`thin-pack`).
    pub fn thin(&self) -> bool {
        self.draft.thin
    }

    /// Deltas may name their base by offset (`ofs-delta`).
    pub fn ofs_delta(&self) -> bool {
        self.draft.ofs_delta
    }

    /// Tags that `include-tag` adds if their target turns out to be in the pack. Whoever builds
    /// the pack asks the desk which ([`crate::upload_pack::Question::Tags`]); to find out may
    /// take a walk through all of history, which whoever shares the pack is spared.
    pub fn open_tags(&self) -> &[Tag] {
        &self.draft.open_tags
    }

    /// What the request was made of, in canonical form.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }
}

impl Default for PackRequest {
    fn default() -> Self {
        Self::new(Draft::default())
    }
}
