//! A disk in memory for these tests, with a few faults at hand.
//!
//! Always true:
//! - file operations give way once before they act, so that others run in between;
//! - clones are one disk; `restart` is the same disk as another process sees it.
//!
//! Never here: random faults; the simulation has those.

use crate::{Clock, Disk, Listed};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Clone, Default)]
pub(super) struct MemoryDisk(Rc<Inside>);

#[derive(Default)]
struct Inside {
    files: RefCell<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    directories: RefCell<BTreeSet<PathBuf>>,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
    now: Cell<Duration>,
    tick: Notify,
    faults: RefCell<Faults>,
    writes: Cell<usize>,
}

/// What goes wrong from now on.
#[derive(Default, Clone)]
pub(super) struct Faults {
    pub(super) write: Option<io::ErrorKind>,
    pub(super) read: Option<io::ErrorKind>,
    pub(super) create: Option<io::ErrorKind>,
    pub(super) rename: Option<io::ErrorKind>,
    /// What reads gave turns out to be something else.
    pub(super) unsound: bool,
    /// Bytes of all files together, beyond which the disk is full.
    pub(super) capacity: Option<u64>,
    /// Writes that find the disk full whatever it holds: files that are not closed yet.
    pub(super) full_writes: usize,
}

pub(super) struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    linked: AtomicBool,
}

pub(super) struct MemoryLock(PathBuf, Arc<Mutex<BTreeSet<PathBuf>>>);

// === impl MemoryDisk ===

impl MemoryDisk {
    pub(super) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.faults.borrow_mut());
    }

    /// Lets time pass, in steps that sleepers see.
    pub(super) async fn pass(&self, time: Duration) {
        let end = self.0.now.get() + time;
        while self.0.now.get() < end {
            let step = (end - self.0.now.get()).min(Duration::from_millis(100));
            self.0.now.set(self.0.now.get() + step);
            self.0.tick.notify_waiters();
            settle().await;
        }
    }

    /// Names of all files, locks left out.
    pub(super) fn names(&self) -> Vec<PathBuf> {
        let files = self.0.files.borrow();
        files.keys().filter(|path| !path.ends_with("lock")).cloned().collect()
    }

    /// Locks in a directory.
    pub(super) fn locks_in(&self, directory: &str) -> usize {
        usize::from(self.0.files.borrow().contains_key(&Path::new(directory).join("lock")))
    }

    pub(super) fn directories(&self) -> usize {
        self.0.directories.borrow().len()
    }

    /// Somebody removes everything by hand.
    pub(super) fn wipe(&self) {
        self.0.directories.borrow_mut().clear();
        for file in std::mem::take(&mut *self.0.files.borrow_mut()).into_values() {
            file.linked.store(false, Ordering::Relaxed);
        }
    }

    /// Whether every stream lies in a directory that has a lock.
    pub(super) fn all_under_locks(&self) -> bool {
        let instance = |path: &PathBuf| path.ancestors().nth(2).unwrap().join("lock");
        let files = self.0.files.borrow();
        self.names().iter().all(|path| files.contains_key(&instance(path)))
    }

    /// The process ends.
    pub(super) fn release_locks(&self) {
        self.0.locks.lock().unwrap().clear();
    }

    /// Files that somebody holds open; a name in the tree does not.
    pub(super) fn open_files(&self) -> usize {
        let files = self.0.files.borrow();
        let files = files.iter().filter(|(path, _)| !path.ends_with("lock"));
        files.filter(|(_, file)| Arc::strong_count(file) > 1).count()
    }

    /// Changes the bytes of a file behind the cache's back.
    pub(super) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.0.files.borrow()[path].bytes.lock().unwrap());
    }

    /// A file that no cache made.
    pub(super) fn foreign_file(&self, path: &str, bytes: &[u8]) -> Arc<MemoryFile> {
        let file = Arc::new(MemoryFile {
            bytes: Mutex::new(bytes.to_vec()),
            linked: AtomicBool::new(true),
        });
        self.0.files.borrow_mut().insert(path.into(), file.clone());
        file
    }

    fn add(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        if let Some(kind) = self.0.faults.borrow().create {
            return Err(kind.into());
        }
        let parent = path.parent().unwrap();
        if !self.0.directories.borrow().contains(parent) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.0.files.borrow().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(self.foreign_file(path.to_str().unwrap(), b""))
    }

    fn used(&self) -> u64 {
        let files = self.0.files.borrow();
        files.values().map(|file| file.bytes.lock().unwrap().len() as u64).sum()
    }
}

/// Lets everybody else run until they wait.
pub(super) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

impl Clock for MemoryDisk {
    fn now(&self) -> Duration {
        self.0.now.get() + Duration::from_secs(1_000_000)
    }

    async fn sleep(&self, pause: Duration) {
        let end = self.now() + pause;
        while self.now() < end {
            self.0.tick.notified().await;
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    async fn create(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        tokio::task::yield_now().await;
        self.add(path)
    }

    async fn create_unnamed(&self, directory: &Path) -> io::Result<Arc<MemoryFile>> {
        let path = directory.join("unnamed");
        let file = self.create(&path).await?;
        self.remove(&path).await?;
        Ok(file)
    }

    async fn open(&self, path: &Path) -> io::Result<(Arc<MemoryFile>, u64)> {
        tokio::task::yield_now().await;
        let file = self.0.files.borrow().get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        let length = file.bytes.lock().unwrap().len() as u64;
        Ok((file, length))
    }

    async fn write(&self, file: &Arc<MemoryFile>, offset: u64, data: Bytes) -> io::Result<()> {
        tokio::task::yield_now().await;
        let faults = self.0.faults.borrow().clone();
        self.0.writes.set(self.0.writes.get() + 1);
        if let Some(kind) = faults.write {
            return Err(kind.into());
        }
        let is_full = faults.capacity.is_some_and(|max| self.used() + data.len() as u64 > max);
        if is_full || faults.full_writes > 0 {
            self.faults(|faults| faults.full_writes = faults.full_writes.saturating_sub(1));
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = file.bytes.lock().unwrap();
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(&data);
        Ok(())
    }

    async fn read(&self, file: &Arc<MemoryFile>, offset: u64, length: usize) -> io::Result<Bytes> {
        tokio::task::yield_now().await;
        if let Some(kind) = self.0.faults.borrow().read {
            return Err(kind.into());
        }
        let bytes = file.bytes.lock().unwrap();
        let range = offset as usize..offset as usize + length;
        let found = bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(found))
    }

    fn is_sound(&self, _: &MemoryFile) -> bool {
        !self.0.faults.borrow().unsound
    }

    fn linked_bytes(&self, file: &MemoryFile) -> Option<u64> {
        let is_linked = file.linked.load(Ordering::Relaxed);
        is_linked.then(|| file.bytes.lock().unwrap().len() as u64)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        tokio::task::yield_now().await;
        if let Some(kind) = self.0.faults.borrow().rename {
            return Err(kind.into());
        }
        let mut files = self.0.files.borrow_mut();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(replaced) = files.insert(to.to_owned(), file) {
            replaced.linked.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        tokio::task::yield_now().await;
        let file = self.0.files.borrow_mut().remove(path).ok_or(io::ErrorKind::NotFound)?;
        file.linked.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn remove_directory(&self, path: &Path) -> io::Result<()> {
        tokio::task::yield_now().await;
        if !self.list(path).await?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.0.directories.borrow_mut().remove(path);
        Ok(())
    }

    async fn create_directory(&self, path: &Path) -> io::Result<()> {
        tokio::task::yield_now().await;
        if let Some(kind) = self.0.faults.borrow().create {
            return Err(kind.into());
        }
        let above = path.ancestors().map(Path::to_owned);
        self.0.directories.borrow_mut().extend(above);
        Ok(())
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        tokio::task::yield_now().await;
        let directories = self.0.directories.borrow();
        if !directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let listed = |path: &Path, is_directory| {
            let inside = path.parent() == Some(directory);
            inside.then(|| Listed { name: name(path), is_directory })
        };
        let inside = directories.iter().filter_map(|path| listed(path, true));
        let files = self.0.files.borrow();
        Ok(inside.chain(files.keys().filter_map(|path| listed(path, false))).collect())
    }

    async fn lock(&self, path: &Path) -> io::Result<Option<MemoryLock>> {
        tokio::task::yield_now().await;
        if !self.0.files.borrow().contains_key(path) {
            self.add(path)?;
        }
        let free = self.0.locks.lock().unwrap().insert(path.to_owned());
        Ok(free.then(|| MemoryLock(path.to_owned(), self.0.locks.clone())))
    }

    async fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let capacity = self.0.faults.borrow().capacity;
        Ok(capacity.map_or(u64::MAX, |max| max.saturating_sub(self.used())))
    }
}

fn name(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.1.lock().unwrap().remove(&self.0);
    }
}
