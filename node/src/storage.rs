//! Storages and the repositories in them.
//!
//! Always true: what [`Repositories::open`] returns lies inside its storage, symbolic links
//! followed, and is the directory that stood at the path when it was asked.
//! Never here: a protocol. Paths are parsed once, by [`RelativePath`], at the door.

mod cache;
mod count;
mod create;
mod delete;
mod durable;
mod glances;
mod held;
mod lock;
mod metadata;
mod object_directories;
mod path;
mod patience;
mod place;
mod remove;
mod resolve;
mod roots;
mod size;
mod status;
mod sweep;
mod visits;
mod write;

pub use self::create::{CreateError, CreateOptions, Creation};
pub use self::glances::Glances;
pub use self::held::Held;
pub use self::lock::{Lock, LockError};
pub use self::object_directories::{BadObjectDirectory, ConfinedDirectories, ObjectDirectories};
pub use self::path::{BadRelativePath, RelativePath};
pub use self::patience::Patience;
pub use self::place::{PlaceError, make_scratch};
pub use self::remove::{Removal, RemoveError};
pub use self::roots::{StorageConfig, StorageConfigError, StorageName, Storages};
pub use self::status::{Disk, Status};
pub use self::write::{WRITERS_DEFAULT, Writing};

use self::cache::{Cache, CacheLimits, Key};
use self::count::Counts;
use self::visits::{Visit, Visits};
use crate::reactor::workers::{WorkerError, Workers};
use gitring_daemon::log;
use gitring_git::at_once;
use gitring_git::repository::{Environment, Repository, RepositoryError, Snapshot, Unsupported};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::oneshot;

/// Repositories kept open. An idle one costs its ref snapshot and its maps.
const CACHE_ENTRIES_MAX: usize = 4096;
/// Refs in their snapshots: about 250 MB.
const CACHE_REFS_MAX: usize = 1_000_000;

/// Why a repository could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No storage has this name.
    #[error("no storage is named '{0}'")]
    UnknownStorage(StorageName),
    /// The storage's directory is not there.
    #[error("storage does not exist")]
    NoStorage(PathBuf),
    /// Nothing stands at the path.
    #[error("no such repository")]
    NotFound,
    /// A symbolic link leads out of the storage.
    #[error("the path leads out of its storage")]
    Outside,
    /// Something stands at the path, but no repository.
    #[error("not a git repository")]
    NotARepository {
        /// `objects`, `refs` or `HEAD`, if it is a directory without one of them.
        missing: Option<&'static str>,
    },
    /// The objects that were to be read are not the repository's.
    #[error(transparent)]
    ObjectDirectory(#[from] BadObjectDirectory),
    /// The file system failed.
    #[error("look up the repository")]
    Io(#[from] io::Error),
    /// The repository is damaged.
    #[error("open the repository")]
    Repository(#[source] RepositoryError),
    /// No worker could look.
    #[error(transparent)]
    Workers(#[from] WorkerError),
}

/// A repository, and what it was when it was asked for.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The repository.
    pub repository: Arc<Repository>,
    /// Its refs, configuration and objects.
    pub snapshot: Arc<Snapshot>,
}

/// How objects are named (gitformat-signature(5), hash function transition).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// 20 bytes
    Sha1,
    /// 32 bytes
    Sha256,
}

/// Opened repositories, shared by all reactors.
#[derive(Debug, Clone)]
pub struct Repositories {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    storages: Storages,
    environment: Environment,
    workers: Workers,
    writing: Writing,
    cache: Mutex<Cache>,
    visits: Visits,
    /// How many repositories there are, once somebody counts them.
    counts: OnceLock<Counts>,
}

// === impl Repositories ===

impl Repositories {
    /// `environment` is what every repository is opened with.
    pub fn new(
        storages: Storages,
        environment: Environment,
        workers: Workers,
        writing: Writing,
    ) -> Self {
        let limits = CacheLimits { entries_max: CACHE_ENTRIES_MAX, refs_max: CACHE_REFS_MAX };
        let cache = Mutex::new(Cache::new(limits));
        Self {
            shared: Arc::new(Shared {
                storages,
                environment,
                workers,
                writing,
                cache,
                visits: Visits::default(),
                counts: OnceLock::new(),
            }),
        }
    }

    /// The repository at `path` as it is now. The path is looked up each time, which is what
    /// notices that a repository was deleted and created again.
    pub async fn open(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<Opened, OpenError> {
        self.with(storage, path, Opened::clone).await
    }

    /// Opens as [`Self::open`] and does `work`, all in one visit to a worker, which it shares with
    /// others who want the same repository. The work may read files and should end within 10 ms.
    pub async fn with<T: Send + 'static>(
        &self,
        storage: &StorageName,
        path: &RelativePath,
        work: impl FnOnce(&Opened) -> T + Send + 'static,
    ) -> Result<T, OpenError> {
        let key = Key::new(storage, path);
        let (sender, receiver) = oneshot::channel();
        let visit: Visit = Box::new(move |opened| {
            if !sender.is_closed() {
                // The caller may leave while the work runs; then nobody wants the result.
                let _ = sender.send(opened.map(work));
            }
        });
        if self.shared.visits.join(&key, visit)? {
            let beginning = Beginning { shared: &self.shared, key };
            // Calls that arrived together share the look, too.
            tokio::task::yield_now().await;
            drop(beginning);
        }
        // A visit is dropped unmade only by a panic.
        receiver.await.map_err(|_| WorkerError::Panicked)?
    }

    /// Does `work` on the calling reactor, whose `glances` these are, if the repository is open, if
    /// the kernel's caches prove that it is as it was, and if the work needs nothing but what is in
    /// memory. Never waits for the file system. The work should end within 100 µs. `None` says
    /// nothing, and what the work made is lost; then [`Self::with`] tells.
    pub async fn at_once<T>(
        &self,
        glances: &Glances,
        storage: &StorageName,
        path: &RelativePath,
        work: impl FnOnce(&Opened) -> T,
    ) -> Option<T> {
        let key = Key::new(storage, path);
        let opened = glances.share(key, |key| self.shared.prove(key)).await?;
        at_once::attempt(|| work(&opened))
    }

    /// Whether a directory with `objects`, `refs` and `HEAD` stands at `path`, which is how Gitaly
    /// judges. It may still be damaged.
    pub async fn exists(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<bool, OpenError> {
        // Most ask for what exists and was asked for a moment ago: no worker has to wake up.
        if resolve::is_known(self.shared.root(storage)?, path) {
            return Ok(true);
        }
        let look = |shared: &Shared, key: &Key| match resolve::resolve(
            shared.root(&key.storage)?,
            &key.path,
        ) {
            Ok(found) => Ok(found.missing()?.is_none()),
            Err(OpenError::NotFound | OpenError::NotARepository { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        self.visit(storage, path, look).await?
    }

    /// How the repository names its objects; `None` if its format is newer than what is known here.
    pub async fn object_format(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<Option<ObjectFormat>, OpenError> {
        let look = |opened: &Opened| match opened.snapshot.unsupported {
            Some(Unsupported::FormatVersion | Unsupported::UnknownExtension) => None,
            Some(Unsupported::Sha256) => Some(ObjectFormat::Sha256),
            _ => Some(ObjectFormat::Sha1),
        };
        self.with(storage, path, look).await
    }

    /// Every storage and where it lies.
    pub fn storages(&self) -> &Storages {
        &self.shared.storages
    }

    async fn visit<T: Send + 'static>(
        &self,
        storage: &StorageName,
        path: &RelativePath,
        work: impl FnOnce(&Shared, &Key) -> T + Send + 'static,
    ) -> Result<T, WorkerError> {
        let key = Key::new(storage, path);
        let shared = Arc::clone(&self.shared);
        self.shared.workers.run(move || work(&shared, &key)).await
    }
}

/// The first of those who wait for a look sees to it, also where its own caller leaves.
struct Beginning<'s> {
    shared: &'s Arc<Shared>,
    key: Key,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        if Shared::begin_look(self.shared, self.key.clone()).is_err() {
            self.shared.visits.give_up(&self.key);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn begin_look(this: &Arc<Self>, key: Key) -> Result<(), WorkerError> {
        let shared = Arc::clone(this);
        this.workers.submit(move || Self::look(&shared, &key))
    }

    /// Opens a repository once for all who wait for it, and does what they want.
    fn look(this: &Arc<Self>, key: &Key) {
        let (waiting, look) = this.visits.look(key, || Self::begin_look(this, key.clone()));
        let opened = this.open(key);
        drop(look);
        match opened {
            Ok(opened) => Self::make_visits(this, opened, waiting),
            Err(error) => {
                for visit in waiting {
                    visit(Err(error.again()));
                }
            }
        }
    }

    fn make_visits(this: &Arc<Self>, opened: Opened, visits: Vec<Visit>) {
        let left = visits::make(&opened, visits);
        if left.is_empty() {
            return;
        }
        let shared = Arc::clone(this);
        let rest = Box::new(move || Self::make_visits(&shared, opened, left));
        // With a full queue there is no fairness to keep.
        if let Err(rest) = this.workers.offer(rest) {
            rest();
        }
    }

    fn root(&self, storage: &StorageName) -> Result<&Path, OpenError> {
        self.storages.root(storage).ok_or_else(|| OpenError::UnknownStorage(storage.clone()))
    }

    fn open(&self, key: &Key) -> Result<Opened, OpenError> {
        let repository = self.look_up(key)?;
        let snapshot = repository.snapshot().map_err(|error| self.judge(key, error))?;
        self.cache().weigh(key, snapshot.refs.len());
        Ok(Opened { repository, snapshot })
    }

    /// As [`Self::open`] for what is open already, without waiting for the file system.
    fn prove(&self, key: &Key) -> Option<Opened> {
        let root = self.root(&key.storage).ok()?;
        let identity = resolve::resolve_at_once(root, &key.path)?.identify().ok()?;
        // A worker that holds the lock may have much to throw away.
        let repository = self.cache.try_lock().ok()?.get(key, &identity)?;
        let snapshot = repository.snapshot_at_once()?;
        Some(Opened { repository, snapshot })
    }

    fn look_up(&self, key: &Key) -> Result<Arc<Repository>, OpenError> {
        let identity = resolve::resolve(self.root(&key.storage)?, &key.path)?.identify()?;
        if let Some(repository) = self.cache().get(key, &identity) {
            return Ok(repository);
        }
        let opened = Repository::open(identity.directory(), self.environment.clone());
        let repository = Arc::new(opened.map_err(|error| self.judge(key, error))?);
        // Before anybody reads its refs: an atomic push of a dead process may be there in half.
        write::finish(&repository).map_err(|error| self.judge(key, error))?;
        self.cache().put(key.clone(), identity, Arc::clone(&repository));
        Ok(repository)
    }

    /// What went wrong, seen from the storage: a repository that was there a moment ago may be
    /// gone by now.
    fn judge(&self, key: &Key, error: RepositoryError) -> OpenError {
        let look = || resolve::resolve(self.root(&key.storage)?, &key.path);
        match error {
            RepositoryError::Missing(_) => OpenError::NotFound,
            RepositoryError::NotARepository(_) => match look() {
                Ok(found) => OpenError::NotARepository { missing: found.missing().ok().flatten() },
                Err(error) => error,
            },
            other @ (RepositoryError::DubiousOwnership(_)
            | RepositoryError::Io { .. }
            | RepositoryError::Config(_)
            | RepositoryError::Refs(_)
            | RepositoryError::Store(_)) => OpenError::Repository(other),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl OpenError ===

impl OpenError {
    /// The same for another caller who waited for the same look.
    fn again(&self) -> Self {
        match self {
            Self::UnknownStorage(name) => Self::UnknownStorage(name.clone()),
            Self::NoStorage(path) => Self::NoStorage(path.clone()),
            Self::NotFound => Self::NotFound,
            Self::Outside => Self::Outside,
            Self::ObjectDirectory(error) => Self::ObjectDirectory(error.clone()),
            Self::NotARepository { missing } => Self::NotARepository { missing: *missing },
            Self::Io(error) => Self::Io(io::Error::new(error.kind(), error.to_string())),
            Self::Repository(error) => Self::Io(io::Error::other(log::chain(error))),
            Self::Workers(error) => Self::Workers(*error),
        }
    }
}

#[cfg(test)]
mod tests;
