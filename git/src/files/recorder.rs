//! File calls that are carried out and written down, for tests: what of them a loss of power at any
//! moment may have left can be told and built afterwards.
//!
//! ```text
//! Recorder ─ history   which calls there were, as changes of names and contents
//!          └ remains   what is left of them, by a seed
//! ```
//!
//! Always true: calls are written down in the order in which they took effect, also those of several
//! threads; what had been there before the recorder is on disk.
//! Never here: what should be left. Never: production code, which has no reason to write down.

mod history;
mod remains;
#[cfg(test)]
mod tests;

pub(crate) use remains::{Loss, Remains};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FileCalls, System};
use history::History;

/// Carries calls out below one directory and writes them down. Syncs are only written down.
#[derive(Debug)]
pub(crate) struct Recorder {
    system: Arc<dyn FileCalls>,
    history: Mutex<History>,
}

// === impl Recorder ===

impl Recorder {
    /// Takes what lies below `root` for what is on disk, but for the names in `left_out` at its
    /// top, of which nothing is known: whoever builds remains puts them there.
    ///
    /// # Errors
    /// What stands in the way of reading it.
    pub(crate) fn new(root: &Path, left_out: &[&str]) -> io::Result<Arc<Self>> {
        let history = Mutex::new(History::of(root, left_out)?);
        Ok(Arc::new(Self { system: System::volatile(), history }))
    }

    /// How many changes were written down: each is a moment at which power may fail.
    pub(crate) fn moments(&self) -> usize {
        self.lock().moments()
    }

    /// Takes what another process has made at `path` and below for made, not synced.
    ///
    /// # Errors
    /// What stands in the way of reading it.
    pub(crate) fn adopt(&self, path: &Path) -> io::Result<()> {
        self.lock().adopt(path)
    }

    /// What may be left if power fails after so many changes. The same for the same seed.
    pub(crate) fn remains(&self, moment: usize, loss: Loss, seed: u64) -> Remains {
        Remains::of(&self.lock(), moment, loss, seed)
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out and writes down what worked, with nobody in between.
    fn done<T>(
        &self,
        call: impl FnOnce() -> io::Result<T>,
        note: impl FnOnce(&mut History),
    ) -> io::Result<T> {
        let mut history = self.lock();
        let result = call()?;
        note(&mut history);
        Ok(result)
    }
}

impl FileCalls for Recorder {
    fn create_new(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let call = || self.system.create_new(path, content, mode);
        self.done(call, |history| history.created(path, content.to_vec()))
    }

    fn append(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let is_new = !path.exists();
        self.done(
            || self.system.append(path, content),
            |history| {
                if is_new {
                    history.created(path, content.to_vec());
                } else {
                    history.appended(path, content);
                }
            },
        )
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.done(|| self.system.link(from, to), |history| history.linked(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.done(|| self.system.rename(from, to), |history| history.renamed(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.done(|| self.system.remove(path), |history| history.removed(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.done(|| self.system.create_dir(path), |history| history.created_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.done(|| self.system.remove_dir(path), |history| history.removed(path))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.done(|| fs::symlink_metadata(path).map(drop), |history| history.synced(path))
    }

    fn sync_many(&self, paths: &[PathBuf]) -> io::Result<()> {
        paths.iter().try_for_each(|path| self.sync(path))
    }
}
