//! From the updates that were asked for to the refs that have to be locked.
//!
//! Always true: no ref twice; names are good; the lines of the vote have the order of git's.
//! Never here: locks. What symbolic refs lead to may change until they are locked.

use std::collections::BTreeMap;

use bstr::{BStr, BString, ByteSlice};

use super::current::{self, Loose, SYMBOLIC_DEPTH_MAX};
use super::{Change, Expected, PrepareError, RefFiles, UPDATES_MAX, Update, place};
use crate::ObjectId;
use crate::refs::loose::Value;
use crate::refs::name;

/// One ref to lock.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) name: BString,
    /// As the caller named it: `name`, or a symbolic ref that leads here.
    pub(super) asked: BString,
    pub(super) old: Expected,
    pub(super) goal: Goal,
    pub(super) is_followed: bool,
}

/// What is to become of a ref that is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    Set(ObjectId),
    Point(BString),
    Delete,
    Check,
    /// Stays a symbolic ref to this one, which is another step.
    Follow(BString),
}

/// All steps of a transaction.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Sorted by name, which is the order of locking.
    pub(super) steps: BTreeMap<BString, Step>,
    pub(super) lines: Vec<u8>,
    /// The updated ref that HEAD leads to.
    pub(super) behind_head: Option<BString>,
}

/// Checks names, and that there are not too many; null ids become what they stand for.
pub(super) fn normalise(updates: Vec<Update>) -> Result<Vec<Update>, PrepareError> {
    if updates.len() > UPDATES_MAX {
        return Err(PrepareError::TooMany(UPDATES_MAX));
    }
    let normal = |mut update: Update| {
        if matches!(update.old, Expected::Is(id) if id.is_null()) {
            update.old = Expected::Absent;
        }
        if matches!(update.change, Change::Set(id) if id.is_null()) {
            update.change = Change::Delete;
        }
        let name = update.name.as_bstr();
        let is_good = match &update.change {
            Change::Set(_) => place::may_be_set(name),
            Change::Point(target) => {
                place::may_be_set(name)
                    && name::is_valid(target)
                    && (name != "HEAD" || target.starts_with(b"refs/"))
            }
            Change::Delete | Change::Verify => place::may_be_removed(name),
        };
        if is_good { Ok(update) } else { Err(PrepareError::BadName(update.name)) }
    };
    updates.into_iter().map(normal).collect()
}

// === impl Plan ===

impl Plan {
    /// Follows the symbolic refs among `updates` as they are now.
    pub(super) fn of(files: &RefFiles, updates: &[Update]) -> Result<Self, PrepareError> {
        let mut plan = Self::default();
        for update in updates {
            let goal = match &update.change {
                Change::Set(id) => Goal::Set(*id),
                Change::Point(target) => Goal::Point(target.clone()),
                Change::Delete => Goal::Delete,
                Change::Verify => Goal::Check,
            };
            let name = update.name.clone();
            let is_followed = update.is_followed && !matches!(goal, Goal::Point(_));
            let step = Step { asked: name.clone(), name, old: update.old, goal, is_followed };
            plan.line(&step, step.name.as_bstr());
            if plan.steps.insert(step.name.clone(), step).is_some() {
                return Err(PrepareError::Duplicate(update.name.clone()));
            }
        }
        let head = symbolic(files, b"HEAD".as_bstr())?;
        for update in updates {
            plan.follow(files, &update.name, head.as_ref())?;
        }
        Ok(plan)
    }

    /// Adds the steps for what a symbolic ref leads to, and HEAD's line.
    fn follow(
        &mut self,
        files: &RefFiles,
        asked: &BString,
        head: Option<&BString>,
    ) -> Result<(), PrepareError> {
        let mut at = asked.clone();
        let mut via_head = false;
        for _ in 0..SYMBOLIC_DEPTH_MAX {
            if head == Some(&at) && !via_head {
                self.add_head(&at)?;
            }
            let Some(step) = self.steps.get_mut(&at).filter(|step| step.is_followed) else {
                return Ok(());
            };
            let Some(target) = symbolic(files, at.as_bstr())? else { return Ok(()) };
            if !place::may_be_set(target.as_bstr()) {
                return Err(PrepareError::Broken { name: asked.clone() });
            }
            via_head |= at == "HEAD";
            let behind = Step { name: target.clone(), ..step.clone() };
            step.goal = Goal::Follow(target.clone());
            step.old = Expected::Any;
            self.line(&behind, target.as_bstr());
            if self.steps.insert(target.clone(), behind).is_some() {
                let via = BString::from(format!("symref '{at}'"));
                return Err(PrepareError::DuplicateVia { name: target, via });
            }
            at = target;
        }
        Err(PrepareError::Broken { name: asked.clone() })
    }

    /// HEAD leads to `name`: its log gets a line, and so does the vote.
    fn add_head(&mut self, name: &BString) -> Result<(), PrepareError> {
        if self.steps.contains_key(b"HEAD".as_bstr()) {
            let via = BString::from(format!("its referent '{name}'"));
            return Err(PrepareError::DuplicateVia { name: "HEAD".into(), via });
        }
        if let Some(step) = self.steps.get(name).cloned() {
            self.line(&step, b"HEAD".as_bstr());
        }
        self.behind_head = Some(name.clone());
        Ok(())
    }

    fn line(&mut self, step: &Step, name: &BStr) {
        let zeros = ObjectId::null(gix_hash::Kind::Sha1);
        let old = match step.old {
            Expected::Is(id) => id,
            Expected::Any | Expected::Absent => zeros,
        };
        let new = match &step.goal {
            Goal::Set(id) => id.to_string().into(),
            Goal::Point(target) | Goal::Follow(target) => {
                [b"ref:", target.as_slice()].concat().into()
            }
            Goal::Delete | Goal::Check => BString::from(zeros.to_string()),
        };
        self.lines.extend_from_slice(format!("{old} ").as_bytes());
        for part in [new.as_bytes(), b" ", name.as_bytes(), b"\n"] {
            self.lines.extend_from_slice(part);
        }
    }
}

/// What a name leads to if it is a symbolic ref.
fn symbolic(files: &RefFiles, name: &BStr) -> Result<Option<BString>, PrepareError> {
    let found = current::loose(files, name).map_err(|error| current::failed(files, name, error))?;
    match found {
        Loose::Value(Value::Symbolic(target)) => Ok(Some(target)),
        Loose::Value(Value::Direct(_) | Value::Broken) | Loose::Absent | Loose::Directory => {
            Ok(None)
        }
    }
}
