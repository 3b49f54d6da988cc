//! Removing a repository.
//!
//! Always true: clients see it whole or not at all; when it is reported as removed, that is on
//! stable storage. What is left of it after a crash lies below `+gitaly/tmp` and is swept.
//! Never here: votes.

use super::delete::Deletion;
use super::lock::{Lock, LockError};
use super::place::{Place, PlaceError};
use super::{Key, RelativePath, Repositories, Shared, StorageName, sweep};
use crate::reactor::workers::WorkerError;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Names in `+gitaly/tmp` begin with the repository's, so that an operator recognises it. Longer
/// ones would not fit into 255 bytes.
const NAME_BYTES_MAX: usize = 200;

/// Why a repository was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Nothing can be removed there.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Nothing stands there.
    #[error("repository does not exist")]
    NotFound,
    /// It was there, and somebody else removed it meanwhile.
    #[error("repository was concurrently removed")]
    Raced,
    /// Somebody else creates or removes it.
    #[error("repository is already locked")]
    Locked,
    /// The file system failed.
    #[error("{step}")]
    Io {
        /// What was done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No worker could do it.
    #[error(transparent)]
    Workers(#[from] WorkerError),
}

// === impl Repositories ===

impl Repositories {
    /// Removes whatever stands at `path`, damaged repositories included. Returns when the disk
    /// space is free again; if the caller leaves earlier, the deletion goes on.
    ///
    /// Has to be called in a tokio runtime with timers.
    pub async fn remove(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<(), RemoveError> {
        let removed = self.visit(storage, path, Shared::remove).await??;
        let workers = self.shared.workers.clone();
        let deletion = tokio::spawn(async move {
            if let Err(error) = Deletion::of(removed.clone()).run(&workers).await {
                tracing::error!(path = %removed.display(), %error, "delete a removed repository");
            }
        });
        // It panicked or the runtime ends; either way the repository is gone, the rest is swept.
        let _ = deletion.await;
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// Moves the repository out of sight. Returns where it is now.
    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    fn remove(&self, key: &Key) -> Result<PathBuf, RemoveError> {
        let place = Place::of(&self.storages, &key.storage, &key.path)?;
        if !place.is_taken().map_err(RemoveError::at("look for the repository"))? {
            return Err(RemoveError::NotFound);
        }
        let scratch = place.scratch().map_err(RemoveError::at("create the temporary directory"))?;
        let _lock = Lock::take(&place.target())?;
        if !place.is_taken().map_err(RemoveError::at("look for the repository again"))? {
            return Err(RemoveError::Raced);
        }
        let has_room = place.name().len() <= NAME_BYTES_MAX;
        let mut prefix = if has_room { place.name().clone() } else { OsString::new() };
        prefix.push(sweep::REMOVED);
        let staged = tempfile::Builder::new().prefix(&prefix).tempdir_in(&scratch);
        let staged = staged.map_err(RemoveError::at("create a temporary directory"))?.keep();
        std::fs::rename(place.target(), staged.join(sweep::REMOVED_REPOSITORY))
            .map_err(RemoveError::at("staging repository for removal"))?;
        self.cache().drop_entry(key);
        place.sync().map_err(RemoveError::at("sync removal"))?;
        Ok(staged)
    }
}

// === impl RemoveError ===

impl RemoveError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

impl From<LockError> for RemoveError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held => Self::Locked,
            // The last repository of a directory went, and the directory with it.
            LockError::Io(source) if source.kind() == ErrorKind::NotFound => Self::Raced,
            LockError::Io(source) => Self::Io { step: "locking repository for removal", source },
        }
    }
}

#[cfg(test)]
mod tests;
