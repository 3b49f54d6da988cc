//! Lists of refs as `git for-each-ref` makes them: patterns, what they point at, sorting.
//!
//! Always true: broken refs are left out, as git leaves them out with a warning.
//! Never here: formats of output, hiding, namespaces.

mod dates;
mod patterns;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use bstr::{BStr, BString, ByteSlice};

use crate::ObjectId;
use crate::objects::{Store, StoreError, parse};
use crate::refs::{Head, Ref};
use crate::repository::Snapshot;
use crate::revision::{Budget, Resolved, Revision};

pub use dates::DateOf;
pub use patterns::Patterns;

/// Branches that GitLab takes for the default one where HEAD names none that exists.
const DEFAULT_BRANCHES: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// Objects that are read for one list. At 8 µs each this is 40 ms, for which one worker may be held
/// up; git starts in far less.
const READS_MAX: usize = 5_000;
/// Objects that are only looked up for one list: 1 µs each.
const LOOKUPS_MAX: usize = 20_000;

/// By what a list is sorted; refs that are equal in it by their names, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Key {
    /// The full name.
    #[default]
    Name,
    /// A date; zero where the object has none.
    Date(DateOf),
}

/// What is listed and how.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Names.
    pub patterns: Patterns,
    /// If any are given: objects at which a ref must point, itself or by an annotated tag. Sorted.
    pub points_at: Vec<ObjectId>,
    /// The order.
    pub key: Key,
    /// The highest first.
    pub is_descending: bool,
    /// The objects of the refs have to exist.
    pub needs_objects: bool,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A ref whose object is needed, and not there.
    #[error("missing object {id} for {name}")]
    MissingObject {
        /// The object.
        id: ObjectId,
        /// The full name of the ref.
        name: BString,
    },
    /// It would take a worker too long. Git can do it.
    #[error("too much is compared or read for one list")]
    TooMuch,
    /// A store that cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The refs that `query` asks for.
///
/// # Errors
/// A store that cannot be read, or an object that is missing, where objects have to be read; a list
/// that takes too long.
pub fn list<'a>(snapshot: &'a Snapshot, query: &Query) -> Result<Vec<&'a Ref>, ListError> {
    let mut found = query.patterns.of(snapshot).ok_or(ListError::TooMuch)?.collect::<Vec<_>>();
    let mut reads_left = READS_MAX;
    if !query.points_at.is_empty() {
        let tags = found.iter().filter(|one| one.peeled.is_some()).count();
        afford(&mut reads_left, tags)?;
        let pointing = found.into_iter().filter_map(|one| {
            let points_at = points_at(&snapshot.store, one, &query.points_at);
            points_at.map(|points_at| points_at.then_some(one)).transpose()
        });
        found = pointing.collect::<Result<_, ListError>>()?;
    }
    if matches!(query.key, Key::Date(_)) {
        afford(&mut reads_left, found.len())?;
    }
    if query.needs_objects {
        check_objects(&snapshot.store, &found)?;
    }
    match query.key {
        Key::Name if query.is_descending => found.reverse(),
        Key::Name => {}
        Key::Date(date) => {
            let dated = |one: &'a Ref| Ok((date.read(&snapshot.store, one)?, one));
            let mut dated = found.into_iter().map(dated).collect::<Result<Vec<_>, ListError>>()?;
            // Stable: the names stay in order.
            match query.is_descending {
                true => dated.sort_by_key(|(date, _)| Reverse(*date)),
                false => dated.sort_by_key(|(date, _)| *date),
            }
            found = dated.into_iter().map(|(_, one)| one).collect();
        }
    }
    Ok(found)
}

fn afford(left: &mut usize, reads: usize) -> Result<(), ListError> {
    *left = left.checked_sub(reads).ok_or(ListError::TooMuch)?;
    Ok(())
}

fn check_objects(store: &Store, refs: &[&Ref]) -> Result<(), ListError> {
    if refs.len() > LOOKUPS_MAX {
        return Err(ListError::TooMuch);
    }
    for one in refs {
        if !store.contains(&one.target)? {
            return Err(ListError::MissingObject { id: one.target, name: one.name.clone() });
        }
    }
    Ok(())
}

/// What `git symbolic-ref HEAD` prints, whether that ref exists or not. None if HEAD is detached,
/// cannot be read, or leads out of `refs/`, where git sees no repository.
pub fn head_reference(snapshot: &Snapshot) -> Option<&BStr> {
    match &snapshot.head {
        Head::Symbolic { target, .. } => Some(target.as_bstr()).filter(|t| t.starts_with(b"refs/")),
        Head::Detached(_) | Head::Missing => None,
    }
}

/// The branch that GitLab takes for the default one: what HEAD names, `main`, `master`, if it
/// exists, else the first branch.
///
/// # Errors
/// A store that cannot be read.
pub fn default_branch(snapshot: &Snapshot, head: &BStr) -> Result<Resolved<BString>, StoreError> {
    let mut budget = Budget::default();
    for name in std::iter::once(head).chain(DEFAULT_BRANCHES.map(BStr::new)) {
        match Revision::parse(name).resolve(snapshot, &mut budget)? {
            Resolved::Found(_) => return Ok(Resolved::Found(name.to_owned())),
            Resolved::Missing => {}
            Resolved::Unsupported => return Ok(Resolved::Unsupported),
        }
    }
    let mut branches = snapshot.with_prefix(b"refs/heads/").iter();
    let first = branches.find(|branch| !branch.is_broken());
    Ok(first.map_or(Resolved::Missing, |branch| Resolved::Found(branch.name.clone())))
}

fn points_at(store: &Store, one: &Ref, wanted: &[ObjectId]) -> Result<bool, ListError> {
    if wanted.binary_search(&one.target).is_ok() {
        return Ok(true);
    }
    let Some(peeled) = &one.peeled else { return Ok(false) };
    if wanted.binary_search(peeled).is_ok() {
        // What the tag itself points at may be another tag, which does not count.
        let missing = || ListError::MissingObject { id: one.target, name: one.name.clone() };
        let tag = store.read(&one.target)?.ok_or_else(missing)?;
        return Ok(parse::tag_link(&tag.data).is_some_and(|(target, _)| target == *peeled));
    }
    // Of a tag around a tag the inner one may be meant.
    let tag = store.read(&one.target)?;
    let target = tag.and_then(|tag| parse::tag_link(&tag.data)).map(|(target, _)| target);
    Ok(target.is_some_and(|target| wanted.binary_search(&target).is_ok()))
}
