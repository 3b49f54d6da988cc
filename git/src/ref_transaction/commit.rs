//! Committing: renames, removals, syncs of directories.
//!
//! Always true: of several changes none is visible before all are decided on disk, and no ref is
//! unlocked before all are there; the packed value of a ref that goes is gone from disk before
//! its loose one is removed, so that no old value comes back.
//! Never here: writing of values.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};

use super::durable::Directories;
use super::session::Session;
use super::{CommitError, Prepared, Ready, RefFiles, current, journal, log, sessions};

/// Where a system call failed.
type Failed = (PathBuf, io::Error);

// === impl Prepared ===

impl Prepared {
    pub(super) fn new(
        files: &RefFiles,
        session: Arc<Session>,
        lines: Vec<u8>,
        behind_head: Option<BString>,
    ) -> Self {
        Self {
            files: files.clone(),
            session,
            lines,
            behind_head,
            followed: Vec::new(),
            locks: Vec::new(),
            made: Vec::new(),
            temps: BTreeSet::new(),
            unsynced: Vec::new(),
            early: None,
            unchanged: Vec::new(),
            absent: Vec::new(),
            refs: Vec::new(),
            packed: None,
            journal: None,
            is_left: false,
        }
    }

    pub(super) fn carry_out(&mut self) -> Result<(), CommitError> {
        match self.journal.take() {
            Some(journal) => self.commit_several(&journal)?,
            None => self.commit_one()?,
        }
        for value in self.refs.iter().filter_map(|ready| ready.value.as_ref()) {
            // It has another name now.
            self.temps.remove(value);
        }
        self.tidy();
        Ok(())
    }

    /// One rename or removal, or one of `packed-refs` first.
    fn commit_one(&mut self) -> Result<(), CommitError> {
        let nothing = |(path, source)| CommitError::Nothing { path, source };
        let uncertain = |(path, source)| CommitError::Uncertain { path, source };
        if let Some(packed) = &self.packed {
            let file = self.files.packed();
            let renamed = self.files.calls.rename(packed, &file);
            renamed.map_err(|error| nothing((file, error)))?;
        }
        self.drop_packed_first().map_err(uncertain)?;
        let placed = self.refs.iter().try_for_each(|ready| self.place(ready));
        placed.map_err(|failed| match self.packed {
            Some(_) => uncertain(failed),
            None => nothing(failed),
        })?;
        // Nothing else can be half done: the next one need not wait for the disk.
        self.unlock();
        self.sync_changed().map_err(uncertain)
    }

    /// Decides on disk, then changes.
    fn commit_several(&mut self, prepared: &Path) -> Result<(), CommitError> {
        let calls = Arc::clone(&self.files.calls);
        let decided = journal::decided(prepared);
        if let Err(source) = calls.rename(prepared, &decided) {
            self.journal = Some(prepared.to_path_buf());
            return Err(CommitError::Nothing { path: decided, source });
        }
        let done = self.sync_room().and_then(|()| self.carry_out_decided(&decided));
        if let Err((path, source)) = done {
            // Whoever comes next finds the journal and all that it needs, and carries it out.
            self.is_left = true;
            self.session.give_up();
            return Err(CommitError::Uncertain { path, source });
        }
        self.unlock();
        Ok(())
    }

    fn carry_out_decided(&self, decided: &Path) -> Result<(), Failed> {
        if let Some(packed) = &self.packed {
            let (copy, file) = (self.session.fresh(), self.files.packed());
            // The journal may need it once more.
            let replaced = self
                .files
                .calls
                .link(packed, &copy)
                .and_then(|()| self.files.calls.rename(&copy, &file));
            replaced.map_err(|error| (file, error))?;
        }
        self.drop_packed_first()?;
        self.refs.iter().try_for_each(|ready| self.place(ready))?;
        self.sync_changed()?;
        self.files.calls.remove(decided).map_err(|error| (decided.to_path_buf(), error))?;
        self.sync_room()
    }

    /// What is removed from `packed-refs` must be gone before loose refs that hide it are.
    fn drop_packed_first(&self) -> Result<(), Failed> {
        if self.packed.is_none() || !self.refs.iter().any(|ready| ready.removes_loose) {
            return Ok(());
        }
        let file = self.files.packed();
        let directory = file.parent().unwrap_or(&file);
        self.files.calls.sync(directory).map_err(|error| (directory.to_path_buf(), error))
    }

    fn place(&self, ready: &Ready) -> Result<(), Failed> {
        let file = self.files.file(ready.name.as_bstr());
        let result = match &ready.value {
            Some(value) => put(&self.files, value, &file),
            None if ready.removes_loose => drop_file(&self.files, &file),
            None => Ok(()),
        };
        result.map_err(|error| (file, error))
    }

    fn sync_changed(&self) -> Result<(), Failed> {
        let mut directories = Directories::default();
        for ready in &self.refs {
            if ready.value.is_some() || ready.removes_loose {
                directories.add_ref(&self.files, Some(&self.session), ready.name.as_bstr());
            }
        }
        if self.packed.is_some() {
            let file = self.files.packed();
            directories.add(file.parent().unwrap_or(&file).to_path_buf());
        }
        directories.sync(&self.files, Some(&self.session), Vec::new())
    }

    fn sync_room(&self) -> Result<(), Failed> {
        let room = self.session.room();
        self.files.calls.sync(room).map_err(|error| (room.to_path_buf(), error))
    }

    /// Logs, and empty directories. Refs are what was promised: a log that cannot be written stops
    /// nothing.
    fn tidy(&self) {
        for ready in self.refs.iter().filter(|ready| ready.is_changed()) {
            let name = ready.name.as_bstr();
            match ready.after {
                Some(_) => log::append(&self.files, name, ready.before, ready.after),
                None => {
                    log::remove(&self.files, name);
                    remove_parents(&self.files, name, &self.files.file(name));
                }
            }
        }
        let head = self.behind_head.iter().map(|name| (BString::from("HEAD"), name));
        let followed = self.followed.iter().map(|(name, target)| (name.clone(), target));
        for (name, target) in head.chain(followed) {
            let ready = self.refs.iter().find(|ready| ready.name == *target);
            if let Some(ready) = ready.filter(|ready| ready.is_changed()) {
                log::append(&self.files, name.as_bstr(), ready.before, ready.after);
            }
        }
    }

    fn unlock(&mut self) {
        for lock in self.locks.iter().rev() {
            if drop_file(&self.files, &lock.path).is_err() {
                // It stays until the session is dead to all others, and swept.
                self.session.give_up();
            }
        }
        self.session.release(self.locks.iter().map(|lock| &lock.name));
        self.locks.clear();
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if self.is_left {
            self.session.release(self.locks.iter().map(|lock| &lock.name));
        } else {
            self.clear();
        }
        if self.session.is_given_up() {
            sessions::forget_given_up();
        }
    }
}

impl Prepared {
    /// Takes away whatever is ours.
    fn clear(&mut self) {
        for path in self.journal.iter().chain(&self.temps) {
            let _ = self.files.calls.remove(path);
        }
        self.unlock();
        for directory in self.made.iter().rev() {
            // Only empty ones go.
            let _ = self.files.calls.remove_dir(directory);
        }
    }
}

// === impl Ready ===

impl Ready {
    /// Whether the commit changes what is stored.
    pub(super) fn is_changed(&self) -> bool {
        self.value.is_some()
            || self.removes_loose
            || (self.is_packed && (self.before.is_some() || self.after.is_some()))
    }
}

/// Renames a value into place, where an empty directory may be.
pub(super) fn put(files: &RefFiles, value: &Path, file: &Path) -> io::Result<()> {
    match files.calls.rename(value, file) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            current::remove_empty(files, file);
            files.calls.rename(value, file)
        }
        result => result,
    }
}

/// Removes the file of a ref; that there is none is fine.
pub(super) fn drop_file(files: &RefFiles, file: &Path) -> io::Result<()> {
    match files.calls.remove(file) {
        Err(error) if current::is_absent(&error) => Ok(()),
        result => result,
    }
}

/// Removes directories that a ref or log has left empty; those of the first two levels
/// (`refs/heads`) stay, as in git.
pub(super) fn remove_parents(files: &RefFiles, name: &bstr::BStr, file: &Path) {
    let levels = name.find_iter(b"/").count();
    let mut directory = file.parent();
    for _ in 2..levels.max(2) {
        let Some(path) = directory else { return };
        if files.calls.remove_dir(path).is_err() {
            return;
        }
        directory = path.parent();
    }
}
