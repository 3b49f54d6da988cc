//! What a pack must hold: the seam between a negotiation and whoever builds packs.
//!
//! Always true: names only objects, never refs, so that the same request means the same pack
//! whatever happens to the repository's refs meanwhile.
//! Never here: how the pack is built, framed or delivered.

use crate::ObjectId;

/// Everything that decides which objects a pack holds and how they may be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackRequest {
    /// Objects to send with all that they reach; unshallowed parents are among them.
    pub wants: Vec<ObjectId>,
    /// Annotated tags that `include-tag` adds, resolved from the request's own snapshot.
    pub tags: Vec<ObjectId>,
    /// Objects that the client has, with all that they reach.
    pub haves: Vec<ObjectId>,
    /// Old shallow boundary that the client keeps while its parents are sent: has the commit,
    /// not its parents.
    pub edges: Vec<ObjectId>,
    /// Commits to be treated as without parents: the client's boundary, old and new. `None`: the
    /// request has nothing shallow about it.
    pub shallow: Option<Vec<ObjectId>>,
    /// The `filter` argument in git's long form, checked against what the repository allows.
    pub filter: Option<String>,
    /// Deltas may refer to objects that the client has (`thin-pack`).
    pub thin: bool,
    /// Deltas may name their base by offset (`ofs-delta`).
    pub ofs_delta: bool,
}
