//! Where pushed objects lie until the push is accepted: a directory that git calls a temporary object
//! directory (git-receive-pack(1), "QUARANTINE ENVIRONMENT").
//!
//! ```text
//!   objects/tmp_objdir-incoming-gitring-<random>/   held by flock(2) as long as we live
//!       ab/cdef…  pack/pack-….{pack,idx,rev,keep}   written by the child, synced by us
//!           │
//!           └─ migrate(proof) ──> objects/ab/…, objects/pack/…   .idx last
//! ```
//!
//! Always true: nothing in a quarantine is visible to anybody who was not told of it, until it is
//! migrated against a proof that the push was accepted. What was there before is never replaced.
//! A quarantine whose owner died is removed by [`sweep`], or by `git gc`, which knows the name;
//! one that is alive, ours or git's, is left alone.
//! Never here: what decides about a push; objects themselves.
//!
//! All of it blocks on the file system, also the drop, which removes what is left.
//!
//! The type of the proof is the caller's. Only a value of it opens the way out:
//!
//! ```
//! # use gitring_git::quarantine::{Kept, Quarantine, QuarantineError};
//! # use std::path::Path;
//! struct Voted(());
//! fn publish(quarantine: Quarantine<Voted>, proof: &Voted) -> Result<Kept, QuarantineError> {
//!     quarantine.migrate(proof)
//! }
//! ```
//!
//! Without one it does not compile:
//!
//! ```compile_fail,E0061
//! # use gitring_git::quarantine::{Kept, Quarantine, QuarantineError};
//! # struct Voted(());
//! fn publish(quarantine: Quarantine<Voted>) -> Result<Kept, QuarantineError> {
//!     quarantine.migrate()
//! }
//! ```
//!
//! Nor with something else:
//!
//! ```compile_fail,E0308
//! # use gitring_git::quarantine::{Kept, Quarantine, QuarantineError};
//! # struct Voted(());
//! # struct Prepared(());
//! fn publish(quarantine: Quarantine<Voted>, early: &Prepared) -> Result<Kept, QuarantineError> {
//!     quarantine.migrate(early)
//! }
//! ```

mod contents;
mod disk;
mod keep;
mod sweep;

pub use keep::Kept;
pub use sweep::sweep;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::ObjectId;
use crate::files::{FileCalls, System};
use crate::objects::listed;
use contents::Contents;

/// What the names of our quarantines begin with. `git prune` removes what begins with `tmp_` once it
/// is old; what follows tells ours from those of a `git receive-pack`.
const NAME: &str = "tmp_objdir-incoming-gitring-";
/// Names that are tried.
const ATTEMPTS_MAX: usize = 100;
/// How often a directory is removed that a dying child fills again, and the pause between, which
/// grows tenfold: half a second in all, where a killed process needs milliseconds.
const REMOVALS_MAX: u32 = 60;
const REMOVAL_PAUSE: Duration = Duration::from_millis(1);

/// Why a quarantine could not be made, synced or migrated.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}")]
pub struct QuarantineError {
    /// What was tried.
    pub doing: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Objects that are not accepted yet; `P` is the proof that they are.
#[derive(Debug)]
pub struct Quarantine<P> {
    path: PathBuf,
    objects: PathBuf,
    calls: Arc<dyn FileCalls>,
    /// Holds the lock; given up after the directory is removed.
    _lock: File,
    proof: PhantomData<fn(&P)>,
}

// === impl QuarantineError ===

impl QuarantineError {
    fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { doing, path, source }
    }
}

// === impl Quarantine ===

impl<P> Quarantine<P> {
    /// Makes an empty quarantine for the object directory `objects`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(objects: &Path) -> Result<Self, QuarantineError> {
        let objects = fs::canonicalize(objects)
            .map_err(QuarantineError::of("find object directory", objects))?;
        for _ in 0..ATTEMPTS_MAX {
            let path = objects.join(format!("{NAME}{}", random_name()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(QuarantineError::of("create", &path)(error)),
            }
            let Some(lock) = hold(&path).map_err(QuarantineError::of("lock", &path))? else {
                continue;
            };
            let calls = System::durable();
            let quarantine = Self { path, objects, calls, _lock: lock, proof: PhantomData };
            let pack = quarantine.path.join("pack");
            fs::create_dir(&pack).map_err(QuarantineError::of("create", &pack))?;
            return Ok(quarantine);
        }
        let exhausted = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(QuarantineError::of("find a name for a quarantine in", &objects)(exhausted))
    }

    /// Syncs and moves by way of `calls`.
    pub fn with_calls(mut self, calls: Arc<dyn FileCalls>) -> Self {
        self.calls = calls;
        self
    }

    /// The directory, without symbolic links in its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What children and hooks have to find in their environment so that they write to the quarantine
    /// and read the repository's objects, too. `inherited` is
    /// `GIT_ALTERNATE_OBJECT_DIRECTORIES` as it is for the repository itself.
    pub fn environment(&self, inherited: Option<&OsStr>) -> [(&'static str, OsString); 3] {
        let mut alternates = inherited.map(OsStr::to_os_string).unwrap_or_default();
        if inherited.is_some() {
            alternates.push(":");
        }
        alternates.push(listed(self.objects.as_os_str()));
        [
            ("GIT_OBJECT_DIRECTORY", self.path.clone().into()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", alternates),
            ("GIT_QUARANTINE_PATH", self.path.clone().into()),
        ]
    }

    /// Writes the boundary of a shallow client, for the child that takes its pack. It goes with the
    /// quarantine.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_shallow(&self, commits: &[ObjectId]) -> Result<PathBuf, QuarantineError> {
        let path = self.path.join("shallow");
        let lines: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        fs::write(&path, lines).map_err(QuarantineError::of("write", &path))?;
        Ok(path)
    }

    /// Makes all that lies here durable: loose objects, packs with what belongs to them, their
    /// directories.
    ///
    /// # Errors
    /// What the file system says. Then nothing of it may be migrated.
    pub fn sync(&self) -> Result<(), QuarantineError> {
        let contents = Contents::of(&self.path)?;
        let mut paths = contents.files(&self.path);
        paths.extend(contents.directories(&self.path));
        self.calls.sync_many(&paths).map_err(QuarantineError::of("sync", &self.path))
    }

    /// Moves everything to the repository's objects and makes that durable. Loose objects come first,
    /// then packs, the index of each last; what is there already stays.
    ///
    /// The packs are kept from `git repack` as long as the result lives: until refs hold them.
    ///
    /// # Errors
    /// What the file system says. Some objects may be in the repository then, which nothing leads to.
    pub fn migrate(self, _proof: &P) -> Result<Kept, QuarantineError> {
        let contents = Contents::of(&self.path)?;
        contents.migrate(&self.path, &self.objects, &self.calls)
    }
}

impl<P> Drop for Quarantine<P> {
    fn drop(&mut self) {
        // A child that was killed a moment ago may still write. What cannot be removed is left to
        // `sweep` and `git gc`.
        for attempt in 0..REMOVALS_MAX {
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound || self.path.exists() => {
                    std::thread::sleep(REMOVAL_PAUSE * attempt.min(10));
                }
                Ok(()) | Err(_) => return,
            }
        }
    }
}

/// Opens and locks a directory that was just made. `None`: a sweep was faster.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let directory = match File::open(path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        // A file system without locks: there no sweep gets one either, and `git gc` cleans up.
        Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL | Errno::BADF) => {}
        Err(error) => return Err(error.into()),
    }
    // A sweep may have removed it between the two calls.
    Ok(is_same_file(&directory, path).then_some(directory))
}

/// Whether the path still leads to what was opened.
fn is_same_file(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let held = file.metadata().map(identity).ok();
    held.is_some() && held == fs::symlink_metadata(path).map(identity).ok()
}

/// Six letters and digits.
fn random_name() -> String {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = RandomState::new().hash_one(std::process::id());
    let mut letter = || {
        let letter = LETTERS[(number % 62) as usize];
        number /= 62;
        char::from(letter)
    };
    std::iter::repeat_with(&mut letter).take(6).collect()
}

#[cfg(test)]
mod tests;
