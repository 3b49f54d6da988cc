//! Revisions: what a caller may write in the place of an object id (gitrevisions(7)).
//!
//! Always true: what is found is what `git rev-parse --verify` finds at the time of the snapshot;
//! what only git can tell is [`Resolved::Unsupported`], never a guess; so is what would take long.
//! Never here: ranges, options, and what is wanted of the object that was found.

mod names;
mod peel;
#[cfg(test)]
mod tests;

use bstr::{BStr, BString, ByteSlice};

use crate::ObjectId;
use crate::objects::StoreError;
use crate::repository::{Snapshot, Unsupported};

pub use peel::Target;

/// Objects that may be looked at for one request, however many revisions it has; git goes on. At
/// 20 µs each this is 20 ms, for which one worker may be held up.
const OBJECTS_MAX: usize = 1_000;
/// Suffixes of one revision; git takes longer ones.
const STEPS_MAX: usize = 1_000;

/// A revision, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// A name, and what is done to its object one after the other.
    Steps { name: BString, steps: Vec<Step> },
    /// A number that git refuses.
    Impossible,
    /// Reflogs, paths, messages.
    Unsupported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `^<n>`; zero is the commit itself.
    Parent(u32),
    /// `~<n>`
    Ancestor(u32),
    /// `^{<type>}`
    Peel(Target),
}

/// What became of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved<T> {
    /// It names this.
    Found(T),
    /// It names nothing, or several objects.
    Missing,
    /// Only git can tell.
    Unsupported,
}

/// A commit that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCommit {
    /// Its id.
    pub id: ObjectId,
    /// The content of the object.
    pub data: Vec<u8>,
}

/// How many objects may still be looked at, shared by all revisions of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    objects: usize,
}

/// Why there is no answer.
enum Stop {
    Missing,
    Unsupported,
    Store(StoreError),
}

// === impl Revision ===

impl Revision {
    /// Takes a revision apart. Every text is one, though most name nothing.
    pub fn parse(text: &BStr) -> Self {
        let only_git = [&b"@{"[..], b":", b"^{/"];
        if only_git.iter().any(|part| text.contains_str(part)) {
            return Self { form: Form::Unsupported };
        }
        let mut steps = Vec::new();
        let mut rest = text.as_bytes();
        loop {
            match last_step(rest) {
                Ok(None) => break,
                Ok(Some((before, step))) => {
                    steps.push(step);
                    rest = before;
                }
                Err(NumberTooLarge) => return Self { form: Form::Impossible },
            }
            if steps.len() > STEPS_MAX {
                return Self { form: Form::Unsupported };
            }
        }
        steps.reverse();
        Self { form: Form::Steps { name: rest.into(), steps } }
    }

    /// What the revision stands for. As in git, an id of 40 digits stands for itself, and a ref
    /// for the object it names, whether that exists or not.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn resolve(
        &self,
        snapshot: &Snapshot,
        budget: &mut Budget,
    ) -> Result<Resolved<ObjectId>, StoreError> {
        answer(self.resolve_steps(snapshot, None, budget))
    }

    /// What `<revision>^{<target>}` stands for; the object exists.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn resolve_to(
        &self,
        snapshot: &Snapshot,
        target: Target,
    ) -> Result<Resolved<ObjectId>, StoreError> {
        let mut budget = Budget::default();
        let found = self.resolve_steps(snapshot, Some(target), &mut budget);
        answer(found.and_then(|id| peel::peel(&snapshot.store, id, target, &mut budget)))
    }

    /// The commit `<revision>^{commit}` with its content.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn commit(&self, snapshot: &Snapshot) -> Result<Resolved<FoundCommit>, StoreError> {
        let mut budget = Budget::default();
        let found = self.resolve_steps(snapshot, Some(Target::Commit), &mut budget);
        answer(found.and_then(|id| peel::commit(&snapshot.store, id, &mut budget)))
    }

    /// `outer` is what will be done to the object in the end.
    fn resolve_steps(
        &self,
        snapshot: &Snapshot,
        outer: Option<Target>,
        budget: &mut Budget,
    ) -> Result<ObjectId, Stop> {
        let (name, steps) = match &self.form {
            Form::Steps { name, steps } => (name, steps),
            Form::Impossible => return Err(Stop::Missing),
            Form::Unsupported => return Err(Stop::Unsupported),
        };
        let walks = steps.iter().any(|step| !matches!(step, Step::Peel(_)));
        if !is_served(snapshot, walks) {
            return Err(Stop::Unsupported);
        }
        let first = steps.first().copied().or(outer.map(Step::Peel));
        let hint = first.and_then(Step::hint);
        let mut id = names::resolve(snapshot, name.as_bstr(), hint, budget)?;
        for step in steps {
            id = step.take(snapshot, id, budget)?;
        }
        Ok(id)
    }
}

/// Whether the parents that commits name are those that git heeds.
pub(crate) fn are_parents_known(snapshot: &Snapshot) -> bool {
    is_served(snapshot, true)
}

/// Whether this snapshot tells all that git would heed.
fn is_served(snapshot: &Snapshot, walks: bool) -> bool {
    let is_served = match snapshot.unsupported {
        None => true,
        // Parents are not those that commits name; all else is as ever.
        Some(Unsupported::Shallow | Unsupported::Grafts) => !walks,
        Some(
            Unsupported::FormatVersion
            | Unsupported::UnknownExtension
            | Unsupported::Sha256
            | Unsupported::Reftable
            | Unsupported::Promisor
            | Unsupported::UnevaluatedInclude,
        ) => false,
    };
    is_served && !snapshot.has_replace_refs
}

fn answer<T>(found: Result<T, Stop>) -> Result<Resolved<T>, StoreError> {
    match found {
        Ok(found) => Ok(Resolved::Found(found)),
        Err(Stop::Missing) => Ok(Resolved::Missing),
        Err(Stop::Unsupported) => Ok(Resolved::Unsupported),
        Err(Stop::Store(error)) => Err(error),
    }
}

/// A count of parents or generations beyond what git takes.
struct NumberTooLarge;

/// The last suffix of a revision and what stands before it.
fn last_step(text: &[u8]) -> Result<Option<(&[u8], Step)>, NumberTooLarge> {
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = text.split_at(text.len() - digits);
    let (before, step) = match before.split_last() {
        Some((b'^', before)) => (before, Step::Parent as fn(u32) -> Step),
        Some((b'~', before)) => (before, Step::Ancestor as fn(u32) -> Step),
        _ => return Ok(last_peel(text)),
    };
    if number.is_empty() {
        return Ok(Some((before, step(1))));
    }
    let value = number.iter().try_fold(0_u32, |value, digit| {
        value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    });
    // git counts in an `int`.
    let value = value.filter(|value| i32::try_from(*value).is_ok()).ok_or(NumberTooLarge)?;
    Ok(Some((before, step(value))))
}

fn last_peel(text: &[u8]) -> Option<(&[u8], Step)> {
    let inner = text.strip_suffix(b"}")?;
    let at = inner.rfind(b"^{")?;
    // git looks only at how the braces begin: `^{commit}x}` is `^{commit}`.
    let target = Target::parse(&text[at + 2..])?;
    Some((&text[..at], Step::Peel(target)))
}

// === impl Step ===

impl Step {
    /// What an abbreviated id in front of this step has to name.
    fn hint(self) -> Option<names::Hint> {
        match self {
            Self::Parent(_) | Self::Ancestor(_) | Self::Peel(Target::Commit) => {
                Some(names::Hint::Committish)
            }
            Self::Peel(Target::Tree) => Some(names::Hint::Treeish),
            Self::Peel(Target::Tag | Target::Blob | Target::Object | Target::NonTag) => None,
        }
    }

    fn take(
        self,
        snapshot: &Snapshot,
        id: ObjectId,
        budget: &mut Budget,
    ) -> Result<ObjectId, Stop> {
        let store = &snapshot.store;
        match self {
            Self::Peel(target) => peel::peel(store, id, target, budget),
            Self::Parent(number) => {
                let id = peel::peel(store, id, Target::Commit, budget)?;
                match number.checked_sub(1) {
                    None => Ok(id),
                    Some(index) => peel::parent(store, id, index, budget),
                }
            }
            Self::Ancestor(generations) => {
                let id = peel::peel(store, id, Target::Commit, budget)?;
                (0..generations).try_fold(id, |id, _| peel::parent(store, id, 0, budget))
            }
        }
    }
}

// === impl Budget ===

impl Budget {
    fn spend(&mut self, objects: usize) -> Result<(), Stop> {
        self.objects = self.objects.checked_sub(objects).ok_or(Stop::Unsupported)?;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { objects: OBJECTS_MAX }
    }
}

// === impl Stop ===

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            // git says of an object that makes no sense that there is none.
            StoreError::Object { .. } => Self::Missing,
            StoreError::Io { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Faulted { .. }
            | StoreError::Limit { .. } => Self::Store(error),
        }
    }
}
