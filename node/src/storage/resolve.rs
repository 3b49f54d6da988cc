//! From a repository's path to the directory that stands there.
//!
//! Always true: what is found lies below its storage, symbolic links followed. All of it blocks,
//! but for [`resolve_at_once`] and [`is_known`].
//! Never here: what the directory holds, but for the names that make it a repository.

use super::cache::Identity;
use super::{OpenError, RelativePath};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, open, openat2, statat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What Gitaly looks for, in its order: without one of them a directory is no repository.
const ENTRIES: [&str; 3] = ["objects", "refs", "HEAD"];

/// A directory below a storage, held by a descriptor that can only be looked through.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Without symbolic links.
    directory: PathBuf,
    descriptor: OwnedFd,
}

/// Blocks. Three system calls for a path without symbolic links; every component is looked at
/// where there is one.
pub(super) fn resolve(root: &Path, path: &RelativePath) -> Result<Resolved, OpenError> {
    let directory = root.join(path.as_str());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(CWD, &directory, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // The path has no links and no `..`: it says itself where it leads.
        Ok(descriptor) => Ok(Resolved { directory, descriptor }),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Err(absent(root)),
        // A link (ELOOP), a file (ENOTDIR), or no openat2: kernels before 5.6 and some sandboxes.
        Err(_) => follow(root, &directory),
    }
}

/// As [`resolve`], from the kernel's cache of names alone (`RESOLVE_CACHED`, openat2(2), since Linux
/// 5.12): never waits, so a reactor may ask. `None` says nothing.
pub(super) fn resolve_at_once(root: &Path, path: &RelativePath) -> Option<Resolved> {
    let directory = root.join(path.as_str());
    let descriptor = look_at_once(CWD, &directory, OFlags::DIRECTORY)?;
    Some(Resolved { directory, descriptor })
}

/// Whether a repository is at `path` for certain, told like [`resolve_at_once`]. `false` says
/// nothing.
pub(super) fn is_known(root: &Path, path: &RelativePath) -> bool {
    resolve_at_once(root, path).is_some_and(|found| {
        let is_there =
            |name| look_at_once(found.descriptor.as_fd(), Path::new(name), OFlags::empty());
        ENTRIES.iter().all(|name| is_there(name).is_some())
    })
}

fn look_at_once(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Option<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    openat2(directory, path, flags, Mode::empty(), resolve).ok()
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn follow(root: &Path, path: &Path) -> Result<Resolved, OpenError> {
    let directory = path.canonicalize().map_err(|error| {
        // A component that is a file, or longer than any name can be: nothing is there either.
        let is_absent = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
        );
        if is_absent { absent(root) } else { OpenError::Io(error) }
    })?;
    if directory == root || !directory.starts_with(root) {
        return Err(OpenError::Outside);
    }
    match open(&directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(descriptor) => Ok(Resolved { directory, descriptor }),
        Err(Errno::NOTDIR) => Err(OpenError::NotARepository { missing: None }),
        Err(Errno::NOENT) => Err(absent(root)),
        Err(error) => Err(OpenError::Io(error.into())),
    }
}

/// A storage that is not mounted has lost nothing: that must not look like a missing repository.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn absent(root: &Path) -> OpenError {
    if root.is_dir() { OpenError::NotFound } else { OpenError::NoStorage(root.to_owned()) }
}

// === impl Resolved ===

impl Resolved {
    pub(super) fn identify(self) -> io::Result<Identity> {
        Identity::of(self.directory, &self.descriptor)
    }

    /// Its path, without symbolic links.
    pub(super) fn into_directory(self) -> PathBuf {
        self.directory
    }

    /// The first entry that the directory would need to be a repository.
    pub(super) fn missing(&self) -> io::Result<Option<&'static str>> {
        for entry in ENTRIES {
            match statat(&self.descriptor, entry, AtFlags::empty()) {
                Ok(_) => {}
                Err(Errno::NOENT) => return Ok(Some(entry)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}
