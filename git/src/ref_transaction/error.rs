//! Why refs were not updated, in git's words.
//!
//! Always true: a [`PrepareError`] left the refs as they were, and no lock behind.
//! Never here: what a client is told beside it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bstr::{BStr, BString, ByteSlice};

use crate::ObjectId;
use crate::objects::StoreError;
use crate::refs::RefsError;
use crate::repository::Unsupported;

/// Why a transaction could not be prepared. `name` is the ref as the caller named it; where that is
/// a symbolic ref, `at` is the one that it leads to.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Refs are not stored in files, or objects not named by SHA-1.
    #[error("refs of this repository are not written here: {}", .0.label())]
    Unsupported(Unsupported),
    /// git-check-ref-format(1) refuses it, or it is neither below `refs/` nor like `HEAD`.
    #[error("refusing to update ref with bad name '{0}'")]
    BadName(BString),
    /// The same ref twice.
    #[error("multiple updates for ref '{0}' not allowed")]
    Duplicate(BString),
    /// The same ref by its name and by a symbolic ref.
    #[error("multiple updates for '{name}' (including one via {via}) are not allowed")]
    DuplicateVia {
        /// The ref, or `HEAD`.
        name: BString,
        /// How it came in once more: `symref '<name>'` or `its referent '<name>'`.
        via: BString,
    },
    /// More updates than one transaction may have.
    #[error("more than {0} updates in one transaction")]
    TooMany(usize),
    /// Somebody holds the lock of a ref or of `packed-refs` for longer than
    /// `core.filesRefLockTimeout` or `core.packedRefsTimeout`.
    #[error("{}Unable to create '{}.lock': File exists.", locking(name), path.display())]
    Locked {
        /// The ref; empty for `packed-refs`.
        name: BString,
        /// The file that is locked.
        path: PathBuf,
    },
    /// The same, but it was not waited for: as many threads as may wait for locks do
    /// ([`Waiting`](super::Waiting)). Whoever comes again within `patience` may have it.
    #[error("{}Unable to create '{}.lock': File exists.", locking(name), path.display())]
    Crowded {
        /// The ref; empty for `packed-refs`.
        name: BString,
        /// The file that is locked.
        path: PathBuf,
        /// How long the configuration would have it waited for.
        patience: Duration,
    },
    /// The ref is not where the update expects it.
    #[error("cannot lock ref '{name}': is at {found} but expected {expected}")]
    Stale {
        /// The ref.
        name: BString,
        /// What it should be.
        expected: ObjectId,
        /// What it is.
        found: ObjectId,
    },
    /// The ref should be absent.
    #[error("cannot lock ref '{name}': reference already exists")]
    Exists {
        /// The ref.
        name: BString,
    },
    /// The ref should exist.
    #[error("cannot lock ref '{name}': unable to resolve reference '{at}'")]
    Missing {
        /// The ref.
        name: BString,
        /// The ref behind it.
        at: BString,
    },
    /// What is stored under the name is no ref, or symbolic refs lead in a circle.
    #[error("cannot lock ref '{name}': unable to resolve reference '{name}': reference broken")]
    Broken {
        /// The ref.
        name: BString,
    },
    /// A ref is where a directory would have to be, or the other way round.
    #[error("cannot lock ref '{name}': '{other}' exists; cannot create '{at}'")]
    Conflict {
        /// The ref.
        name: BString,
        /// The ref behind it.
        at: BString,
        /// The one in the way.
        other: BString,
    },
    /// The same between two updates of the transaction.
    #[error("cannot lock ref '{name}': cannot process '{at}' and '{other}' at the same time")]
    ConflictWithin {
        /// The ref.
        name: BString,
        /// The ref behind it.
        at: BString,
        /// The other one.
        other: BString,
    },
    /// A directory with files that are no refs.
    #[error(
        "cannot lock ref '{name}': there is a non-empty directory '{}' blocking reference '{name}'",
        path.display()
    )]
    Blocked {
        /// The ref.
        name: BString,
        /// The directory.
        path: PathBuf,
    },
    /// The new object is missing.
    #[error(
        "cannot update ref '{name}': trying to write ref '{name}' with nonexistent object {id}"
    )]
    NoObject {
        /// The ref.
        name: BString,
        /// The object.
        id: ObjectId,
    },
    /// A branch, or HEAD, may only be a commit.
    #[error(
        "cannot update ref '{name}': trying to write non-commit object {id} to branch '{name}'"
    )]
    NotACommit {
        /// The ref.
        name: BString,
        /// The object.
        id: ObjectId,
    },
    /// What a dead process left stands in the way.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// `packed-refs` cannot be read.
    #[error(transparent)]
    Refs(#[from] RefsError),
    /// The object cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused.
    #[error("{}cannot write {}", locking(name), path.display())]
    Io {
        /// The ref; empty if it was none in particular.
        name: BString,
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// Why a prepared transaction was not carried out, or not durably.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was changed.
    #[error("refs are as they were: cannot write {}", path.display())]
    Nothing {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// Changed, in whole or in part, and what is on disk is not known: the disk failed.
    /// [`recover`](super::recover) finishes what can be finished.
    #[error("refs were changed, but may not be on disk: cannot write {}", path.display())]
    Uncertain {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// Why the remains of a dead process could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The system refused.
    #[error("cannot recover {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A journal that counts does not say what its name promises: the disk lost what it had
    /// taken.
    #[error("{}: damaged journal of ref updates", .0.display())]
    Journal(PathBuf),
    /// `packed-refs` cannot be read.
    #[error(transparent)]
    Refs(#[from] RefsError),
}

// === impl PrepareError ===

impl PrepareError {
    /// The ref that stands in the way of all, as the caller named it; empty where it is none in
    /// particular.
    pub fn name(&self) -> &BStr {
        use PrepareError as E;
        match self {
            E::BadName(name) | E::Duplicate(name) => name.as_bstr(),
            E::DuplicateVia { name, .. }
            | E::Locked { name, .. }
            | E::Crowded { name, .. }
            | E::Stale { name, .. }
            | E::Exists { name }
            | E::Missing { name, .. }
            | E::Broken { name }
            | E::Conflict { name, .. }
            | E::ConflictWithin { name, .. }
            | E::Blocked { name, .. }
            | E::NoObject { name, .. }
            | E::NotACommit { name, .. }
            | E::Io { name, .. } => name.as_bstr(),
            E::Unsupported(_) | E::TooMany(_) | E::Recover(_) | E::Refs(_) | E::Store(_) => {
                b"".as_bstr()
            }
        }
    }
}

fn locking(name: &BString) -> String {
    if name.is_empty() { String::new() } else { format!("cannot lock ref '{name}': ") }
}
