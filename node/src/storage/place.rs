//! Where a repository stands or is to stand, for those who create and remove it.
//!
//! Always true: the parent lies in the storage, symbolic links followed, and not in the part that
//! belongs to the server.
//! Never here: what stands there.

use super::durable;
use super::path::INTERNAL;
use super::{RelativePath, StorageName, Storages};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Modes of Gitaly: directories that hold repositories, and the server's own.
const PARENT_MODE: u32 = 0o770;
const INTERNAL_MODE: u32 = 0o700;

#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    /// Of the directories above the repository the deepest that exists, without symbolic links.
    existing: PathBuf,
    /// The other directories above it, from the top.
    missing: Vec<OsString>,
    name: OsString,
}

/// Why nothing can be created or removed at a path.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// No storage has this name.
    #[error("no storage is named '{0}'")]
    UnknownStorage(StorageName),
    /// The storage's directory is not there.
    #[error("storage does not exist")]
    NoStorage(PathBuf),
    /// A symbolic link leads out of the storage.
    #[error("the path leads out of its storage")]
    Outside,
    /// The path lies in the part of the storage that belongs to the server.
    #[error("the path is reserved for the server")]
    Internal,
    /// The file system failed.
    #[error("look up the directory")]
    Io(#[from] io::Error),
}

// === impl Place ===

impl Place {
    /// The storage's directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// From there, without symbolic links; lossy where names are no text.
    pub(super) fn relative(&self) -> String {
        let mut path = self.existing.strip_prefix(&self.root).unwrap_or(Path::new("")).to_owned();
        path.extend(&self.missing);
        path.push(&self.name);
        path.to_string_lossy().into_owned()
    }

    /// Creates nothing.
    pub(super) fn of(
        storages: &Storages,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<Self, PlaceError> {
        let root = storages.root(storage);
        let root = root.ok_or_else(|| PlaceError::UnknownStorage(storage.clone()))?.to_owned();
        if path.is_internal() {
            return Err(PlaceError::Internal);
        }
        let mut names: Vec<_> = path.as_str().split('/').map(OsString::from).collect();
        let name = names.pop().unwrap_or_default();
        let mut missing = Vec::new();
        let existing = loop {
            let above: PathBuf = names.iter().collect();
            match canonicalize(&root.join(above)) {
                Ok(existing) => break existing,
                Err(error) if error.kind() == ErrorKind::NotFound => match names.pop() {
                    Some(absent) => missing.insert(0, absent),
                    None => return Err(PlaceError::NoStorage(root)),
                },
                Err(error) => return Err(error.into()),
            }
        };
        match existing.strip_prefix(&root) {
            Err(_) => Err(PlaceError::Outside),
            Ok(below) if below.starts_with(INTERNAL) => Err(PlaceError::Internal),
            Ok(_) => Ok(Self { root, existing, missing, name }),
        }
    }

    /// The directory of the repository itself.
    pub(super) fn target(&self) -> PathBuf {
        self.parent().join(&self.name)
    }

    pub(super) fn name(&self) -> &OsString {
        &self.name
    }

    /// Whether anything stands at the target, be it a link that leads nowhere.
    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    pub(super) fn is_taken(&self) -> io::Result<bool> {
        match std::fs::symlink_metadata(self.target()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates the directories above the target. They are not synced yet.
    pub(super) fn create_parents(&self) -> io::Result<()> {
        let mut path = self.existing.clone();
        for name in &self.missing {
            path.push(name);
            durable::create_dir(&path, PARENT_MODE)?;
        }
        Ok(())
    }

    /// Brings to stable storage that the target is, or is no more, in its parent, and the parents
    /// in theirs: all of them, since whoever created one may have been killed before it was synced.
    pub(super) fn sync(&self) -> io::Result<()> {
        durable::sync_up(&self.parent(), &self.root)
    }

    /// Where unfinished and abandoned things lie, created if it does not exist.
    pub(super) fn scratch(&self) -> io::Result<PathBuf> {
        make_scratch(&self.root)
    }

    fn parent(&self) -> PathBuf {
        self.missing.iter().fold(self.existing.clone(), |path, name| path.join(name))
    }
}

/// Where a storage keeps what is unfinished or abandoned: Gitaly's `+gitaly/tmp`.
pub(super) fn scratch(root: &Path) -> PathBuf {
    root.join(INTERNAL).join("tmp")
}

/// [`scratch`], made where it is not there yet.
pub fn make_scratch(root: &Path) -> io::Result<PathBuf> {
    let scratch = scratch(root);
    durable::create_dir(&root.join(INTERNAL), INTERNAL_MODE)?;
    durable::create_dir(&scratch, INTERNAL_MODE)?;
    Ok(scratch)
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}
