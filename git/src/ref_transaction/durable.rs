//! Which directories have to be synced for a file to be found after a loss of power.
//!
//! Always true: of a ref's file those are its directory, and for each directory up to the git
//! directory the one that holds its name, whoever made it; what this process has synced once is
//! known.
//! Never here: contents.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice};

use super::RefFiles;
use super::session::{Directory, Session};

/// Directories to sync.
#[derive(Debug, Default)]
pub(super) struct Directories {
    paths: BTreeSet<PathBuf>,
    learned: Vec<Directory>,
}

// === impl Directories ===

impl Directories {
    /// The directory of a ref, and those above whose names may not be on disk.
    pub(super) fn add_ref(&mut self, files: &RefFiles, session: Option<&Session>, name: &BStr) {
        let file = files.file(name);
        let mut directory = file.parent().unwrap_or(&file).to_path_buf();
        self.paths.insert(directory.clone());
        let levels = name.find_iter(b"/").count();
        for _ in 0..levels {
            let Some(parent) = directory.parent().map(Path::to_path_buf) else { return };
            // One that went meanwhile has nothing in it.
            if let Ok(found) = directory.metadata() {
                // Without a birth nobody can tell it from the next one: it is synced each time.
                let born = found.created().ok();
                let known = born.map(|born| (found.dev(), found.ino(), born));
                let is_durable = |known| session.is_some_and(|session| session.is_durable(known));
                if !known.as_ref().is_some_and(is_durable) {
                    self.paths.insert(parent.clone());
                    self.learned.extend(known);
                }
            }
            directory = parent;
        }
    }

    /// Any directory.
    pub(super) fn add(&mut self, path: PathBuf) {
        self.paths.insert(path);
    }

    /// Syncs all of them, for a directory that is gone the one that lost its name; and `files`.
    pub(super) fn sync(
        self,
        files: &RefFiles,
        session: Option<&Session>,
        mut paths: Vec<PathBuf>,
    ) -> Result<(), (PathBuf, io::Error)> {
        // Deepest first: names last.
        paths.extend(self.paths.iter().rev().cloned());
        let first = paths.first().cloned().unwrap_or_default();
        match files.calls.sync_many(&paths) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                for path in &paths {
                    sync_nearest(files, path).map_err(|error| (path.clone(), error))?;
                }
            }
            Err(error) => return Err((first, error)),
        }
        if let Some(session) = session {
            session.remember(self.learned.into_iter());
        }
        Ok(())
    }
}

fn sync_nearest(files: &RefFiles, path: &Path) -> io::Result<()> {
    let mut at = path;
    loop {
        match (files.calls.sync(at), at.parent()) {
            (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => at = parent,
            (result, _) => return result,
        }
    }
}
