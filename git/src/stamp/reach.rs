//! How far a look for a stamp may go: to the disk, or no further than the kernel's memory.
//!
//! Always true: a stamp is the same by whichever way it is told.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat, statfs};
use rustix::io::Errno;

use super::Stamp;

/// File systems whose inodes the kernel knows by itself: no server or program is asked what
/// became of one that is in memory. `f_type` of statfs(2): ext4, XFS, btrfs, tmpfs.
const LOCAL: [i64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];

/// What may be looked into for a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The disk, if need be.
    Disk,
    /// The kernel's caches of names and inodes (`RESOLVE_CACHED`, openat2(2), since Linux 5.12).
    /// On a local file system ([`is_local`]) this never waits.
    Memory,
}

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Whether `path` lies on a file system that [`Reach::Memory`] is good for.
pub(crate) fn is_local(path: &Path) -> bool {
    #[expect(clippy::unnecessary_cast, reason = "its type is not the same everywhere")]
    statfs(path).is_ok_and(|found| LOCAL.contains(&(found.f_type as i64)))
}

/// `path` as it is called from `home` on, if it lies below.
pub(crate) fn below<'a>(home: &Path, path: &'a Path) -> &'a Path {
    let name = path.as_os_str().as_bytes().strip_prefix(home.as_os_str().as_bytes());
    let name = name.and_then(|name| name.strip_prefix(b"/"));
    name.map_or(path, |name| Path::new(OsStr::from_bytes(name)))
}

// === impl Reach ===

impl Reach {
    /// Opens a directory to look names up in it.
    pub(crate) fn directory(self, base: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
        let flags = PATH | OFlags::DIRECTORY;
        Ok(match self {
            Self::Disk => openat(base, path, flags, Mode::empty())?,
            Self::Memory => openat2(base, path, flags, Mode::empty(), ResolveFlags::CACHED)?,
        })
    }

    /// The stamp of `path`, from `base` on unless it is absolute. Follows links; an absent path is
    /// no error, one that is out of reach is.
    pub(crate) fn stamp(self, base: impl AsFd, path: &Path) -> io::Result<Stamp> {
        let found = match self {
            Self::Disk => statat(base, path, AtFlags::empty()),
            Self::Memory => {
                openat2(base, path, PATH, Mode::empty(), ResolveFlags::CACHED).and_then(fstat)
            }
        };
        match found {
            Ok(stat) => Ok(Stamp::of_stat(&stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Stamp::absent()),
            Err(error) => Err(error.into()),
        }
    }
}
