//! What a dead process left: journals to carry out, locks and files to remove.
//!
//! Always true: nothing of a process that lives is touched, nor any lock of git's; a journal's
//! locks are removed after it is gone from disk; done twice it is the same.
//! Never here: telling the dead from the living ([`super::session`]).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::{BStr, ByteSlice};

use super::durable::Directories;
use super::journal::{self, Entry};
use super::session::{MAGIC, take_over};
use super::{RecoverError, Recovered, RefFiles, commit, lock};

/// How often it is asked again whether a process lives, and after which pause: somebody may just
/// have asked the same, or the process has begun a child that has not yet let go of its files.
const LOOKS_MAX: usize = 3;
/// The same where a decided transaction waits for the answer: about 0.1 s.
const LOOKS_DECIDED_MAX: usize = 100;
const LOOK_PAUSE: Duration = Duration::from_millis(1);

pub(super) fn recover(files: &RefFiles) -> Result<Recovered, RecoverError> {
    let room = files.room();
    let failed = |source| RecoverError::Io { path: room.clone(), source };
    let guard = match File::open(&room) {
        Ok(guard) => guard,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Recovered::default()),
        Err(error) => return Err(failed(error)),
    };
    // One at a time, whichever process; what it takes is bounded by what is there.
    guard.lock().map_err(failed)?;
    let mut recovery = Recovery { files, room: room.clone(), recovered: Recovered::default() };
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(&room).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        match name.to_str().and_then(|name| name.split_once('.')) {
            Some(("", _)) => recovery.unborn(&room.join(name))?,
            Some((id, _)) => drop(ids.insert(id.to_owned())),
            None => {}
        }
    }
    ids.iter().try_for_each(|id| recovery.session(id))?;
    Ok(recovery.recovered)
}

struct Recovery<'a> {
    files: &'a RefFiles,
    room: PathBuf,
    recovered: Recovered,
}

// === impl Recovery ===

impl Recovery<'_> {
    /// The file of a session that had not begun.
    fn unborn(&self, path: &Path) -> Result<(), RecoverError> {
        match take_over(path).map_err(|error| at(path, error))? {
            Some(_flock) => self.remove(path),
            None => Ok(()),
        }
    }

    fn session(&mut self, id: &str) -> Result<(), RecoverError> {
        let marker = self.room.join(format!("{id}.session"));
        let mut flock = take_over(&marker).map_err(|error| at(&marker, error))?;
        for look in 0..LOOKS_DECIDED_MAX {
            // A living process is soon done with what it has decided.
            if flock.is_some() || (look >= LOOKS_MAX && !self.has_decided(id)?) {
                break;
            }
            std::thread::sleep(LOOK_PAUSE);
            flock = take_over(&marker).map_err(|error| at(&marker, error))?;
        }
        if flock.is_none() && marker.exists() {
            return Ok(());
        }
        let mut rest = Vec::new();
        for path in self.files_of(id)? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("decided") => {
                    self.finish(&path)?;
                    self.recovered.finished += 1;
                }
                Some("prepared") => {
                    self.remove(&path)?;
                    self.recovered.undone += 1;
                }
                Some("session") => {}
                _ => rest.push(path),
            }
        }
        if let Some(flock) = &flock {
            self.unlock(flock).map_err(|error| at(&marker, error))?;
        }
        rest.iter().try_for_each(|path| self.remove(path))?;
        self.remove(&marker)
    }

    fn has_decided(&self, id: &str) -> Result<bool, RecoverError> {
        let files = self.files_of(id)?;
        Ok(files.iter().any(|path| path.extension().is_some_and(|kind| kind == "decided")))
    }

    /// The files of a session, in order of their names.
    fn files_of(&self, id: &str) -> Result<BTreeSet<PathBuf>, RecoverError> {
        let failed = |source| at(&self.room, source);
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(&self.room).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name.to_str().and_then(|name| name.split_once('.')).is_some_and(|(of, _)| of == id) {
                paths.insert(self.room.join(name));
            }
        }
        Ok(paths)
    }

    /// Carries a journal out, whatever of it was done before, and removes it.
    fn finish(&self, path: &Path) -> Result<(), RecoverError> {
        let text = fs::read(path).map_err(|error| at(path, error))?;
        let entries = journal::parse(&text, &self.room);
        let entries = entries.ok_or_else(|| RecoverError::Journal(path.to_path_buf()))?;
        let files = self.files;
        let mut directories = Directories::default();
        let mut values = Vec::new();
        for entry in &entries {
            if let Entry::Set(_, content) = entry {
                let value = path.with_extension(format!("redo{}", values.len()));
                self.remove(&value)?;
                let written = files.calls.create_new(&value, content, 0o666);
                written.map_err(|error| at(&value, error))?;
                values.push(value);
            }
        }
        files.calls.sync_many(&values).map_err(|error| at(path, error))?;
        let mut values = values.iter();
        for entry in &entries {
            let name = self.redo(entry, &mut values).map_err(|error| at(path, error))?;
            match name {
                Some(name) => directories.add_ref(files, None, name),
                None => directories.add(parent(&files.packed())),
            }
        }
        let synced = directories.sync(files, None, Vec::new());
        synced.map_err(|(path, error)| at(&path, error))?;
        self.remove(path)?;
        files.calls.sync(&self.room).map_err(|error| at(&self.room, error))
    }

    /// Does one change, and tells of which ref; none: of `packed-refs`, which comes first.
    fn redo<'e, 'v>(
        &self,
        entry: &'e Entry,
        values: &mut impl Iterator<Item = &'v PathBuf>,
    ) -> io::Result<Option<&'e BStr>> {
        let (files, calls) = (self.files, &self.files.calls);
        match entry {
            Entry::Packed(new) => {
                let (copy, packed) = (new.with_added_extension("copy"), files.packed());
                commit::drop_file(files, &copy)?;
                calls.link(new, &copy)?;
                calls.rename(&copy, &packed)?;
                // Where it had been done before both are names of one file, and both stay.
                commit::drop_file(files, &copy)?;
                calls.sync(&parent(&packed))?;
                Ok(None)
            }
            Entry::Set(name, _) => {
                let file = files.file(name.as_bstr());
                if let Err(lock::LockError::Io(error)) =
                    lock::make_directories(&**calls, &parent(&file), &mut Vec::new())
                {
                    return Err(error);
                }
                let value = values.next().ok_or(ErrorKind::InvalidData)?;
                commit::put(files, value, &file)?;
                Ok(Some(name.as_bstr()))
            }
            Entry::Drop(name) => {
                commit::drop_file(files, &files.file(name.as_bstr()))?;
                Ok(Some(name.as_bstr()))
            }
        }
    }

    /// Removes all locks that are links to the file of a dead session.
    fn unlock(&mut self, flock: &File) -> io::Result<()> {
        let marker = flock.metadata()?;
        let mut left = marker.nlink().saturating_sub(1);
        let packed = self.files.packed();
        let mut places = vec![(parent(&packed), false)];
        for home in [&self.files.common_dir, &self.files.git_dir] {
            places.extend([(home.clone(), false), (home.join("refs"), true)]);
        }
        let worktrees = fs::read_dir(self.files.common_dir.join("worktrees"));
        for worktree in worktrees.into_iter().flatten().flatten() {
            places.extend([(worktree.path(), false), (worktree.path().join("refs"), true)]);
        }
        while let Some((directory, is_deep)) = places.pop().filter(|_| left > 0) {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(found) = entry.metadata() else { continue };
                if is_deep && found.is_dir() {
                    places.push((path, true));
                } else if found.ino() == marker.ino()
                    && found.dev() == marker.dev()
                    && found.len() == MAGIC.len() as u64
                    && path.extension().is_some_and(|extension| extension == "lock")
                {
                    self.files.calls.remove(&path)?;
                    self.recovered.locks += 1;
                    left -= 1;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), RecoverError> {
        commit::drop_file(self.files, path).map_err(|error| at(path, error))
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}

fn at(path: &Path, source: io::Error) -> RecoverError {
    RecoverError::Io { path: path.to_path_buf(), source }
}
