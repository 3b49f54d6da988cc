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
use std::sync::Arc;
use tokio::task::JoinHandle;

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

/// A repository that is locked and about to be removed. Dropped, it stays.
#[derive(Debug)]
pub struct Removal {
    key: Key,
    /// `None` once it has come to its end.
    prepared: Option<Prepared>,
    shared: Arc<Shared>,
    /// Of what was moved out of sight.
    deletion: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Prepared {
    place: Place,
    _lock: Lock,
}

// === impl Repositories ===

impl Repositories {
    /// Locks whatever stands at `path`, damaged repositories included, in order to remove it.
    pub async fn prepare_removal(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<Removal, RemoveError> {
        let shared = Arc::clone(&self.shared);
        let prepare = move |visited: &Shared, key: &Key| {
            let prepared = Some(visited.prepare_removal(key)?);
            Ok(Removal { key: key.clone(), prepared, shared, deletion: None })
        };
        self.visit(storage, path, prepare).await?
    }

    /// Removes whatever stands at `path`. Returns when the disk space is free again.
    #[cfg(test)]
    pub(super) async fn remove(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<(), RemoveError> {
        let mut removal = self.prepare_removal(storage, path).await?;
        removal.remove().await?;
        removal.release().await
    }
}

// === impl Removal ===

impl Removal {
    /// Moves the repository out of sight. When it returns successfully that is on stable storage;
    /// the path stays locked, and the disk space is given back from now on, whether or not the
    /// caller waits for it.
    ///
    /// Has to be called in a tokio runtime with timers.
    pub async fn remove(&mut self) -> Result<(), RemoveError> {
        let Some(prepared) = self.prepared.take() else { return Ok(()) };
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        // Where it fails, the path is unlocked before the caller hears of it.
        let remove =
            move || shared.remove(&key, &prepared.place).map(|removed| (removed, prepared));
        let (removed, prepared) = self.shared.workers.run(remove).await??;
        if let Some(counts) = self.shared.counts.get() {
            counts.changed(&prepared.place, -1);
        }
        self.prepared = Some(prepared);
        let workers = self.shared.workers.clone();
        self.deletion = Some(tokio::spawn(async move {
            if let Err(error) = Deletion::of(removed.clone()).run(&workers).await {
                tracing::error!(path = %removed.display(), %error, "delete a removed repository");
            }
        }));
        Ok(())
    }

    /// Waits until the disk space is free again and unlocks the path.
    pub async fn release(mut self) -> Result<(), RemoveError> {
        if let Some(deletion) = self.deletion.take() {
            // It panicked or the runtime ends; either way the repository is gone, the rest is
            // swept.
            let _ = deletion.await;
        }
        match self.prepared.take() {
            Some(prepared) => Ok(self.shared.workers.run(move || drop(prepared)).await?),
            None => Ok(()),
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let Some(prepared) = self.prepared.take() else { return };
        // A file is unlinked, which no reactor waits for.
        if let Err(refused) = self.shared.workers.offer(Box::new(move || drop(prepared))) {
            refused();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn prepare_removal(&self, key: &Key) -> Result<Prepared, RemoveError> {
        let place = Place::of(&self.storages, &key.storage, &key.path)?;
        if !place.is_taken().map_err(RemoveError::at("look for the repository"))? {
            return Err(RemoveError::NotFound);
        }
        let lock = Lock::take(&place.target())?;
        if !place.is_taken().map_err(RemoveError::at("look for the repository again"))? {
            return Err(RemoveError::Raced);
        }
        Ok(Prepared { place, _lock: lock })
    }

    /// Moves the repository out of sight. Returns where it is now.
    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    fn remove(&self, key: &Key, place: &Place) -> Result<PathBuf, RemoveError> {
        let scratch = place.scratch().map_err(RemoveError::at("create the temporary directory"))?;
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
