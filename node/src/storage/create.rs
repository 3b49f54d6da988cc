//! Creating a repository.
//!
//! Always true: the repository appears whole and durable, or not at all; what stands at its path
//! already is never replaced. A process killed half way leaves at most a directory below
//! `+gitaly/tmp`, which is swept, a lock file that the next creator takes over, and empty parents.
//! Whoever prepares one may ask others before it is published.
//! Never here: votes.

use super::lock::{Lock, LockError};
use super::place::{Place, PlaceError};
use super::{Key, ObjectFormat, RelativePath, Repositories, Shared, StorageName, durable};
use crate::reactor::workers::WorkerError;
use gitring_git::refs::name;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The branch HEAD points to unless the caller names another: Gitaly's.
const DEFAULT_BRANCH: &str = "main";

/// Directories of an empty repository, each after the one it lies in.
const DIRECTORIES: [&str; 6] =
    ["objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"];
/// Its time stamp says when all was last repacked. Without it Gitaly's housekeeping would repack a
/// new repository at once.
const REPACK_STAMP: &str = ".gitaly-full-repack-timestamp";

/// What a new repository is like.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// How it names its objects.
    pub object_format: ObjectFormat,
    /// The branch HEAD points to, without `refs/heads/`; `main` if it is empty.
    pub default_branch: Vec<u8>,
}

/// Why a repository was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Nothing can be created there.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Something stands there already.
    #[error("repository exists already")]
    Exists,
    /// Somebody else creates or removes it.
    #[error("the repository is locked")]
    Locked,
    /// The branch's name is none.
    #[error("invalid initial branch name: '{0}'")]
    BadBranch(String),
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

/// A repository that is built, durable and locked, and not visible yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Creation {
    /// `None` once it has come to its end.
    prepared: Option<Prepared>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Prepared {
    place: Place,
    /// `None` once it is published.
    built: Option<TempDir>,
    content: Vec<u8>,
    _lock: Lock,
}

// === impl Repositories ===

impl Repositories {
    /// Builds an empty bare repository, as `git init --bare` with an empty template does, and locks
    /// its path. Nobody sees it before [`Creation::publish`].
    pub async fn prepare_creation(
        &self,
        storage: &StorageName,
        path: &RelativePath,
        options: CreateOptions,
    ) -> Result<Creation, CreateError> {
        let shared = Arc::clone(&self.shared);
        // Whole at once: a caller that leaves must not leave a repository behind.
        let prepare = move |visited: &Shared, key: &Key| {
            let prepared = visited.prepare_creation(key, &options)?;
            Ok(Creation { prepared: Some(prepared), shared })
        };
        self.visit(storage, path, prepare).await?
    }

    /// Creates a repository as above. When it returns successfully the repository is on stable
    /// storage.
    #[cfg(test)]
    pub(super) async fn create(
        &self,
        storage: &StorageName,
        path: &RelativePath,
        options: CreateOptions,
    ) -> Result<(), CreateError> {
        let mut creation = self.prepare_creation(storage, path, options).await?;
        creation.publish().await?;
        creation.release().await
    }
}

// === impl Creation ===

impl Creation {
    /// Contents of its files outside `objects`, in the order of their names.
    pub fn content(&self) -> &[u8] {
        self.prepared.as_ref().map(|prepared| &*prepared.content).unwrap_or_default()
    }

    /// Moves it into place. When it returns successfully the repository is on stable storage; its
    /// path stays locked.
    pub async fn publish(&mut self) -> Result<(), CreateError> {
        let Some(mut prepared) = self.prepared.take() else { return Ok(()) };
        // Where it fails, all of it goes before the caller hears of it.
        let publish = move || prepared.publish().map(|()| prepared);
        let prepared = self.shared.workers.run(publish).await??;
        if let Some(counts) = self.shared.counts.get() {
            counts.changed(&prepared.place, 1);
        }
        self.prepared = Some(prepared);
        Ok(())
    }

    /// Unlocks its path. What was not published is gone.
    pub async fn release(mut self) -> Result<(), CreateError> {
        match self.prepared.take() {
            Some(prepared) => Ok(self.shared.workers.run(move || drop(prepared)).await?),
            None => Ok(()),
        }
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        let Some(prepared) = self.prepared.take() else { return };
        // Files are unlinked, which no reactor waits for.
        if let Err(refused) = self.shared.workers.offer(Box::new(move || drop(prepared))) {
            refused();
        }
    }
}

// === impl Prepared ===

impl Prepared {
    fn publish(&mut self) -> Result<(), CreateError> {
        let Some(built) = self.built.take() else { return Ok(()) };
        publish(built, &self.place)?;
        self.place.sync().map_err(CreateError::at("sync the directories above"))
    }
}

// === impl Shared ===

impl Shared {
    fn prepare_creation(
        &self,
        key: &Key,
        options: &CreateOptions,
    ) -> Result<Prepared, CreateError> {
        let head = head(&options.default_branch)?;
        let place = Place::of(&self.storages, &key.storage, &key.path)?;
        refuse_taken(&place)?;
        let built = place.scratch().and_then(|scratch| build(&scratch, options, &head));
        let built = built.map_err(CreateError::at("build the repository"))?;
        place.create_parents().map_err(CreateError::at("create the directories above"))?;
        let lock = Lock::take(&place.target())?;
        // Checked again: it may have been created before the lock was taken.
        refuse_taken(&place)?;
        let content = [&*head, config(options.object_format).as_bytes()].concat();
        Ok(Prepared { place, built: Some(built), content, _lock: lock })
    }
}

fn refuse_taken(place: &Place) -> Result<(), CreateError> {
    let is_taken = place.is_taken().map_err(CreateError::at("look for the repository"))?;
    if is_taken { Err(CreateError::Exists) } else { Ok(()) }
}

/// Content of HEAD.
fn head(branch: &[u8]) -> Result<Vec<u8>, CreateError> {
    let branch = if branch.is_empty() { DEFAULT_BRANCH.as_bytes() } else { branch };
    let target = [b"refs/heads/", branch].concat();
    if !name::is_valid(&target) {
        return Err(CreateError::BadBranch(String::from_utf8_lossy(branch).into_owned()));
    }
    Ok([b"ref: ", target.as_slice(), b"\n"].concat())
}

/// Content of `config`, byte for byte as git writes it: nodes vote on its hash.
fn config(format: ObjectFormat) -> String {
    let (version, extension) = match format {
        ObjectFormat::Sha1 => (0, ""),
        ObjectFormat::Sha256 => (1, "[extensions]\n\tobjectformat = sha256\n"),
    };
    let core = format!("\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = true\n");
    format!("[core]\n{core}{extension}")
}

/// A repository in a directory of its own, durable but for that directory's name.
fn build(scratch: &Path, options: &CreateOptions, head: &[u8]) -> io::Result<TempDir> {
    // The mode is what a repository of Gitaly's has.
    let mode = Permissions::from_mode(0o700);
    let built = tempfile::Builder::new().prefix("repo").permissions(mode).tempdir_in(scratch)?;
    let at = |name: &str| built.path().join(name);
    for directory in DIRECTORIES {
        durable::create_dir(&at(directory), 0o777)?;
    }
    durable::write(&at("HEAD"), head, 0o666)?;
    durable::write(&at("config"), config(options.object_format).as_bytes(), 0o666)?;
    durable::write(&at(REPACK_STAMP), b"", 0o600)?;
    DIRECTORIES.iter().rev().try_for_each(|directory| durable::sync(&at(directory)))?;
    durable::sync(built.path())?;
    Ok(built)
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn publish(built: TempDir, place: &Place) -> Result<(), CreateError> {
    let target = place.target();
    // Plain rename would replace an empty directory.
    match renameat_with(CWD, built.path(), CWD, &target, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(CreateError::Exists),
        // Some network file systems lack it; the lock keeps other creators out.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(built.path(), &target)
            .map_err(CreateError::at("move the repository into place"))?,
        Err(error) => return Err(CreateError::at("move the repository into place")(error.into())),
    }
    // What it guarded is elsewhere by now.
    let _ = built.keep();
    Ok(())
}

// === impl CreateError ===

impl CreateError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

impl From<LockError> for CreateError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held => Self::Locked,
            LockError::Io(source) => Self::Io { step: "lock the repository", source },
        }
    }
}

#[cfg(test)]
mod tests;
