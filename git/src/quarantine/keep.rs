//! `.keep` files: what `git repack` would otherwise drop before refs hold it.
//!
//! A pack that no ref leads to yet is dropped with its objects by a `git repack -a -d` that listed
//! refs before and packs behind the migration (git-index-pack(1), `--keep`).
//!
//! Always true: a `.keep` file of ours is locked as long as it is needed, so one without a lock
//! belonged to a dead process.
//! Never here: `.keep` files of git and of administrators.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::QuarantineError;
use crate::files::FileCalls;

/// Packs that are kept until this is dropped. Blocks on the file system then.
#[derive(Debug)]
#[must_use = "packs are kept only as long as this lives"]
pub struct Kept {
    calls: Arc<dyn FileCalls>,
    files: Vec<(PathBuf, File)>,
}

// === impl Kept ===

impl Kept {
    pub(super) fn new(calls: Arc<dyn FileCalls>) -> Self {
        Self { calls, files: Vec::new() }
    }

    /// Locks the file `from`, which will be `to`.
    pub(super) fn hold(&mut self, from: &Path, to: &Path) -> Result<(), QuarantineError> {
        let file = File::open(from).map_err(QuarantineError::of("open", from))?;
        // Where locks do not work, no sweep takes the file for a dead one's either.
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap_or_default();
        self.files.push((to.to_owned(), file));
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (path, file) in &self.files {
            // Of two pushes of the same pack, only one moved its file there.
            if super::is_same_file(file, path) {
                // What stays behind is swept.
                self.calls.remove(path).unwrap_or_default();
            }
        }
    }
}
