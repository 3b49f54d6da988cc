//! The stream cache's disk: files through the reactor's ring, read from shared maps.
//!
//! ```text
//!   read ─► short, not mapped ─────────────────────────► ring ─► owned bytes
//!        └► map ─► in memory? ─ yes ───────────────────► bytes in the map
//!                      └─ no ─► ring, into scratch ────► bytes in the map, in memory now
//! ```
//!
//! Always true:
//! - no call waits for a disk on the reactor's thread, and who sends what [`CacheDisk::read`] gave
//!   waits for none either, short of memory that is reclaimed in between;
//! - at most `SCRATCH_MAX` scratch buffers of a reactor are in use; further cold reads wait;
//! - a file that is truncated or cannot be read makes reads fail, it ends no process; once bytes
//!   that were given out turned into zeroes, every further read of the file fails, one of no bytes
//!   at its end included;
//! - closing a file does not wait for the file system on the reactor's thread.
//!
//! Never here: which files there are, and what they hold.

mod file;
#[cfg(test)]
mod tests;

pub use self::file::File;
use self::file::{Part, faulted};
use crate::reactor::ring::{Buffer, Mode, OFlags, Ring};
use bytes::Bytes;
use gitring_streamcache::{Clock, Disk, Listed};
use rustix::fs::FlockOperation;
use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;

/// Step of reads from disk, and so how far ahead of a cold read is read.
const SCRATCH_BYTES: usize = 1 << 20;
/// Scratch buffers of one reactor: 8 MiB.
const SCRATCH_MAX: usize = 8;
/// Names that are tried for a file that will have none.
const NAMES_MAX: usize = 16;
/// Only its owner reads what was fetched: access was checked for the fetch, not for the file.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Numbers of files without a name, where the file system makes none.
static UNNAMED: AtomicU64 = AtomicU64::new(0);

/// One reactor's disk; clones share its ring and buffers.
#[derive(Debug, Clone)]
pub struct CacheDisk {
    ring: Ring,
    scratch: Rc<Scratch>,
}

/// Buffers whose content nobody wants: reading into them brings files into memory.
#[derive(Debug)]
struct Scratch {
    idle: RefCell<Vec<Buffer>>,
    seats: Semaphore,
}

/// A locked file, flock(2); unlocked when it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

// === impl CacheDisk ===

impl CacheDisk {
    /// The disk of the reactor that `ring` belongs to.
    pub fn new(ring: Ring) -> Self {
        let scratch = Scratch { idle: RefCell::default(), seats: Semaphore::new(SCRATCH_MAX) };
        Self { ring, scratch: Rc::new(scratch) }
    }

    /// Brings `range` into memory from its first page that is not, and what follows it up to a
    /// step. Returns once it has been read.
    async fn warm(&self, file: &File, part: &Part, length_bytes: u64) -> io::Result<()> {
        let Some(absent) = part.first_absent() else { return Ok(()) };
        let seat = self.scratch.seats.acquire().await.map_err(io::Error::other)?;
        // Another reader may have read it meanwhile.
        let Some(absent) = part.first_absent().map(|now| now.max(absent)) else { return Ok(()) };
        let end = part.end().max(absent + SCRATCH_BYTES as u64).min(length_bytes);
        let idle = self.scratch.idle.borrow_mut().pop();
        let mut buffer = idle.unwrap_or_else(|| Buffer::new(SCRATCH_BYTES));
        let mut at = absent;
        while at < end {
            let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(SCRATCH_BYTES);
            let (result, returned) = self.ring.read(file.descriptor(), at, buffer, 0..step).await;
            buffer = returned;
            match result? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => at += read as u64,
            }
        }
        self.scratch.idle.borrow_mut().push(buffer);
        drop(seat);
        Ok(())
    }

    /// Reads into memory of the bytes' own.
    async fn read_owned(&self, file: &File, range: Range<u64>) -> io::Result<Bytes> {
        let length_bytes = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut buffer = Buffer::new(length_bytes);
        let mut filled = 0;
        while filled < length_bytes {
            let at = range.start + filled as u64;
            let rest = filled..length_bytes;
            let (result, returned) = self.ring.read(file.descriptor(), at, buffer, rest).await;
            buffer = returned;
            match result? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(Bytes::from_owner(buffer))
    }

    async fn open_file(&self, path: &Path, flags: OFlags) -> io::Result<Arc<File>> {
        let file = self.ring.open(path, flags, FILE_MODE).await?;
        Ok(Arc::new(File::new(file, self.ring.dropper())))
    }

    /// A file that had a name for a moment.
    async fn create_and_unlink(&self, directory: &Path) -> io::Result<Arc<File>> {
        for _ in 0..NAMES_MAX {
            let number = UNNAMED.fetch_add(1, Ordering::Relaxed);
            let name = format!(".unnamed-{}-{number}", std::process::id());
            let path = directory.join(name);
            match self.create(&path).await {
                Ok(file) => {
                    self.ring.unlink(&path).await?;
                    return Ok(file);
                }
                // A process that had our number was killed between the two.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// As [`Ring::blocking`], with one error for both.
    async fn blocking<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = path.to_owned();
        self.ring.blocking(move || work(path)).await?
    }
}

impl Clock for CacheDisk {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

impl Disk for CacheDisk {
    type File = File;
    type Lock = Lock;

    async fn create(&self, path: &Path) -> io::Result<Arc<File>> {
        self.open_file(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL).await
    }

    async fn create_unnamed(&self, directory: &Path) -> io::Result<Arc<File>> {
        match self.open_file(directory, OFlags::RDWR | OFlags::TMPFILE).await {
            Err(error) if is_without_unnamed(&error) => self.create_and_unlink(directory).await,
            made => made,
        }
    }

    async fn open(&self, path: &Path) -> io::Result<(Arc<File>, u64)> {
        let file = self.open_file(path, OFlags::RDONLY).await?;
        let length_bytes = file.length_bytes()?;
        Ok((file, length_bytes))
    }

    async fn write(&self, file: &Arc<File>, offset_bytes: u64, data: Bytes) -> io::Result<()> {
        self.ring.write(file.descriptor(), offset_bytes, data).await
    }

    async fn read(
        &self,
        file: &Arc<File>,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> io::Result<Bytes> {
        let file_bytes = file.length_bytes()?;
        let end = offset_bytes.checked_add(length_bytes as u64);
        let end = end.filter(|&end| end <= file_bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        // Also in maps that this read does not touch: what was given out of them is worth nothing.
        if file.is_faulted() {
            return Err(faulted());
        }
        if length_bytes == 0 {
            return Ok(Bytes::new());
        }
        let range = offset_bytes..end;
        let Some(part) = file.part(range.clone(), file_bytes) else {
            return self.read_owned(file, range).await;
        };
        self.warm(file, &part, file_bytes).await?;
        part.into_bytes()
    }

    fn is_sound(&self, file: &File) -> bool {
        !file.is_faulted()
    }

    fn linked_bytes(&self, file: &File) -> Option<u64> {
        let stat = rustix::fs::fstat(&**file.descriptor()).ok().filter(|stat| stat.st_nlink > 0)?;
        u64::try_from(stat.st_size).ok()
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ring.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.ring.unlink(path).await
    }

    async fn remove_directory(&self, path: &Path) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "on a thread for file work")]
        self.blocking(path, std::fs::remove_dir).await
    }

    async fn create_directory(&self, path: &Path) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "on a thread for file work")]
        self.blocking(path, std::fs::create_dir_all).await
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        #[expect(clippy::disallowed_methods, reason = "on a thread for file work")]
        let list = |directory| {
            let listed = |entry: io::Result<std::fs::DirEntry>| {
                let entry = entry?;
                let is_directory = entry.file_type()?.is_dir();
                Ok(Listed { name: entry.file_name(), is_directory })
            };
            std::fs::read_dir::<PathBuf>(directory)?.map(listed).collect()
        };
        self.blocking(directory, list).await
    }

    async fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let lock = |path: PathBuf| {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, flags, FILE_MODE)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Ok(Some(Lock { _file: file })),
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        self.blocking(path, lock).await
    }

    async fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let free = |directory: PathBuf| {
            let system = rustix::fs::statvfs(&directory)?;
            Ok(system.f_bavail.saturating_mul(system.f_frsize))
        };
        self.blocking(directory, free).await
    }
}

/// open(2), O_TMPFILE: what file systems and kernels that do not know it say.
fn is_without_unnamed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL))
}
