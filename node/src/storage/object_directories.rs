//! Where a push keeps its objects until it is accepted: object directories that clients name beside
//! a repository, as GitLab does in what it asks about a push.
//!
//! Always true: what [`ObjectDirectories::confine`] returns lies in the repository, symbolic links
//! followed, or is one of its alternates.
//! Never here: what the directories contain.

use super::cache::Key;
use super::{OpenError, Opened, RelativePath, Repositories, Shared, StorageName, resolve};
use gitring_git::objects::{Store, StoreOptions, listed};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Alternates in a request. git names one for each layer of a quarantine.
const ALTERNATES_MAX: usize = 64;

/// Object directories as a client names them, relative to the repository; not checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ObjectDirectories {
    /// Stands for the repository's own, where it is not empty (`GIT_OBJECT_DIRECTORY`).
    pub own: String,
    /// Searched besides (`GIT_ALTERNATE_OBJECT_DIRECTORIES`).
    pub alternates: Vec<String>,
}

/// Object directories that belong to the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfinedDirectories {
    /// Absolute, without symbolic links.
    pub own: Option<PathBuf>,
    /// Absolute, without symbolic links. Those that are not there are left out, as git does.
    pub alternates: Vec<PathBuf>,
}

/// Why object directories are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadObjectDirectory {
    /// It begins with a slash.
    #[error("object directory is absolute: {0:?}")]
    Absolute(String),
    /// It has `..` in it or leads out of the repository.
    #[error("object directory does not belong to the repository: {0:?}")]
    Outside(String),
    /// Nothing is there.
    #[error("object directory does not exist: {0:?}")]
    Missing(String),
    /// It contains NUL or is longer than any path.
    #[error("object directory is no path: {0:?}")]
    NoPath(String),
    /// There are too many.
    #[error("more than {ALTERNATES_MAX} alternate object directories")]
    TooMany,
    /// The file system failed.
    #[error("look up the object directory {0:?}: {1}")]
    Io(String, io::ErrorKind),
}

// === impl Repositories ===

impl Repositories {
    /// As [`Repositories::with`], reading objects from these directories if there are any; they must be the
    /// repository's. Nothing of that is kept: a push asks its questions and is gone.
    pub async fn with_objects<T: Send + 'static>(
        &self,
        storage: &StorageName,
        path: &RelativePath,
        objects: Option<&ObjectDirectories>,
        work: impl FnOnce(&Opened) -> T + Send + 'static,
    ) -> Result<T, OpenError> {
        let Some(objects) = objects.cloned() else { return self.with(storage, path, work).await };
        let look = move |opened: &Opened| {
            let objects = objects.confine(opened.repository.git_dir())?;
            let (own, alternates) = (objects.own.as_deref(), &objects.alternates);
            let snapshot = opened.snapshot.with_objects(own, alternates);
            let snapshot = snapshot.map_err(|error| OpenError::Repository(error.into()))?;
            let repository = Arc::clone(&opened.repository);
            Ok(work(&Opened { repository, snapshot: Arc::new(snapshot) }))
        };
        self.with(storage, path, look).await?
    }

    /// Where the repository is, without symbolic links, and where its objects are if these
    /// directories are to be read. Nothing of it is read, so it may be damaged.
    pub async fn locate(
        &self,
        storage: &StorageName,
        path: &RelativePath,
        objects: Option<ObjectDirectories>,
    ) -> Result<(PathBuf, ConfinedDirectories), OpenError> {
        let root = self.shared.root(storage)?;
        if objects.is_none() && resolve::is_known(root, path) {
            return Ok((root.join(path.as_str()), ConfinedDirectories::default()));
        }
        let look = move |shared: &Shared, key: &Key| {
            let found = resolve::resolve(shared.root(&key.storage)?, &key.path)?;
            if let Some(missing) = found.missing()? {
                return Err(OpenError::NotARepository { missing: Some(missing) });
            }
            let directory = found.into_directory();
            let objects = objects.unwrap_or_default().confine(&directory)?;
            Ok((directory, objects))
        };
        self.visit(storage, path, look).await?
    }
}

// === impl ObjectDirectories ===

impl ObjectDirectories {
    /// Whether the repository's own objects are meant, and no others.
    pub fn are_plain(&self) -> bool {
        self.own.is_empty() && self.alternates.is_empty()
    }

    /// Looks the directories up below `repository`, which has no symbolic links in it. Blocks.
    ///
    /// # Errors
    /// A directory that is not the repository's.
    pub fn confine(&self, repository: &Path) -> Result<ConfinedDirectories, BadObjectDirectory> {
        if self.alternates.len() > ALTERNATES_MAX {
            return Err(BadObjectDirectory::TooMany);
        }
        let mut confined = ConfinedDirectories::default();
        if !self.own.is_empty() {
            if Path::new(&self.own).components().any(|part| part == Component::ParentDir) {
                return Err(BadObjectDirectory::Outside(self.own.clone()));
            }
            let missing = || BadObjectDirectory::Missing(self.own.clone());
            let found = look_up(repository, &self.own)?.ok_or_else(missing)?;
            if !is_below(&found, repository) {
                return Err(BadObjectDirectory::Outside(self.own.clone()));
            }
            confined.own = Some(found);
        }
        // git reads over empty ones, too.
        for named in self.alternates.iter().filter(|named| !named.is_empty()) {
            let Some(found) = look_up(repository, named)? else { continue };
            if !is_below(&found, repository) && !is_alternate(&found, repository) {
                return Err(BadObjectDirectory::Outside(named.clone()));
            }
            confined.alternates.push(found);
        }
        Ok(confined)
    }
}

fn is_below(found: &Path, repository: &Path) -> bool {
    found != repository && found.starts_with(repository)
}

/// Whether the repository finds objects there by itself, through `objects/info/alternates`.
fn is_alternate(found: &Path, repository: &Path) -> bool {
    let options = StoreOptions { alternates: Vec::new(), commit_graph: false };
    let store = Store::open(&repository.join("objects"), &options);
    store.is_ok_and(|store| store.directories().any(|directory| directory == found))
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn look_up(repository: &Path, named: &str) -> Result<Option<PathBuf>, BadObjectDirectory> {
    if Path::new(named).is_absolute() {
        return Err(BadObjectDirectory::Absolute(named.to_owned()));
    }
    match repository.join(named).canonicalize() {
        Ok(found) => Ok(Some(found)),
        Err(error) => {
            let (kind, named) = (error.kind(), named.to_owned());
            let is_absent = matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
            if is_absent {
                return Ok(None);
            }
            let is_no_path =
                matches!(kind, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename);
            Err(if is_no_path {
                BadObjectDirectory::NoPath(named)
            } else {
                BadObjectDirectory::Io(named, kind)
            })
        }
    }
}

// === impl ConfinedDirectories ===

impl ConfinedDirectories {
    /// The variables that tell git (git(1)).
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables = Vec::new();
        if let Some(own) = &self.own {
            variables.push(("GIT_OBJECT_DIRECTORY".into(), own.into()));
        }
        if !self.alternates.is_empty() {
            let listed = self.alternates.iter().map(|path| listed(path.as_os_str()));
            let listed: Vec<_> = listed.collect();
            let listed = listed.join(OsStr::new(":"));
            variables.push(("GIT_ALTERNATE_OBJECT_DIRECTORIES".into(), listed));
        }
        variables
    }
}

#[cfg(test)]
mod tests;
