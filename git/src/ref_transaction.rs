//! Reference transactions over git's files backend: prepare, vote, commit.
//!
//! ```text
//! prepare ─ plan           names, duplicates, symbolic refs, the lines of the vote
//!         ├ room ─ session  what is ours: new values, journals, the file that all our locks are
//!         ├ lock            `<ref>.lock`
//!         ├ current         what is stored: loose, packed_search
//!         ├ packed_rewrite  the new `packed-refs`
//!         └ journal         of several changes, so that all or none is there after a crash
//! commit  ─ Prepared        renames, removals, syncs of directories
//! recover                   what a dead process left
//! ```
//!
//! *Values* are written to files of ours in `<git dir>/gitring/` and synced before the ref is
//! locked; a commit renames them into place. *Locks* are git's `<ref>.lock`; each is a hard link to
//! one small file of the process, which holds a flock on it as long as it lives. So whoever meets
//! such a lock can tell from its content that it is ours, and from the flock whether its owner is
//! dead; git just sees a lock. A lock of git's is never touched.
//!
//! *One change* (a rename, a removal, or one new `packed-refs` for thousands) is atomic by itself.
//! *Several* are written to a journal first. Its rename from `.prepared` to `.decided` is the
//! commit; refs stay locked, on disk as well, until all changes are on disk and the journal is
//! gone. So the journal of a dead process can be carried out without asking what is there.
//!
//! [`recover`] is for the start of a process, for each repository before its refs are read: it
//! costs one look for a directory where nobody died. Whoever meets a dead lock, or is the first to
//! write to a repository, calls it as well.
//!
//! Always true: after [`Prepared::commit`] the new values and the names that lead to them are on
//! disk; a transaction that was not committed leaves refs as they were; locks are taken in the
//! order of names, so two of ours never wait for each other in a circle.
//! Never here: hooks and votes themselves, what a client is told, reading for clients.

mod check;
mod commit;
mod current;
mod durable;
mod error;
mod journal;
mod lock;
mod log;
mod packed_rewrite;
mod packed_search;
mod place;
mod plan;
mod prepare;
mod recover;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod waiting;

pub use error::{CommitError, PrepareError, RecoverError};
pub use place::RefFiles;
pub use sessions::end_sessions;
pub use waiting::Waiting;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bstr::BString;

use crate::ObjectId;
use crate::objects::Store;
use lock::Lock;
use session::Session;

/// Updates of one transaction: each lock is a link to one file, of which ext4 allows 65,000.
pub const UPDATES_MAX: usize = 30_000;

/// One ref and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The full name: below `refs/`, or of capitals like `HEAD`.
    pub name: BString,
    /// What it must be, under its lock.
    pub old: Expected,
    /// What it becomes.
    pub change: Change,
    /// Whether a symbolic ref stands for the ref that it leads to, as everywhere in git unless
    /// `--no-deref` is given.
    pub is_followed: bool,
}

/// What a ref must be for an update of it to go ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything, or nothing.
    Any,
    /// There must be no such ref.
    Absent,
    /// This object. The null id is the same as [`Self::Absent`].
    Is(ObjectId),
}

/// What becomes of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is this object. The null id is the same as [`Self::Delete`].
    Set(ObjectId),
    /// It is gone, loose and packed; its log, too. That there is none is fine.
    Delete,
    /// It becomes a symbolic ref to this name.
    Point(BString),
    /// Nothing; its old value is checked, and it stays locked until the others are changed.
    Verify,
}

/// What [`recover`] found of dead processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Transactions that were decided, and have been finished.
    pub finished: usize,
    /// Transactions that were not, and are gone.
    pub undone: usize,
    /// Lock files that were removed.
    pub locks: usize,
}

/// A transaction that can be committed. Dropped, it leaves everything as it was.
#[derive(Debug)]
pub struct Prepared {
    files: RefFiles,
    session: Arc<Session>,
    lines: Vec<u8>,
    /// The updated ref that HEAD leads to.
    behind_head: Option<BString>,
    /// Symbolic refs that were followed, and the ref behind each.
    followed: Vec<(BString, BString)>,
    locks: Vec<Lock>,
    /// Directories that were made for locks.
    made: Vec<PathBuf>,
    /// Files of ours, renamed or not.
    temps: BTreeSet<PathBuf>,
    /// Those that are not known to be on disk.
    unsynced: Vec<PathBuf>,
    /// A value that was written before its ref was locked.
    early: Option<PathBuf>,
    /// Refs that are already what they should become, and whether they are loose.
    unchanged: Vec<(BString, bool)>,
    /// Refs to delete that are not there.
    absent: Vec<BString>,
    refs: Vec<Ready>,
    /// The new `packed-refs`.
    packed: Option<PathBuf>,
    journal: Option<PathBuf>,
    /// Everything is to stay where it is, for [`recover`].
    is_left: bool,
}

/// A locked ref that was found as it should be, and what the commit does with it.
#[derive(Debug)]
struct Ready {
    name: BString,
    before: Option<ObjectId>,
    after: Option<ObjectId>,
    /// What its file will hold, and the file of ours that holds it.
    content: Option<Vec<u8>>,
    value: Option<PathBuf>,
    removes_loose: bool,
    /// It goes to or from `packed-refs`.
    is_packed: bool,
}

/// By which name `packed-refs` is locked: no ref can have it.
const PACKED_LOCK: &str = "packed-refs";

/// Locks the refs of `updates`, checks what they are, and brings what they are to be to the disk.
/// All or nothing. `objects` knows the new objects: those of a quarantine among them. Blocks, on
/// locks for the time that the configuration allows.
///
/// # Errors
/// In git's words; then nothing was changed and nothing is locked.
pub fn prepare(
    files: &RefFiles,
    objects: &Store,
    updates: Vec<Update>,
) -> Result<Prepared, PrepareError> {
    prepare::prepare(files, objects, updates)
}

/// Finishes or undoes what processes that died have left in this repository.
///
/// # Errors
/// See [`RecoverError`]. What could not be dealt with is as it was.
pub fn recover(files: &RefFiles) -> Result<Recovered, RecoverError> {
    recover::recover(files)
}

// === impl Update ===

impl Update {
    /// An update that follows symbolic refs.
    pub fn new(name: impl Into<BString>, old: Expected, change: Change) -> Self {
        Self { name: name.into(), old, change, is_followed: true }
    }

    /// As `git update-ref --no-deref`: of the ref itself, even if it is symbolic.
    pub fn of_itself(name: impl Into<BString>, old: Expected, change: Change) -> Self {
        Self { name: name.into(), old, change, is_followed: false }
    }
}

// === impl Prepared ===

impl Prepared {
    /// What git gives the hook `reference-transaction` (githooks(5)): a line
    /// `<old> SP <new> SP <ref> LF` for each update in its order, then one for each ref behind a
    /// symbolic one, and one for HEAD if it leads to an updated ref.
    pub fn vote_input(&self) -> &[u8] {
        &self.lines
    }

    /// Makes the changes, durably: renames, removals and syncs of directories only.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn commit(mut self) -> Result<(), CommitError> {
        self.carry_out()
    }
}
