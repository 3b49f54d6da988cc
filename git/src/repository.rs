//! One repository on disk, and consistent snapshots of what a fetch depends on.
//!
//! Always true: the reading (or the check by `stat`) behind the snapshot that a caller gets
//! began after the call; concurrent callers share one. A snapshot is kept only as long as every
//! path that it depends on has the stamp it had, and that stamp was settled.
//! Never here: protocols, writing.

mod environment;
mod flight;
mod format;
mod locate;
pub mod memo;
mod owner;
mod reading;
mod snapshot;
#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use owner::Ownership;
pub use snapshot::{Snapshot, Unsupported};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::ConfigError;
use crate::objects::StoreError;
use crate::refs::RefsError;
use flight::Flight;
use locate::Places;
use reading::Reading;

/// A repository that was found; it may change or go away at any time.
#[derive(Debug)]
pub struct Repository {
    places: Places,
    environment: Environment,
    flight: Flight<Reading>,
}

/// Why a repository cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Something is there, but no repository.
    #[error("{0}: not a git repository")]
    NotARepository(PathBuf),
    /// Nothing is there.
    #[error("{0}: no such repository")]
    Missing(PathBuf),
    /// The repository belongs to another user (git-config(1), `safe.directory`).
    #[error("detected dubious ownership in repository at '{0}'")]
    DubiousOwnership(PathBuf),
    /// A file of the repository's own layout cannot be read.
    #[error("read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Refs.
    #[error(transparent)]
    Refs(#[from] RefsError),
    /// Objects.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Repository ===

impl Repository {
    /// Opens the repository whose git directory is `git_dir`: a bare repository, a `.git`, or the
    /// git directory of a linked worktree. Reads nothing but what it takes to know it as one.
    ///
    /// # Errors
    /// Missing, not a repository, or of a dubious owner if the environment checks that.
    pub fn open(git_dir: &Path, environment: Environment) -> Result<Self, RepositoryError> {
        let git_dir = absolute(git_dir)?;
        let environment = environment.seen_from(&git_dir);
        let places = Places::of(&git_dir, environment.object_directory.as_deref())?;
        owner::check(None, &git_dir, &environment)?;
        Ok(Self { places, environment, flight: Flight::default() })
    }

    /// Finds the repository that `git upload-pack DIRECTORY` serves: unless `is_strict`, one of
    /// `DIRECTORY/.git`, `DIRECTORY`, `DIRECTORY.git/.git`, `DIRECTORY.git`, in this order; and
    /// through a `.git` file (gitrepository-layout(5)).
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn enter(
        directory: &Path,
        is_strict: bool,
        environment: Environment,
    ) -> Result<Self, RepositoryError> {
        let found = locate::enter(directory, is_strict, environment.home.as_deref())?;
        let git_dir = absolute(&found.git_dir)?;
        let environment = environment.seen_from(&git_dir);
        let places = Places::of(&git_dir, environment.object_directory.as_deref())?;
        owner::check(found.gitfile.as_deref(), &found.path, &environment)?;
        Ok(Self { places, environment, flight: Flight::default() })
    }

    /// The git directory, absolute; of a linked worktree its own.
    pub fn git_dir(&self) -> &Path {
        &self.places.git_dir
    }

    /// The repository as it is now. Costs a `stat` of every file and ref directory it depends on
    /// if nothing has changed, else a reading of what has. Blocks on the file system.
    ///
    /// A ref is seen if its update was finished before this call. As in git, updates that happen
    /// during the call may be seen or not, each on its own.
    ///
    /// # Errors
    /// What stands in the way of reading; a single broken ref is none, see [`Snapshot::refs`].
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, RepositoryError> {
        let reading = self.flight.join(|previous| {
            if let Some(previous) = previous.filter(|previous| previous.is_current()) {
                return Ok(Arc::clone(previous));
            }
            let previous = previous.map(Arc::as_ref);
            Reading::take(&self.places, &self.environment, previous).map(Arc::new)
        })?;
        Ok(Arc::clone(&reading.snapshot))
    }

    /// A snapshot whose settings and objects are as they are now, while its refs may be those of an
    /// earlier time: for those who read refs themselves, under their locks. A writer changes the
    /// directory that its ref lies in, and must not list that one for each ref that it writes.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub fn settings(&self) -> Result<Arc<Snapshot>, RepositoryError> {
        match self.flight.latest().filter(|latest| latest.has_current_settings()) {
            Some(latest) => Ok(Arc::clone(&latest.snapshot)),
            None => self.snapshot(),
        }
    }

    /// As [`Self::snapshot`], if that takes no reading, and if the kernel's caches prove it: never
    /// waits for the file system. `None` says nothing.
    pub fn snapshot_at_once(&self) -> Option<Arc<Snapshot>> {
        let reading = self.flight.latest()?;
        reading.is_current_at_once().then(|| Arc::clone(&reading.snapshot))
    }
}

/// Children run elsewhere: what they are told must mean the same there.
fn absolute(path: &Path) -> Result<PathBuf, RepositoryError> {
    std::path::absolute(path).map_err(|_| RepositoryError::Missing(path.to_path_buf()))
}
