//! Removing what dead processes left behind.
//!
//! Always true: only what carries our mark and is not locked goes, under its lock. Who makes a
//! quarantine looks whether it is still there once it holds the lock.
//! Never here: what git leaves behind; `git gc` removes that once it is old.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{NAME, QuarantineError, is_same_file};
use crate::unpack::KEEP_MESSAGE;

/// Removes quarantines, and `.keep` files, of dead processes of ours below the object directory
/// `objects`: at most so many of both. Says how many.
///
/// # Errors
/// A directory that cannot be listed. What cannot be removed stays.
pub fn sweep(objects: &Path, removed_max: usize) -> Result<usize, QuarantineError> {
    let quarantines = each(objects, removed_max, |name, path| {
        name.as_bytes().starts_with(NAME.as_bytes())
            && take(path).is_some_and(|_lock| fs::remove_dir_all(path).is_ok())
    })?;
    let keeps = each(&objects.join("pack"), removed_max, |name, path| {
        name.as_bytes().ends_with(b".keep")
            && is_ours(path)
            && take(path).is_some_and(|_lock| fs::remove_file(path).is_ok())
    })?;
    Ok(quarantines + keeps)
}

/// Counts the entries of a directory for which `remove` is true, up to so many.
fn each(
    directory: &Path,
    removed_max: usize,
    remove: impl Fn(&OsStr, &Path) -> bool,
) -> Result<usize, QuarantineError> {
    let failed = |error| QuarantineError::of("list", directory)(error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    let mut removed = 0;
    for entry in entries {
        if removed >= removed_max {
            break;
        }
        let entry = entry.map_err(failed)?;
        removed += usize::from(remove(&entry.file_name(), &entry.path()));
    }
    Ok(removed)
}

/// The lock of what nobody holds any more.
fn take(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    is_same_file(&file, path).then_some(file)
}

pub(super) fn is_ours(path: &Path) -> bool {
    let mut message = String::new();
    let file = File::open(path).ok();
    let read = file.map(|file| file.take(64).read_to_string(&mut message));
    matches!(read, Some(Ok(_))) && message.trim_end() == KEEP_MESSAGE
}
