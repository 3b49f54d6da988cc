//! From one object to another: through tags, to trees, to parents.
//!
//! Always true: an object that is answered by [`peel`] exists; a tag whose object is of another
//! type than it says leads nowhere, as in git.
//! Never here: names.

use super::{Budget, FoundCommit, Stop};
use crate::ObjectId;
use crate::objects::{Kind, Store, parse};

/// What `^{…}` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `^{commit}`
    Commit,
    /// `^{tree}`
    Tree,
    /// `^{tag}`
    Tag,
    /// `^{blob}`
    Blob,
    /// `^{object}`: any object that exists.
    Object,
    /// `^{}`: the first object that is no tag.
    NonTag,
}

/// What is next behind an object.
enum Next {
    /// It is what was wanted.
    Here,
    /// The object of a tag, or the tree of a commit, and of which kind it has to be.
    Behind(ObjectId, Kind),
}

/// The object that `target` asks for, from `id` on.
pub(super) fn peel(
    store: &Store,
    id: ObjectId,
    target: Target,
    budget: &mut Budget,
) -> Result<ObjectId, Stop> {
    let (mut id, mut expected) = (id, None);
    loop {
        budget.spend(1)?;
        let kind = store.kind(&id)?.ok_or(Stop::Missing)?;
        if expected.is_some_and(|expected| expected != kind) {
            return Err(Stop::Missing);
        }
        match target.next(store, &id, kind)? {
            Next::Here => return Ok(id),
            Next::Behind(next, kind) => (id, expected) = (next, Some(kind)),
        }
    }
}

/// The commit behind `id`, with its content.
pub(super) fn commit(
    store: &Store,
    id: ObjectId,
    budget: &mut Budget,
) -> Result<FoundCommit, Stop> {
    let id = match store.kind(&id)? {
        Some(Kind::Commit) => id,
        Some(Kind::Tag) => peel(store, id, Target::Commit, budget)?,
        Some(Kind::Tree | Kind::Blob) | None => return Err(Stop::Missing),
    };
    let object = store.read(&id)?.ok_or(Stop::Missing)?;
    // git knows no commit whose tree or parents it cannot read.
    parse::commit(&object.data).ok_or(Stop::Missing)?;
    Ok(FoundCommit { id, data: object.data })
}

/// A parent of a commit, counted from 0. It need not exist.
pub(super) fn parent(
    store: &Store,
    id: ObjectId,
    index: u32,
    budget: &mut Budget,
) -> Result<ObjectId, Stop> {
    budget.spend(1)?;
    let commit = store.commit(&id)?.ok_or(Stop::Missing)?;
    let parent = usize::try_from(index).ok().and_then(|index| commit.parents.get(index));
    parent.copied().ok_or(Stop::Missing)
}

// === impl Target ===

impl Target {
    /// Reads what stands behind `^{`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let all = [
            (&b"commit}"[..], Self::Commit),
            (b"tag}", Self::Tag),
            (b"tree}", Self::Tree),
            (b"blob}", Self::Blob),
            (b"object}", Self::Object),
            (b"}", Self::NonTag),
        ];
        all.into_iter().find(|(word, _)| text.starts_with(word)).map(|(_, target)| target)
    }

    fn next(self, store: &Store, id: &ObjectId, kind: Kind) -> Result<Next, Stop> {
        let is_here = match self {
            Self::Commit => kind == Kind::Commit,
            Self::Tree => kind == Kind::Tree,
            Self::Tag => kind == Kind::Tag,
            Self::Blob => kind == Kind::Blob,
            Self::Object => true,
            Self::NonTag => kind != Kind::Tag,
        };
        match kind {
            _ if is_here => Ok(Next::Here),
            Kind::Tag => {
                let tag = store.read(id)?.ok_or(Stop::Missing)?;
                let (target, kind) = parse::tag_link(&tag.data).ok_or(Stop::Missing)?;
                Ok(Next::Behind(target, kind))
            }
            Kind::Commit => {
                let commit = store.commit(id)?.ok_or(Stop::Missing)?;
                Ok(Next::Behind(commit.tree, Kind::Tree))
            }
            Kind::Tree | Kind::Blob => Err(Stop::Missing),
        }
    }
}
