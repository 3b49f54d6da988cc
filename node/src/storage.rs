//! Storages and the repositories in them.
//!
//! Always true: what [`Repositories::open`] returns lies inside its storage, symbolic links
//! followed, and is the directory that stood at the path when it was asked.
//! Never here: a protocol. Paths are parsed once, by [`RelativePath::parse`], at the door.

mod cache;
mod path;

pub use self::path::{BadRelativePath, RelativePath};

use self::cache::{Cache, CacheLimits, Identity, Key};
use crate::reactor::workers::{WorkerError, Workers};
use gitring_git::repository::{Environment, Repository, RepositoryError, Snapshot};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Repositories kept open. An idle one costs its ref snapshot and its maps.
const CACHE_ENTRIES_MAX: usize = 4096;
/// Refs in their snapshots: about 250 MB.
const CACHE_REFS_MAX: usize = 1_000_000;

/// The name of a storage: not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageName(String);

/// One `[[storage]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// What clients call it.
    pub name: String,
    /// An existing directory.
    pub path: PathBuf,
}

/// What is wrong with one `[[storage]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfigError {
    /// Which of them, counted from 0.
    pub index: usize,
    /// `name` or `path`.
    pub key: &'static str,
    /// What is wrong, and what is allowed.
    pub what: String,
}

/// Every storage of this node, by name.
#[derive(Debug, Clone)]
pub struct Storages {
    roots: BTreeMap<StorageName, PathBuf>,
}

/// Why a repository could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No storage has this name.
    #[error("no storage is named '{0}'")]
    UnknownStorage(StorageName),
    /// Nothing stands at the path.
    #[error("no such repository")]
    NotFound,
    /// A symbolic link leads out of the storage.
    #[error("the path leads out of its storage")]
    Outside,
    /// Something stands at the path, but no repository.
    #[error("not a git repository")]
    NotARepository,
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
#[derive(Debug)]
pub struct Opened {
    /// The repository.
    pub repository: Arc<Repository>,
    /// Its refs, configuration and objects.
    pub snapshot: Arc<Snapshot>,
}

/// Opened repositories, shared by all reactors.
#[derive(Debug, Clone)]
pub struct Repositories {
    storages: Storages,
    environment: Environment,
    workers: Workers,
    cache: Arc<Mutex<Cache>>,
}

// === impl StorageName ===

impl StorageName {
    /// `None` for the empty name.
    pub fn parse(name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

// === impl Storages ===

impl Storages {
    /// Checks what the configuration says: names unique and not empty, paths existing directories
    /// of which none lies in another. Two names may share one path, as in Gitaly 16.7.
    pub fn new(configs: &[StorageConfig]) -> Result<Self, StorageConfigError> {
        let mut roots = BTreeMap::<StorageName, PathBuf>::new();
        for (index, config) in configs.iter().enumerate() {
            let wrong = |key, what| StorageConfigError { index, key, what };
            let Some(name) = StorageName::parse(&config.name) else {
                return Err(wrong("name", "is empty, allowed: any other name".to_owned()));
            };
            #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
            let root = config.path.canonicalize().map_err(|error| {
                let path = config.path.display();
                wrong("path", format!("{path}: {error}, allowed: an existing directory"))
            })?;
            #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
            if !root.is_dir() {
                let what = format!("{} is no directory", root.display());
                return Err(wrong("path", format!("{what}, allowed: an existing directory")));
            }
            if let Some((other, _)) = roots.iter().find(|(_, other)| nested(&root, other)) {
                let what = format!("{} and that of storage '{other}' are nested", root.display());
                return Err(wrong("path", format!("{what}, allowed: separate directories")));
            }
            if roots.insert(name, root).is_some() {
                let what = format!("'{}' is taken, allowed: a name used once", config.name);
                return Err(wrong("name", what));
            }
        }
        Ok(Self { roots })
    }

    /// Where a storage lies, as a path without symbolic links.
    pub fn root(&self, name: &StorageName) -> Option<&Path> {
        self.roots.get(name).map(PathBuf::as_path)
    }
}

fn nested(a: &Path, b: &Path) -> bool {
    a != b && (a.starts_with(b) || b.starts_with(a))
}

// === impl Repositories ===

impl Repositories {
    /// `environment` is what every repository is opened with.
    pub fn new(storages: Storages, environment: Environment, workers: Workers) -> Self {
        let cache = Arc::new(Mutex::new(Cache::new(CacheLimits {
            entries_max: CACHE_ENTRIES_MAX,
            refs_max: CACHE_REFS_MAX,
        })));
        Self { storages, environment, workers, cache }
    }

    /// The repository at `path` as it is now, in one visit to a worker: the path is looked up each
    /// time, which is what notices that a repository was deleted and created again.
    pub async fn open(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<Opened, OpenError> {
        let Some(root) = self.storages.root(storage) else {
            return Err(OpenError::UnknownStorage(storage.clone()));
        };
        let (root, this) = (root.to_owned(), self.clone());
        let key = Key { storage: storage.clone(), path: path.clone() };
        let work = move || {
            let repository = this.look_up(key.clone(), &root)?;
            let snapshot = repository.snapshot().map_err(OpenError::of)?;
            this.lock().weigh(&key, snapshot.refs.len());
            Ok(Opened { repository, snapshot })
        };
        self.workers.run(work).await?
    }

    fn look_up(&self, key: Key, root: &Path) -> Result<Arc<Repository>, OpenError> {
        let directory = resolve(root, &key.path)?;
        let identity = Identity::of(directory)?;
        if let Some(repository) = self.lock().get(&key, &identity) {
            return Ok(repository);
        }
        let opened = Repository::open(identity.directory(), self.environment.clone());
        let repository = Arc::new(opened.map_err(OpenError::of)?);
        self.lock().put(key, identity, Arc::clone(&repository));
        Ok(repository)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn resolve(root: &Path, path: &RelativePath) -> Result<PathBuf, OpenError> {
    let directory = root.join(path.as_str()).canonicalize().map_err(|error| {
        // A component that is a file, or longer than any name can be: nothing is there either.
        let absent = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
        );
        if absent { OpenError::NotFound } else { OpenError::Io(error) }
    })?;
    if directory == root || !directory.starts_with(root) {
        return Err(OpenError::Outside);
    }
    if !directory.is_dir() {
        return Err(OpenError::NotARepository);
    }
    Ok(directory)
}

// === impl OpenError ===

impl OpenError {
    fn of(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Missing(_) => Self::NotFound,
            RepositoryError::NotARepository(_) => Self::NotARepository,
            other @ (RepositoryError::DubiousOwnership(_)
            | RepositoryError::Io { .. }
            | RepositoryError::Config(_)
            | RepositoryError::Refs(_)
            | RepositoryError::Store(_)) => Self::Repository(other),
        }
    }
}

#[cfg(test)]
mod tests;
