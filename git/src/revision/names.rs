//! What the name at the beginning of a revision stands for: an id, a ref, what `git describe`
//! printed, an abbreviated id; in this order.
//!
//! Always true: refs are looked for in git's order (gitrevisions(7), "<refname>"), the first one
//! counts.
//! Never here: suffixes.

use bstr::{BStr, BString, ByteSlice};

use super::peel::{self, Target};
use super::{Budget, Stop};
use crate::ObjectId;
use crate::objects::{Kind, Prefix, Store};
use crate::refs::{Head, is_valid_name};
use crate::repository::Snapshot;

/// Objects with the same first digits that are told apart; git does it for more.
const CANDIDATES_MAX: usize = 4_096;

/// What an abbreviated id has to name if several objects begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Commit,
    /// A commit, or a tag of one.
    Committish,
    /// A tree, a commit, or a tag of one of them.
    Treeish,
}

/// The object of `name`.
pub(super) fn resolve(
    snapshot: &Snapshot,
    name: &BStr,
    hint: Option<Hint>,
    budget: &mut Budget,
) -> Result<ObjectId, Stop> {
    if let Ok(id) = ObjectId::from_hex(name)
        && id.kind() == gix_hash::Kind::Sha1
    {
        return Ok(id);
    }
    if let Some(id) = reference(snapshot, name)? {
        return Ok(id);
    }
    if let Some(digits) = described(name) {
        match abbreviated(snapshot, digits, Some(Hint::Commit), budget) {
            Err(Stop::Missing) => {}
            found => return found,
        }
    }
    abbreviated(snapshot, name, hint, budget)
}

/// The object of the ref that git would take for `name`.
fn reference(snapshot: &Snapshot, name: &BStr) -> Result<Option<ObjectId>, Stop> {
    let name = if name == "@" { BStr::new("HEAD") } else { name };
    if !is_valid_name(name) {
        return Ok(None);
    }
    if let Some(id) = as_it_stands(snapshot, name)? {
        return Ok(Some(id));
    }
    let rules = [
        ("refs/", ""),
        ("refs/tags/", ""),
        ("refs/heads/", ""),
        ("refs/remotes/", ""),
        ("refs/remotes/", "/HEAD"),
    ];
    let mut full = BString::default();
    for (before, after) in rules {
        full.clear();
        full.extend_from_slice(before.as_bytes());
        full.extend_from_slice(name);
        full.extend_from_slice(after.as_bytes());
        if let Some(id) = listed(snapshot, full.as_bstr())? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// A name that is taken as a full one.
fn as_it_stands(snapshot: &Snapshot, name: &BStr) -> Result<Option<ObjectId>, Stop> {
    if name.starts_with(b"refs/") {
        return listed(snapshot, name);
    }
    if name == "HEAD" {
        return Ok(match &snapshot.head {
            Head::Missing => None,
            Head::Detached(id) => Some(*id),
            Head::Symbolic { id, .. } => *id,
        });
    }
    match snapshot.may_have_outside_refs(name) {
        true => Err(Stop::Unsupported),
        false => Ok(None),
    }
}

fn listed(snapshot: &Snapshot, full_name: &BStr) -> Result<Option<ObjectId>, Stop> {
    match snapshot.find(full_name) {
        None => Ok(None),
        Some(found) if found.is_broken() => Err(Stop::Unsupported),
        Some(found) => Ok(Some(found.target)),
    }
}

/// The digits in `<anything>-g<digits>`, which `git describe` prints.
fn described(name: &BStr) -> Option<&BStr> {
    // With at least one byte in front.
    let at = (2..name.len()).rev().find(|at| name[*at] == b'g' && name[*at - 1] == b'-')?;
    Some(name[at + 1..].as_bstr())
}

/// The one object whose id begins with `digits`; among several the only one that fits `hint`.
fn abbreviated(
    snapshot: &Snapshot,
    digits: &BStr,
    hint: Option<Hint>,
    budget: &mut Budget,
) -> Result<ObjectId, Stop> {
    let prefix = Prefix::parse(digits).ok_or(Stop::Missing)?;
    let store = &snapshot.store;
    let found = store.with_prefix(&prefix, CANDIDATES_MAX)?.ok_or(Stop::Unsupported)?;
    budget.spend(found.len())?;
    let hint = match (found.as_slice(), hint) {
        ([], _) => return Err(Stop::Missing),
        ([only], _) => return Ok(*only),
        (_, Some(hint)) => hint,
        (_, None) if snapshot.config.string("core.disambiguate").is_some() => {
            return Err(Stop::Unsupported);
        }
        (_, None) => return Err(Stop::Missing),
    };
    let mut fitting = None;
    for id in found {
        if hint.fits(store, id, budget)? && fitting.replace(id).is_some() {
            return Err(Stop::Missing);
        }
    }
    fitting.ok_or(Stop::Missing)
}

// === impl Hint ===

impl Hint {
    fn fits(self, store: &Store, id: ObjectId, budget: &mut Budget) -> Result<bool, Stop> {
        let kind = match store.kind(&id)? {
            Some(Kind::Tag) if self != Self::Commit => {
                match peel::peel(store, id, Target::NonTag, budget) {
                    Ok(id) => store.kind(&id)?,
                    Err(Stop::Missing) => None,
                    Err(stop) => return Err(stop),
                }
            }
            kind => kind,
        };
        Ok(match kind {
            Some(Kind::Commit) => true,
            Some(Kind::Tree) => self == Self::Treeish,
            Some(Kind::Blob | Kind::Tag) | None => false,
        })
    }
}
