//! Stamps: what `stat` said of a path, and whether that can be trusted to notice a change.
//!
//! Always true: two different contents of one path have different stamps, provided that the
//! first of them was *settled* when it was read ([`Stamp::is_settled`]).
//! Never here: what a path contains.

mod reach;
mod resolution;

pub(crate) use reach::{Reach, below, is_local};
pub use resolution::probe;

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Stat, fstat};

/// How much older than the moment of reading every time stamp must be.
///
/// Kernels before 6.13 stamp files with the last timer tick: up to 10 ms coarse at HZ=100. A
/// second write within one tick of the first leaves the stamp as it was, so a stamp younger than
/// two ticks says nothing.
pub const SETTLE: Duration = Duration::from_millis(20);

/// What `stat` says of one path at one moment; an absent path has a stamp as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(Option<Present>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Present {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified_nanos: i128,
    changed_nanos: i128,
}

// === impl Stamp ===

impl Stamp {
    /// Stats `path`, following symbolic links. An absent path is no error.
    pub fn of(path: &Path) -> io::Result<Self> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Self::of_metadata(&metadata)),
            Err(error) if is_absent(&error) => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    /// The stamp of something already opened or stated.
    pub fn of_metadata(metadata: &Metadata) -> Self {
        Self(Some(Present {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified_nanos: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed_nanos: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }))
    }

    /// As [`Self::of`], for a name in a directory that is open: one component to look up.
    pub fn at(directory: impl AsFd, name: &OsStr) -> io::Result<Self> {
        Reach::Disk.stamp(directory, Path::new(name))
    }

    /// The stamp of what is open. Never waits on a local file system.
    pub(crate) fn of_open(opened: impl AsFd) -> io::Result<Self> {
        Ok(Self::of_stat(&fstat(opened)?))
    }

    fn of_stat(stat: &Stat) -> Self {
        Self(Some(Present {
            device: stat.st_dev,
            inode: stat.st_ino,
            size_bytes: stat.st_size.cast_unsigned(),
            modified_nanos: nanos(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed_nanos: nanos(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }))
    }

    /// The stamp of a path that does not exist.
    pub fn absent() -> Self {
        Self(None)
    }

    /// The file system; none for an absent path.
    pub(crate) fn device(&self) -> Option<u64> {
        self.0.map(|present| present.device)
    }

    /// Whether nothing stood at the path.
    pub fn is_absent(&self) -> bool {
        self.0.is_none()
    }

    /// The same for a directory. One directory stays the same inode while its entries change, so
    /// where the file system gives each change that follows a `stat` a time of its own
    /// ([`probe`]), a stamp is settled as soon as it was taken. (A file is replaced by another
    /// inode, whose first times are as coarse as ever.)
    pub fn is_settled_directory(&self, read_at: SystemTime) -> bool {
        self.0.is_some_and(|present| resolution::is_fine(present.device))
            || self.is_settled(read_at)
    }

    /// Whether a change after `read_at` is certain to change this stamp: both of its times lie at
    /// least [`SETTLE`] before `read_at`. An absent path is settled: to come into being changes it.
    pub fn is_settled(&self, read_at: SystemTime) -> bool {
        let Some(present) = &self.0 else { return true };
        let Ok(since_epoch) = read_at.duration_since(UNIX_EPOCH) else { return false };
        let limit = since_epoch.saturating_sub(SETTLE).as_nanos().cast_signed();
        present.modified_nanos <= limit && present.changed_nanos <= limit
    }
}

fn nanos(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_settles_twenty_milliseconds_after_the_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("HEAD");
        std::fs::write(&path, "ref: refs/heads/main\n").unwrap();
        let stamp = Stamp::of(&path).unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert!(!stamp.is_settled(written + Duration::from_millis(19)));
        assert!(stamp.is_settled(written + Duration::from_millis(40)));
    }

    #[test]
    fn an_absent_path_has_a_stamp_and_coming_into_being_changes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packed-refs");
        let before = Stamp::of(&path).unwrap();
        assert!(before.is_absent() && before.is_settled(SystemTime::now()));
        std::fs::write(&path, "").unwrap();
        assert_ne!(before, Stamp::of(&path).unwrap());
        assert!(Stamp::of(&path.join("below-a-file")).unwrap().is_absent());
    }
}
