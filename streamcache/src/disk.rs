//! What the cache needs of a disk and a clock.
//!
//! Always true of every implementation: an operation that is dropped leaves the disk either as if
//! it had not begun or as if it had ended, and never touches memory of its caller afterwards.
//! Never here: an implementation. The node has one, the simulation another.

use bytes::Bytes;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Time, as the cache sees it.
pub trait Clock {
    /// Since the Unix epoch. May jump, as system clocks do.
    fn now(&self) -> Duration;

    /// Returns after `pause`.
    fn sleep(&self, pause: Duration) -> impl Future<Output = ()>;
}

/// File operations of one thread. A file may be used by several threads, each with its own disk.
///
/// Errors are the system's; [`io::ErrorKind::StorageFull`] and [`io::ErrorKind::QuotaExceeded`] have
/// a meaning to the cache.
pub trait Disk: Clock + Clone + 'static {
    /// An open file; closed when the last holder drops it.
    type File: Send + Sync + 'static;
    /// An exclusive lock, held until it is dropped or the process ends, however that comes.
    type Lock: Send + 'static;

    /// A new file for reading and writing; an error if something has that name.
    fn create(&self, path: &Path) -> impl Future<Output = io::Result<Arc<Self::File>>>;

    /// A new file in `directory` that has no name, and is gone with its last holder.
    fn create_unnamed(&self, directory: &Path)
    -> impl Future<Output = io::Result<Arc<Self::File>>>;

    /// Opens a file for reading; its length in bytes.
    fn open(&self, path: &Path) -> impl Future<Output = io::Result<(Arc<Self::File>, u64)>>;

    /// Writes all of `data` at `offset_bytes`.
    fn write(
        &self,
        file: &Arc<Self::File>,
        offset_bytes: u64,
        data: Bytes,
    ) -> impl Future<Output = io::Result<()>>;

    /// Exactly `length_bytes` from `offset_bytes`; [`io::ErrorKind::UnexpectedEof`] where the file
    /// ends before.
    fn read(
        &self,
        file: &Arc<Self::File>,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> impl Future<Output = io::Result<Bytes>>;

    /// The file's length in bytes, if it still has a name. Does not wait.
    fn linked_bytes(&self, file: &Self::File) -> Option<u64>;

    /// Whether all that [`Self::read`] gave of the file was, and is, what lies in it: bytes that are
    /// looked at later may turn out to be unreadable. Asked before the end of a stream is told. Does
    /// not wait.
    fn is_sound(&self, file: &Self::File) -> bool;

    /// Gives a file another name in the same file system, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;

    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Removes an empty directory.
    fn remove_directory(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Creates a directory and those above it; no error if it is there.
    fn create_directory(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// What a directory holds, in any order.
    fn list(&self, directory: &Path) -> impl Future<Output = io::Result<Vec<Listed>>>;

    /// Locks the file at `path`, which is created if need be; `None` if another holder has it.
    fn lock(&self, path: &Path) -> impl Future<Output = io::Result<Option<Self::Lock>>>;

    /// Bytes that may still be written to the file system of `directory`.
    fn free_bytes(&self, directory: &Path) -> impl Future<Output = io::Result<u64>>;
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name within the directory.
    pub name: OsString,
    /// Whether it is a directory itself.
    pub is_directory: bool,
}
