//! What is stored under a name now: loose, then packed.
//!
//! Always true: `packed-refs` is opened after the loose refs were looked at, so a ref that is packed
//! meanwhile is found.
//! Never here: locks; what is read without one may have changed.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};

use super::packed_search::{Packed, PackedLater};
use super::{PrepareError, RefFiles};
use crate::ObjectId;
use crate::refs::loose::{self, Value};
use crate::refs::name;

/// Names read on the way along symbolic refs, as in git.
pub(super) const SYMBOLIC_DEPTH_MAX: usize = 5;

/// What lies at a ref's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loose {
    Absent,
    Directory,
    Value(Value),
}

/// Looks at the path of a ref.
pub(super) fn loose(files: &RefFiles, name: &BStr) -> io::Result<Loose> {
    let path = files.file(name);
    let value = match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => return Ok(Loose::Directory),
        Ok(found) if found.is_symlink() => loose::read_value(&path)?,
        Ok(_) => loose::read_plain(&path)?,
        Err(error) if is_absent(&error) => return Ok(Loose::Absent),
        Err(error) => return Err(error),
    };
    Ok(value.map_or(Loose::Absent, Loose::Value))
}

/// The object that a name stands for in the end; none if there is none.
pub(super) fn resolve(files: &RefFiles, name: &BStr) -> Result<Option<ObjectId>, PrepareError> {
    let mut at = name.to_owned();
    for _ in 0..SYMBOLIC_DEPTH_MAX {
        if !name::is_valid(&at) {
            return Ok(None);
        }
        match loose(files, at.as_bstr()).map_err(|error| failed(files, at.as_bstr(), error))? {
            Loose::Value(Value::Direct(id)) => return Ok(Some(id)),
            Loose::Value(Value::Symbolic(target)) => at = target,
            Loose::Value(Value::Broken) => return Ok(None),
            Loose::Absent | Loose::Directory => {
                return Ok(Packed::open(&files.packed(), false)?.get(at.as_bstr())?);
            }
        }
    }
    Ok(None)
}

/// A ref that is in the way of `name`: one whose name is the beginning of it, or begins with it.
pub(super) fn in_the_way(
    files: &RefFiles,
    packed: &PackedLater,
    name: &BStr,
) -> Result<Option<BString>, PrepareError> {
    let packed = packed.opened()?;
    for at in name.find_iter(b"/") {
        let prefix = name[..at].as_bstr();
        let is_loose = loose(files, prefix).is_ok_and(|found| matches!(found, Loose::Value(_)));
        if is_loose || packed.get(prefix)?.is_some() {
            return Ok(Some(prefix.to_owned()));
        }
    }
    let mut below = name.to_owned();
    below.push(b'/');
    if let Some(found) = packed.first_below(below.as_bstr())? {
        return Ok(Some(found));
    }
    Ok(first_file(&files.file(name), &below))
}

/// Removes `directory` if nothing but empty directories lies below. Whether it is gone.
pub(super) fn remove_empty(files: &RefFiles, directory: &Path) -> bool {
    if let Ok(entries) = fs::read_dir(directory) {
        for entry in entries.flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_dir || !remove_empty(files, &entry.path()) {
                return false;
            }
        }
    }
    match files.calls.remove_dir(directory) {
        Ok(()) => true,
        Err(error) => is_absent(&error),
    }
}

pub(super) fn failed(files: &RefFiles, name: &BStr, source: io::Error) -> PrepareError {
    PrepareError::Io { name: name.to_owned(), path: files.file(name), source }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The first loose ref below a directory.
fn first_file(directory: &Path, prefix: &BString) -> Option<BString> {
    for entry in fs::read_dir(directory).ok()?.flatten() {
        let mut name = prefix.clone();
        name.extend_from_slice(entry.file_name().as_bytes());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            name.push(b'/');
            if let Some(found) = first_file(&entry.path(), &name) {
                return Some(found);
            }
        } else if !name.ends_with(b".lock") {
            return Some(name);
        }
    }
    None
}
