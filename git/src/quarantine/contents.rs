//! What lies in a quarantine, and how it gets out.
//!
//! Always true: only loose objects and what belongs to packs leave; a pack's `.keep` goes before
//! it and its index last, so that nobody finds a pack that is not whole.
//! Never here: other files, which go with the quarantine.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::QuarantineError;
use super::disk::{self, Named};
use super::keep::Kept;
use crate::files::FileCalls;
use crate::object_sync;

/// How often a directory is made again that somebody keeps removing.
const DIRECTORY_TRIES_MAX: usize = 100;

/// Names, relative to an object directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// `ab`
    fan_out: BTreeSet<OsString>,
    /// `ab/cdef…`
    loose: Vec<PathBuf>,
    /// `pack/pack-….pack` and the like, in the order in which they may appear.
    packed: Vec<PathBuf>,
}

// === impl Contents ===

impl Contents {
    /// Lists what lies in `quarantine`.
    pub(super) fn of(quarantine: &Path) -> Result<Self, QuarantineError> {
        let mut contents = Self::default();
        for name in names(quarantine)? {
            let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
            if name.len() != 2 || !name.as_bytes().iter().all(is_hex) {
                continue;
            }
            for object in names(&quarantine.join(&name))? {
                // What a dead child left half written is called `tmp_obj_…`.
                if object.as_bytes().iter().all(is_hex) {
                    contents.loose.push(Path::new(&name).join(object));
                    contents.fan_out.insert(name.clone());
                }
            }
        }
        for name in names(&quarantine.join("pack"))? {
            if rank(&name).is_some() {
                contents.packed.push(Path::new("pack").join(name));
            }
        }
        contents.packed.sort_by_key(|path| path.file_name().and_then(rank));
        Ok(contents)
    }

    /// The files below `directory`.
    pub(super) fn files(&self, directory: &Path) -> Vec<PathBuf> {
        self.loose.iter().chain(&self.packed).map(|path| directory.join(path)).collect()
    }

    /// The directories of these files, and `directory`, which holds them.
    pub(super) fn directories(&self, directory: &Path) -> Vec<PathBuf> {
        let mut directories = vec![directory.to_owned()];
        directories.extend((!self.packed.is_empty()).then(|| directory.join("pack")));
        directories.extend(self.fan_out.iter().map(|name| directory.join(name)));
        directories
    }

    /// Moves all of it from `quarantine` to `objects`, durably.
    pub(super) fn migrate(
        &self,
        quarantine: &Path,
        objects: &Path,
        calls: &Arc<dyn FileCalls>,
    ) -> Result<Kept, QuarantineError> {
        let mut kept = Kept::new(Arc::clone(calls));
        for name in &self.fan_out {
            let path = objects.join(name);
            disk::ensure_dir(&**calls, &path).map_err(QuarantineError::of("create", &path))?;
        }
        if !self.packed.is_empty() {
            let path = objects.join("pack");
            disk::ensure_dir(&**calls, &path).map_err(QuarantineError::of("create", &path))?;
        }
        // Written by somebody else, who need not have synced them.
        let mut others = Vec::new();
        for path in self.loose.iter().chain(&self.packed) {
            let (from, to) = (quarantine.join(path), objects.join(path));
            if path.extension() == Some(OsStr::new("keep")) {
                kept.hold(&from, &to)?;
                continue;
            }
            let published = publish(&**calls, &from, &to);
            if published.map_err(QuarantineError::of("move", &from))? == Named::WasThere {
                others.push(to);
            }
        }
        sync_what_is_left(&**calls, &others).map_err(QuarantineError::of("sync", objects))?;
        self.sync_names(objects, &**calls).map_err(QuarantineError::of("sync", objects))?;
        object_sync::remember(calls, self.files(objects).iter());
        Ok(kept)
    }

    /// Also where another push made a directory: it may not be as far as to sync its name.
    fn sync_names(&self, objects: &Path, calls: &dyn FileCalls) -> io::Result<()> {
        sync_what_is_left(calls, &self.directories(objects))
    }
}

/// Files or directories may go: git has packed the objects meanwhile, on disk, and removed them.
fn sync_what_is_left(calls: &dyn FileCalls, paths: &[PathBuf]) -> io::Result<()> {
    match calls.sync_many(paths) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        synced => return synced,
    }
    for path in paths {
        match calls.sync(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Moves one file. Its directory, made a moment ago, may be gone: `git prune-packed` removes those
/// that it finds empty.
fn publish(calls: &dyn FileCalls, from: &Path, to: &Path) -> io::Result<Named> {
    for _ in 0..DIRECTORY_TRIES_MAX {
        match disk::name(calls, from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && from.exists() => {}
            moved => return moved,
        }
        if let Some(directory) = to.parent() {
            disk::ensure_dir(calls, directory)?;
        }
    }
    disk::name(calls, from, to)
}

/// The place of a pack's file in the order of appearance; `None` if it does not belong to a pack.
fn rank(name: &OsStr) -> Option<usize> {
    let path = Path::new(name);
    let extension = path.extension()?.to_str()?;
    let known = ["keep", "pack", "rev", "idx"].iter().position(|known| *known == extension)?;
    name.as_bytes().starts_with(b"pack-").then_some(known)
}

fn names(directory: &Path) -> Result<Vec<OsString>, QuarantineError> {
    let failed = |error| QuarantineError::of("list", directory)(error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name())).collect()
}
