//! Directories and names that a migration makes.
//!
//! Always true: what is there already is not replaced.
//! Never here: syncs, and what the files are.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::files::FileCalls;

/// Permissions that a shared repository gives to directories: group, others, and the group's id.
const SHARED_BITS: u32 = 0o2_077;

/// How a file got its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Now,
    /// Another file has it.
    WasThere,
}

/// Makes one directory where there is none, as open to others as its parent is
/// (`core.sharedRepository`).
pub(super) fn ensure_dir(calls: &dyn FileCalls, path: &Path) -> io::Result<()> {
    match calls.create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    match share(path) {
        // `git prune-packed` removes directories that it finds empty.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        shared => shared,
    }
}

fn share(path: &Path) -> io::Result<()> {
    let parent = fs::metadata(path.parent().unwrap_or(path))?.mode();
    let own = fs::metadata(path)?.mode();
    if parent & SHARED_BITS & !own != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(own | parent & SHARED_BITS))?;
    }
    Ok(())
}

/// Gives a file a name in the repository; where that is taken, nothing happens. Its name in the
/// quarantine goes with that, or at once where a file has one name only.
pub(super) fn name(calls: &dyn FileCalls, from: &Path, to: &Path) -> io::Result<Named> {
    match calls.link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Named::WasThere),
        // Not on every file system. Equal names are equal objects, so nothing is lost by a race.
        Err(_) if !to.exists() => calls.rename(from, to).map(|()| Named::Now),
        named => named.map(|()| Named::Now),
    }
}
