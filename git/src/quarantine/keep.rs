//! `.keep` files: what `git repack` would otherwise drop before refs hold it.
//!
//! A pack that no ref leads to yet is dropped with its objects by a `git repack -a -d` that listed
//! refs before and packs behind the migration (git-index-pack(1), `--keep`).
//!
//! Always true: a `.keep` file of ours is locked as long as it is needed, by each push of that pack
//! that needs it, so one without a lock belonged to a dead process. The last of them removes it.
//! Never here: `.keep` files of git and of administrators, which keep the pack for us as well.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::disk::{self, Named};
use super::{QuarantineError, is_same_file, sweep};
use crate::files::FileCalls;

/// How often a file is looked for again that another push, or a sweep, is about to remove.
const ROUNDS_MAX: usize = 100;
const ROUND_PAUSE: Duration = Duration::from_millis(1);

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

    /// Gives the file `from` the name `to`, or shares the one that another push of the same pack has
    /// there; locked in either case.
    pub(super) fn hold(&mut self, from: &Path, to: &Path) -> Result<(), QuarantineError> {
        let failed = |error| QuarantineError::of("keep", to)(error);
        let own = File::open(from).map_err(QuarantineError::of("open", from))?;
        // Where locks do not work, no sweep takes the file for a dead one's either.
        flock(&own, FlockOperation::NonBlockingLockShared).unwrap_or_default();
        for _ in 0..ROUNDS_MAX {
            // Of what has gone a moment ago the name is free.
            if disk::name(&*self.calls, from, to).map_err(failed)? == Named::Now {
                self.files.push((to.to_owned(), own));
                return Ok(());
            }
            if !to.exists() {
                continue;
            }
            if !sweep::is_ours(to) {
                return Ok(());
            }
            if let Some(shared) = share(to).map_err(failed)? {
                self.files.push((to.to_owned(), shared));
                return Ok(());
            }
            std::thread::sleep(ROUND_PAUSE);
        }
        Err(failed(io::Error::from(io::ErrorKind::ResourceBusy)))
    }
}

/// Locks a file together with the push that it belongs to; `None` where somebody removes it.
fn share(path: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        Ok(()) | Err(_) => Ok(is_same_file(&file, path).then_some(file)),
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (path, file) in &self.files {
            let is_last = flock(file, FlockOperation::NonBlockingLockExclusive);
            // What stays behind is swept.
            if !matches!(is_last, Err(Errno::WOULDBLOCK)) && is_same_file(file, path) {
                self.calls.remove(path).unwrap_or_default();
            }
        }
    }
}
