//! What a process has in a repository while it writes refs there: `gitring/<id>.session`.
//!
//! All its locks are links to this file, on which it holds a flock(2). The file is locked before
//! it has a name that anybody looks for, and synced before it is linked to: a lock that a loss of
//! power leaves behind still says whose it is.
//!
//! Always true: within the process a ref is held by one transaction at a time; a session that
//! nobody uses may end at any time.
//! Never here: what is locked and why.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bstr::BString;

use super::RefFiles;
use crate::files::FileCalls;

/// The content of every lock of ours.
pub(super) const MAGIC: &[u8] = b"gitring holds this lock; see gitring/ in the git directory\n";
/// Directories whose names are known to be on disk, in one repository.
const DURABLE_MAX: usize = 4_096;
/// Rounds of making a session while somebody sweeps.
const ATTEMPTS_MAX: usize = 10;

/// One process in one repository.
#[derive(Debug)]
pub(super) struct Session {
    calls: Arc<dyn FileCalls>,
    room: PathBuf,
    id: String,
    marker: PathBuf,
    /// Holds the flock.
    file: File,
    next: AtomicU64,
    held: Mutex<HashSet<BString>>,
    released: Condvar,
    durable: Mutex<HashSet<Directory>>,
    is_broken: AtomicBool,
}

/// A directory by device, inode and birth: another one may have the inode later.
pub(super) type Directory = (u64, u64, SystemTime);

/// Whose lock a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// There is none any more.
    Nobody,
    /// git's, or anybody's but ours.
    Other,
    /// A process of ours that lives.
    Alive,
    /// One that does not.
    Dead,
}

// === impl Session ===

impl Session {
    /// Begins one, on disk.
    pub(super) fn begin(files: &RefFiles) -> io::Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let (calls, room) = (Arc::clone(&files.calls), files.room());
        if let Err(error) = calls.create_dir(&room)
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        for _ in 0..ATTEMPTS_MAX {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let id = format!("{}-{:x}-{serial}", std::process::id(), since.as_nanos());
            let marker = room.join(format!("{id}.session"));
            let Some(file) = begin_marker(&*calls, &room, &id, &marker)? else { continue };
            // The room may have been made by a process that died before it could sync.
            calls.sync_many(&[marker.clone(), room.clone(), files.common_dir.clone()])?;
            return Ok(Self {
                calls,
                room,
                id,
                marker,
                file,
                next: AtomicU64::new(1),
                held: Mutex::default(),
                released: Condvar::new(),
                durable: Mutex::default(),
                is_broken: AtomicBool::new(false),
            });
        }
        Err(io::Error::new(ErrorKind::ResourceBusy, "another process sweeps"))
    }

    /// The file that locks are links to.
    pub(super) fn marker(&self) -> &Path {
        &self.marker
    }

    /// The directory of sessions, values and journals.
    pub(super) fn room(&self) -> &Path {
        &self.room
    }

    /// A name in the room that nothing has.
    pub(super) fn fresh(&self) -> PathBuf {
        self.room.join(format!("{}.{}", self.id, self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Whether it may be used: the repository may have been removed and made again.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_given_up()
            && self
                .marker
                .metadata()
                .is_ok_and(|found| self.file.metadata().is_ok_and(|own| own.ino() == found.ino()))
    }

    /// Makes it useless: when its last transaction ends, its locks and journals are those of a dead
    /// process for [`super::recover`].
    pub(super) fn give_up(&self) {
        self.is_broken.store(true, Ordering::SeqCst);
    }

    /// Whether it was made useless.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst)
    }

    /// Waits until no transaction of this process holds `name`, and takes it. False: not in time.
    pub(super) fn hold(&self, name: &BString, deadline: Instant) -> bool {
        let mut held = self.held();
        while held.contains(name) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.released.wait_timeout(held, left);
            held = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        held.insert(name.clone())
    }

    /// Whether a transaction of this process holds `name`.
    pub(super) fn holds(&self, name: &BString) -> bool {
        self.held().contains(name)
    }

    /// Lets go of what was held.
    pub(super) fn release<'a>(&self, names: impl Iterator<Item = &'a BString>) {
        let mut held = self.held();
        for name in names {
            held.remove(name);
        }
        drop(held);
        self.released.notify_all();
    }

    /// Whether the name of a directory was synced by this session.
    pub(super) fn is_durable(&self, directory: &Directory) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(directory)
    }

    /// Remembers directories whose names were synced.
    pub(super) fn remember(&self, directories: impl Iterator<Item = Directory>) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in directories {
            if durable.len() >= DURABLE_MAX {
                durable.clear();
            }
            durable.insert(directory);
        }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<BString>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let is_linked = self.file.metadata().is_ok_and(|metadata| metadata.nlink() > 1);
        if !self.is_given_up() && !is_linked {
            // One that stays is taken for that of a dead process, which it will be.
            let _ = self.calls.remove(&self.marker);
        }
    }
}

/// A marker with its flock, under a name that nobody looks for until it has it. None: swept.
fn begin_marker(
    calls: &dyn FileCalls,
    room: &Path,
    id: &str,
    marker: &Path,
) -> io::Result<Option<File>> {
    let new = room.join(format!(".new-{id}"));
    calls.create_new(&new, MAGIC, 0o644)?;
    let file = match open(&new) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) if file.metadata()?.nlink() != 0 => {}
        Ok(()) | Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => {
            let _ = calls.remove(&new);
            let text = format!("files cannot be locked on this file system (flock): {error}");
            return Err(io::Error::new(ErrorKind::Unsupported, text));
        }
    }
    calls.rename(&new, marker)?;
    Ok(Some(file))
}

/// For writing, too, though nothing is written: NFS locks no other file exclusively (flock(2),
/// NFS details).
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

/// A session's file with its flock, if nobody else has it: then its process is dead.
pub(super) fn take_over(path: &Path) -> io::Result<Option<File>> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whose lock file this is.
pub(super) fn holder(path: &Path) -> Holder {
    let Ok(file) = open(path).or_else(|_| File::open(path)) else {
        return if path.exists() { Holder::Other } else { Holder::Nobody };
    };
    let mut content = Vec::with_capacity(MAGIC.len() + 1);
    let read = (&file).take(MAGIC.len() as u64 + 1).read_to_end(&mut content);
    if read.is_err() || content != MAGIC {
        return Holder::Other;
    }
    if file.try_lock().is_ok() { Holder::Dead } else { Holder::Alive }
}
