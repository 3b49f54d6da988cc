//! Preparing: values to disk, locks, checks, the new `packed-refs`, the journal.
//!
//! Always true: what is checked is checked under its lock; whatever fails, the half-made
//! [`Prepared`] takes its locks and files with it.
//! Never here: visible changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};

use super::check::{self, Found};
use super::durable::Directories;
use super::lock::{self, LockError};
use super::packed_search::{Packed, PackedLater};
use super::plan::{self, Goal, Plan, Step};
use super::sessions;
use super::{
    Expected, PACKED_LOCK, PrepareError, Prepared, Ready, RefFiles, Update, current, journal,
    packed_rewrite,
};
use crate::ObjectId;
use crate::objects::{Kind, Store};
use crate::refs::loose::Value;
use crate::refs::packed::PackedRefs;

/// Rounds, while symbolic refs change before they are locked, or the repository goes and comes.
const ATTEMPTS_MAX: usize = 5;
/// How much of `packed-refs` may be written anew for each of them, in bytes: what a file costs.
const PACK_BYTES_EACH_MAX: u64 = 32 << 10;
/// Refs for which `packed-refs` is searched; for more it is read.
const SEARCHED_MAX: usize = 32;
/// As git makes refs.
const FILE_MODE: u32 = 0o666;

/// Why an attempt did not succeed.
pub(super) enum Stop {
    /// What the plan was made from has changed.
    Again,
    Error(PrepareError),
}

impl<E: Into<PrepareError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

pub(super) fn prepare(
    files: &RefFiles,
    objects: &Store,
    updates: Vec<Update>,
) -> Result<Prepared, PrepareError> {
    let updates = plan::normalise(updates)?;
    for _ in 0..ATTEMPTS_MAX {
        let plan = Plan::of(files, &updates)?;
        match attempt(files, objects, plan) {
            Err(Stop::Again) => {}
            Err(Stop::Error(error)) => return Err(error),
            Ok(prepared) => return Ok(prepared),
        }
    }
    let name = updates.first().map(|update| update.name.clone()).unwrap_or_default();
    let path = files.file(name.as_bstr());
    Err(PrepareError::Locked { name, path })
}

/// What git refuses a ref to become: an object that is missing; for a branch, one that is no commit.
fn refusal(step: &Step, objects: &Store) -> Result<Option<PrepareError>, PrepareError> {
    let Goal::Set(id) = step.goal else { return Ok(None) };
    let name = step.name.clone();
    let is_branch = name == "HEAD" || name.starts_with(b"refs/heads/");
    Ok(match objects.kind(&id)? {
        None => Some(PrepareError::NoObject { name, id }),
        Some(Kind::Commit) => None,
        Some(Kind::Tree | Kind::Blob | Kind::Tag) if is_branch => {
            Some(PrepareError::NotACommit { name, id })
        }
        Some(Kind::Tree | Kind::Blob | Kind::Tag) => None,
    })
}

fn attempt(files: &RefFiles, objects: &Store, plan: Plan) -> Result<Prepared, Stop> {
    let session = sessions::session(files)?;
    let Plan { steps, lines, behind_head } = plan;
    let mut prepared = Prepared::new(files, Arc::clone(&session), lines, behind_head);
    let packs = is_packing_better(files, &steps);
    let mut refused = BTreeMap::new();
    for step in steps.values() {
        refused.extend(refusal(step, objects)?.map(|error| (step.name.clone(), error)));
    }
    prepared.look_ahead(&steps)?;
    if refused.is_empty() {
        prepared.begin_values(&steps, packs)?;
    }
    for step in steps.values() {
        let file = files.file(step.name.as_bstr());
        prepared.lock(step, &file)?;
    }
    // Opened under the locks: from now on what it says of these refs does not change.
    let packed = PackedLater::new(files.packed(), steps.len() > SEARCHED_MAX);
    for step in steps.values() {
        let found = check::check(files, &packed, &steps, step)?;
        // Only now, as in git: that the old value is another is the better answer.
        if let Some(error) = refused.remove(&step.name).filter(|_| !found.is(&step.goal)) {
            return Err(error.into());
        }
        prepared.add(step, found, packs)?;
    }
    prepared.pack(&steps, packs, objects)?;
    prepared.secure()?;
    Ok(prepared)
}

/// Whether new values go to `packed-refs`.
fn is_packing_better(files: &RefFiles, steps: &BTreeMap<BString, Step>) -> bool {
    let is_new = |step: &&Step| goes_to_packed(&step.goal, step.name.as_bstr());
    let count = steps.values().filter(is_new).count();
    if count < files.pack_min {
        return false;
    }
    let bytes = files.packed().metadata().map_or(0, |metadata| metadata.len());
    bytes / PACK_BYTES_EACH_MAX <= count as u64
}

fn goes_to_packed(goal: &Goal, name: &BStr) -> bool {
    matches!(goal, Goal::Set(_)) && RefFiles::is_shared(name)
}

/// What the file of a ref will hold.
fn content(goal: &Goal) -> Option<Vec<u8>> {
    match goal {
        Goal::Set(id) => Some(format!("{id}\n").into_bytes()),
        Goal::Point(target) => Some([b"ref: ", target.as_slice(), b"\n"].concat()),
        Goal::Delete | Goal::Check | Goal::Follow(_) => None,
    }
}

// === impl Prepared ===

impl Prepared {
    /// Writes a single new value before its ref is locked, so that others wait for the disk beside
    /// each other. Several are synced together, later.
    fn begin_values(
        &mut self,
        steps: &BTreeMap<BString, Step>,
        packs: bool,
    ) -> Result<(), PrepareError> {
        let mut new = steps.values().filter_map(|step| Some((step, content(&step.goal)?)));
        let (Some((step, content)), None, false) = (new.next(), new.next(), packs) else {
            return Ok(());
        };
        let found = current::loose(&self.files, step.name.as_bstr());
        if let (Goal::Set(id), Ok(current::Loose::Value(Value::Direct(found)))) =
            (&step.goal, found)
        {
            // Where the answer is clear the disk is spared.
            check::compare(step, Some(found))?;
            if *id == found {
                return Ok(());
            }
        }
        let path = self.write(&content)?;
        self.files.calls.sync(&path).map_err(|error| self.failed(&path, error))?;
        self.unsynced.clear();
        self.early = Some(path);
        Ok(())
    }

    /// Writes a file of ours, not yet synced.
    fn write(&mut self, content: &[u8]) -> Result<std::path::PathBuf, PrepareError> {
        let path = self.session.fresh();
        let written = self.files.calls.create_new(&path, content, FILE_MODE);
        written.map_err(|error| self.failed(&path, error))?;
        self.temps.insert(path.clone());
        self.unsynced.push(path.clone());
        Ok(path)
    }

    fn failed(&self, path: &Path, source: std::io::Error) -> PrepareError {
        PrepareError::Io { name: BString::default(), path: path.to_path_buf(), source }
    }

    /// Where nobody else may wait for locks a transaction that would have to is refused before
    /// anything of it is written.
    fn look_ahead(&self, steps: &BTreeMap<BString, Step>) -> Result<(), Stop> {
        if !self.files.waiting.as_ref().is_some_and(|waiting| waiting.is_full()) {
            return Ok(());
        }
        for step in steps.values().take(SEARCHED_MAX) {
            let file = self.files.file(step.name.as_bstr());
            if lock::is_taken(&self.session, (&step.name, &file)) {
                return Err(self.crowded(step, &file).into());
            }
        }
        Ok(())
    }

    fn crowded(&self, step: &Step, file: &Path) -> PrepareError {
        let is_packed = step.name == PACKED_LOCK;
        let patience = if is_packed { self.files.packed_timeout } else { self.files.ref_timeout };
        PrepareError::Crowded { name: step.asked.clone(), path: file.to_path_buf(), patience }
    }

    fn lock(&mut self, step: &Step, file: &Path) -> Result<(), Stop> {
        let key = (&step.name, file);
        let name = step.asked.clone();
        match lock::acquire(&self.files, &self.session, key, &mut self.made) {
            Ok(lock) => {
                self.locks.push(lock);
                Ok(())
            }
            Err(LockError::Gone) => Err(Stop::Again),
            Err(LockError::Held) => {
                Err(PrepareError::Locked { name, path: file.to_path_buf() }.into())
            }
            Err(LockError::Crowded) => Err(self.crowded(step, file).into()),
            Err(LockError::Recover(error)) => Err(error.into()),
            Err(LockError::Io(source)) => {
                Err(PrepareError::Io { name, path: lock::path_of(file), source }.into())
            }
            Err(LockError::NotADirectory) => {
                Err(check::not_a_directory(&self.files, step, file)?.into())
            }
        }
    }

    /// What a commit will do with a ref that was found as it should be.
    fn add(&mut self, step: &Step, found: Found, packs: bool) -> Result<(), PrepareError> {
        let mut ready = Ready {
            name: step.name.clone(),
            before: found.id,
            after: found.id,
            content: None,
            value: None,
            removes_loose: false,
            is_packed: false,
        };
        match &step.goal {
            Goal::Set(id) => {
                ready.after = Some(*id);
                if found.is(&step.goal) {
                    self.unchanged.push((step.name.clone(), found.is_loose));
                } else if packs && goes_to_packed(&step.goal, step.name.as_bstr()) {
                    ready.is_packed = true;
                    ready.removes_loose = found.is_loose;
                } else {
                    ready.content = content(&step.goal);
                }
            }
            Goal::Point(target) => {
                ready.after = current::resolve(&self.files, target.as_bstr())?;
                ready.content = content(&step.goal);
            }
            Goal::Delete => {
                ready.after = None;
                if found.id.is_none() && !found.is_loose {
                    self.absent.push(step.name.clone());
                }
                ready.removes_loose = found.is_loose;
                ready.is_packed = RefFiles::is_shared(step.name.as_bstr());
            }
            Goal::Check => return Ok(()),
            Goal::Follow(target) => {
                self.followed.push((step.name.clone(), target.clone()));
                return Ok(());
            }
        }
        if let Some(content) = &ready.content {
            let early = self.early.take();
            let path = early.map_or_else(|| self.write(content), Ok)?;
            ready.value = Some(path);
        }
        self.refs.push(ready);
        Ok(())
    }

    /// Locks `packed-refs` if refs go from it or to it, and writes the new one.
    fn pack(
        &mut self,
        steps: &BTreeMap<BString, Step>,
        packs: bool,
        objects: &Store,
    ) -> Result<(), Stop> {
        if !self.refs.iter().any(|ready| ready.is_packed) {
            return Ok(());
        }
        let file = self.files.packed();
        let step = Step {
            name: PACKED_LOCK.into(),
            asked: BString::default(),
            old: Expected::Any,
            goal: Goal::Check,
            is_followed: false,
        };
        self.lock(&step, &file)?;
        let changed: Vec<&Ready> = self.refs.iter().filter(|ready| ready.is_packed).collect();
        if !packs {
            let packed = Packed::open(&file, steps.len() > SEARCHED_MAX)?;
            let mut is_needed = false;
            for ready in &changed {
                is_needed |= packed.get(ready.name.as_bstr())?.is_some();
            }
            if !is_needed {
                return Ok(());
            }
        }
        let changes: BTreeMap<BString, Option<ObjectId>> =
            changed.iter().map(|ready| (ready.name.clone(), ready.after)).collect();
        let text = packed_rewrite::text(&PackedRefs::read(&file)?, &changes, objects);
        self.packed = Some(self.write(&text)?);
        Ok(())
    }

    /// Brings to disk what a commit will need.
    fn secure(&mut self) -> Result<(), PrepareError> {
        let mut paths = std::mem::take(&mut self.unsynced);
        let mut directories = Directories::default();
        for (name, is_loose) in std::mem::take(&mut self.unchanged) {
            // Whoever wrote it may not have synced it.
            let file = if is_loose { self.files.file(name.as_bstr()) } else { self.files.packed() };
            directories.add_ref(&self.files, Some(&self.session), name.as_bstr());
            directories.add(file.parent().unwrap_or(&file).to_path_buf());
            paths.push(file);
        }
        for name in std::mem::take(&mut self.absent) {
            // Whoever deleted it may not have synced that: here, or in packed-refs.
            directories.add_ref(&self.files, Some(&self.session), name.as_bstr());
            directories.add(self.files.common_dir.clone());
        }
        if self.needs_journal() {
            let path = journal::prepared(&self.session.fresh());
            let text = journal::text(&self.refs, self.packed.as_deref());
            self.files
                .calls
                .create_new(&path, &text, FILE_MODE)
                .map_err(|error| self.failed(&path, error))?;
            self.journal = Some(path.clone());
            paths.push(path);
            // Locks must be there after a loss of power, until the journal was carried out.
            for lock in &self.locks {
                if lock.name != PACKED_LOCK {
                    directories.add_ref(&self.files, Some(&self.session), lock.name.as_bstr());
                }
            }
            directories.add(self.session.room().to_path_buf());
            directories.add(self.files.common_dir.clone());
        }
        paths.sort_unstable();
        paths.dedup();
        let synced = directories.sync(&self.files, Some(&self.session), paths);
        synced.map_err(|(path, error)| self.failed(&path, error))
    }

    /// Whether a crash between two changes would leave one of them.
    fn needs_journal(&self) -> bool {
        let loose =
            self.refs.iter().filter(|ready| ready.value.is_some() || ready.removes_loose).count();
        let packed = self.packed.is_some();
        let is_one_ref = self.refs.iter().filter(|ready| ready.is_changed()).count() <= 1;
        !is_one_ref && loose + usize::from(packed) > 1
    }
}
