//! One file system: names, capacity, and what a system call does.
//!
//! Always true: every name but the root has a directory above it.
//! Never here: time that passes.

use super::faults::{Dropped, EIO, ENOSPC, Faults, Operation, Turn};
use super::file::{Inode, SimFile, SimLock};
use crate::executor::ProcessId;
use crate::rng::Rng;
use bytes::Bytes;
use gitring_streamcache::Listed;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const ENOTEMPTY: i32 = 39;

#[derive(Clone)]
pub(crate) struct Volume {
    state: Arc<Mutex<State>>,
    used_bytes: Arc<AtomicU64>,
    late: Arc<()>,
}

pub(super) struct State {
    pub(super) names: BTreeMap<PathBuf, Named>,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) capacity_bytes: u64,
    /// Names as they were before each change since power was last lost, oldest first.
    pub(super) undo: Vec<Undo>,
    /// What the wall clock shows more than it should, in seconds.
    pub(super) clock_error_secs: i64,
    locks: u64,
    /// Reads and openings that failed for the disk's reasons.
    read_failures: u64,
}

pub(super) struct Undo {
    pub(super) path: PathBuf,
    pub(super) before: Option<Named>,
    /// Half of a rename: goes together with the change before it.
    pub(super) joined: bool,
}

#[derive(Clone)]
pub(super) enum Named {
    Directory,
    File(Arc<Inode>),
}

fn errno<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

// === impl Volume ===

impl Volume {
    pub(crate) fn new(rng: Rng) -> Self {
        let state = State {
            names: BTreeMap::from([(PathBuf::from("/"), Named::Directory)]),
            rng,
            faults: Faults::default(),
            capacity_bytes: 1 << 40,
            undo: Vec::new(),
            clock_error_secs: 0,
            locks: 0,
            read_failures: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            used_bytes: Arc::default(),
            late: Arc::default(),
        }
    }

    /// Held by an operation that nobody waits for any more.
    pub(super) fn late(&self) -> Arc<()> {
        Arc::clone(&self.late)
    }

    /// Whether an operation that was dropped may still happen, and holds its file.
    pub(crate) fn is_late(&self) -> bool {
        // One count is that of each handle of the volume.
        Arc::strong_count(&self.late) > Arc::strong_count(&self.state)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().capacity_bytes = bytes;
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.state().capacity_bytes.saturating_sub(self.used_bytes())
    }

    pub(crate) fn read_failures(&self) -> u64 {
        self.state().read_failures
    }

    pub(super) fn wall_clock(&self, now: Duration) -> Duration {
        let error = self.state().clock_error_secs;
        let step = Duration::from_secs(error.unsigned_abs());
        if error < 0 { now.saturating_sub(step) } else { now + step }
    }

    pub(super) fn roll(&self, operation: Operation) -> Turn {
        let mut state = self.state();
        let State { rng, faults, read_failures, .. } = &mut *state;
        let turn = faults.roll(operation, rng);
        let reads = matches!(operation, Operation::Open | Operation::Read);
        *read_failures += u64::from(reads && turn.error.is_some());
        turn
    }

    pub(super) fn roll_dropped(&self) -> Dropped {
        let mut state = self.state();
        let State { rng, faults, .. } = &mut *state;
        faults.roll_dropped(rng)
    }

    /// How much of a write that fails in its middle is written.
    pub(super) fn roll_partial(&self, length: usize) -> usize {
        self.state().rng.below(length as u64 + 1) as usize
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<Arc<SimFile>> {
        let mut state = self.state();
        state.require_parent(path)?;
        if state.names.contains_key(path) {
            return errno(EEXIST);
        }
        let inode = Inode::new(Arc::clone(&self.used_bytes));
        state.set(path, Some(Named::File(Arc::clone(&inode))));
        Ok(SimFile::new(&inode))
    }

    pub(super) fn create_unnamed(&self, directory: &Path) -> io::Result<Arc<SimFile>> {
        self.state().require_directory(directory)?;
        Ok(SimFile::new(&Inode::new(Arc::clone(&self.used_bytes))))
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<(Arc<SimFile>, u64)> {
        let inode = self.state().file(path)?;
        let length = inode.state.lock().unwrap().data.len() as u64;
        Ok((SimFile::new(&inode), length))
    }

    pub(super) fn write(
        &self,
        file: &SimFile,
        offset: u64,
        data: &[u8],
        partial: usize,
    ) -> io::Result<()> {
        let free = self.free_bytes();
        file.inode().change(|content| {
            let (begin, length) = (offset as usize, content.data.len());
            let grows = (begin + data.len()).saturating_sub(length) as u64;
            let written = if grows > free { partial.min(free as usize) } else { data.len() };
            content.volatile = true;
            if content.data.len() < begin + written {
                content.data.resize(begin + written, 0);
            }
            content.data[begin..begin + written].copy_from_slice(&data[..written]);
            if grows > free { errno(ENOSPC) } else { Ok(()) }
        })
    }

    pub(super) fn read(&self, file: &SimFile, offset: u64, length: usize) -> io::Result<Bytes> {
        let content = file.inode().state.lock().unwrap();
        let begin = offset as usize;
        if let Some(bytes) = content.data.get(begin..begin + length) {
            return Ok(Bytes::copy_from_slice(bytes));
        }
        let tampered = content.tampered;
        drop(content);
        self.state().read_failures += u64::from(tampered);
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.file(from)?;
        state.require_parent(to)?;
        if let Some(Named::Directory) = state.names.get(to) {
            return errno(EEXIST);
        }
        state.set(to, Some(Named::File(inode)));
        state.set(from, None);
        if let Some(last) = state.undo.last_mut() {
            last.joined = true;
        }
        Ok(())
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.file(path)?;
        state.set(path, None);
        Ok(())
    }

    pub(super) fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.require_directory(path)?;
        if state.children(path).next().is_some() {
            return errno(ENOTEMPTY);
        }
        state.set(path, None);
        Ok(())
    }

    pub(super) fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let mut missing: Vec<_> = path.ancestors().collect();
        missing.reverse();
        for directory in missing {
            match state.names.get(directory) {
                Some(Named::Directory) => {}
                Some(Named::File(_)) => return errno(ENOTDIR),
                None => state.set(directory, Some(Named::Directory)),
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let state = self.state();
        state.require_directory(directory)?;
        let listed = state.children(directory).map(|(path, named)| Listed {
            name: path.file_name().unwrap_or_default().to_owned(),
            is_directory: matches!(named, Named::Directory),
        });
        Ok(listed.collect())
    }

    pub(super) fn lock(&self, path: &Path, process: ProcessId) -> io::Result<Option<SimLock>> {
        let mut state = self.state();
        state.require_parent(path)?;
        if !state.names.contains_key(path) {
            let inode = Inode::new(Arc::clone(&self.used_bytes));
            state.set(path, Some(Named::File(inode)));
        }
        state.locks += 1;
        let holder = (process, state.locks);
        Ok(SimLock::take(&state.file(path)?, holder))
    }

    /// Files by name, for whoever looks from outside.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Arc<Inode>> {
        let state = self.state();
        let files = state.names.iter().filter_map(|(path, named)| match named {
            Named::File(inode) => Some((path.clone(), Arc::clone(inode))),
            Named::Directory => None,
        });
        files.collect()
    }
}

// === impl State ===

impl State {
    /// Gives a path to something, or to nothing.
    pub(super) fn set(&mut self, path: &Path, named: Option<Named>) {
        if let Some(Named::File(inode)) = &named {
            inode.change(|content| content.names += 1);
        }
        let before = match named {
            Some(named) => self.names.insert(path.to_owned(), named),
            None => self.names.remove(path),
        };
        if let Some(Named::File(inode)) = &before {
            inode.change(|content| content.names -= 1);
        }
        self.undo.push(Undo { path: path.to_owned(), before, joined: false });
    }

    pub(super) fn children(&self, path: &Path) -> impl Iterator<Item = (&PathBuf, &Named)> {
        let directory = path.to_owned();
        self.names.iter().filter(move |(child, _)| child.parent() == Some(&directory))
    }

    fn require_directory(&self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            Some(Named::Directory) => Ok(()),
            Some(Named::File(_)) => errno(ENOTDIR),
            None => errno(ENOENT),
        }
    }

    fn require_parent(&self, path: &Path) -> io::Result<()> {
        self.require_directory(path.parent().unwrap_or(path))
    }

    fn file(&self, path: &Path) -> io::Result<Arc<Inode>> {
        match self.names.get(path) {
            Some(Named::File(inode)) => Ok(Arc::clone(inode)),
            Some(Named::Directory) => errno(EIO),
            None => errno(ENOENT),
        }
    }
}
