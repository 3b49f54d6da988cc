//! Whether a ref is what an update expects, under its lock.
//!
//! Always true: the words are git's.
//! Never here: values that are written.

use std::collections::BTreeMap;
use std::path::Path;

use bstr::{BString, ByteSlice};

use super::current::{self, Loose};
use super::packed_search::PackedLater;
use super::plan::{Goal, Step};
use super::prepare::Stop;
use super::{Expected, PrepareError, RefFiles};
use crate::ObjectId;
use crate::refs::loose::Value;

/// What a ref was found to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// What it stands for in the end.
    pub(super) id: Option<ObjectId>,
    /// There is a file of it.
    pub(super) is_loose: bool,
    pub(super) is_symbolic: bool,
}

// === impl Found ===

impl Found {
    /// Whether the ref already is what it should become.
    pub(super) fn is(&self, goal: &Goal) -> bool {
        !self.is_symbolic && matches!(goal, Goal::Set(id) if self.id == Some(*id))
    }
}

/// Reads a locked ref and compares it with what is expected.
pub(super) fn check(
    files: &RefFiles,
    packed: &PackedLater,
    steps: &BTreeMap<BString, Step>,
    step: &Step,
) -> Result<Found, Stop> {
    let name = step.name.as_bstr();
    let loose = current::loose(files, name).map_err(|error| current::failed(files, name, error))?;
    let followed = match &step.goal {
        Goal::Follow(target) => Some(target),
        Goal::Set(_) | Goal::Point(_) | Goal::Delete | Goal::Check => None,
    };
    if name == "HEAD" && step.goal == Goal::Delete {
        // What is left would be no repository (gitrepository-layout(5)).
        return Err(PrepareError::BadName(step.asked.clone()).into());
    }
    let found = match loose {
        Loose::Value(Value::Symbolic(target)) if step.is_followed => {
            return match followed {
                Some(planned) if *planned == target => {
                    Ok(Found { id: None, is_loose: true, is_symbolic: true })
                }
                _ => Err(Stop::Again),
            };
        }
        _ if followed.is_some() => return Err(Stop::Again),
        Loose::Value(Value::Symbolic(target)) => {
            let id = current::resolve(files, target.as_bstr())?;
            Found { id, is_loose: true, is_symbolic: true }
        }
        Loose::Value(Value::Direct(id)) => {
            Found { id: Some(id), is_loose: true, is_symbolic: false }
        }
        Loose::Value(Value::Broken) => {
            return Err(PrepareError::Broken { name: step.asked.clone() }.into());
        }
        Loose::Absent | Loose::Directory => {
            let id = packed.opened()?.get(name)?.filter(|id| !id.is_null());
            if id.is_none() {
                absent(files, packed, steps, step)?;
            }
            if loose == Loose::Directory && matches!(step.goal, Goal::Set(_) | Goal::Point(_)) {
                make_way(files, packed, steps, step)?;
            }
            Found { id, is_loose: false, is_symbolic: false }
        }
    };
    compare(step, found.id)?;
    Ok(found)
}

/// Whether a value is the one that an update expects.
pub(super) fn compare(step: &Step, found: Option<ObjectId>) -> Result<(), PrepareError> {
    let name = step.asked.clone();
    match (step.old, found) {
        (Expected::Any, _) | (Expected::Absent, None) => Ok(()),
        (Expected::Is(expected), Some(found)) if expected == found => Ok(()),
        (Expected::Is(expected), Some(found)) => Err(PrepareError::Stale { name, expected, found }),
        (Expected::Absent, Some(_)) => Err(PrepareError::Exists { name }),
        (Expected::Is(_), None) => Err(PrepareError::Missing { name, at: step.name.clone() }),
    }
}

/// A directory above the ref is a file: a ref that is in the way, as a rule.
pub(super) fn not_a_directory(
    files: &RefFiles,
    step: &Step,
    file: &Path,
) -> Result<PrepareError, PrepareError> {
    let (name, at) = (step.asked.clone(), step.name.clone());
    let packed = PackedLater::new(files.packed(), false);
    Ok(match current::in_the_way(files, &packed, at.as_bstr())? {
        Some(_) if matches!(step.old, Expected::Is(_)) => PrepareError::Missing { name, at },
        Some(other) => PrepareError::Conflict { name, at, other },
        None => PrepareError::Blocked { name, path: file.to_path_buf() },
    })
}

/// A ref that does not exist must not be where others need a directory, nor they where it does.
fn absent(
    files: &RefFiles,
    packed: &PackedLater,
    steps: &BTreeMap<BString, Step>,
    step: &Step,
) -> Result<(), PrepareError> {
    let (name, at) = (step.asked.clone(), step.name.clone());
    if matches!(step.old, Expected::Is(_)) {
        return Err(PrepareError::Missing { name, at });
    }
    if let Some(other) = current::in_the_way(files, packed, at.as_bstr())? {
        return Err(PrepareError::Conflict { name, at, other });
    }
    match within(steps, &at) {
        Some(other) => Err(PrepareError::ConflictWithin { name, at, other }),
        None => Ok(()),
    }
}

/// Another ref of the transaction that is in the way.
fn within(steps: &BTreeMap<BString, Step>, at: &BString) -> Option<BString> {
    let above = at.find_iter(b"/").map(|slash| BString::from(&at[..slash]));
    let above = above.filter(|prefix| steps.contains_key(prefix)).last();
    above.or_else(|| {
        let below: BString = [at.as_slice(), b"/"].concat().into();
        let next = steps.range(below.clone()..).next()?.0;
        next.starts_with(&below).then(|| next.clone())
    })
}

/// Removes empty directories from a ref's path.
fn make_way(
    files: &RefFiles,
    packed: &PackedLater,
    steps: &BTreeMap<BString, Step>,
    step: &Step,
) -> Result<(), PrepareError> {
    let path = files.file(step.name.as_bstr());
    if current::remove_empty(files, &path) {
        return Ok(());
    }
    absent(files, packed, steps, &Step { old: Expected::Any, ..step.clone() })?;
    Err(PrepareError::Blocked { name: step.asked.clone(), path })
}
