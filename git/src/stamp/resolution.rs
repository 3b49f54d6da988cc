//! Which file systems tell changes apart however fast they follow each other.
//!
//! From Linux 6.13 on ext4, XFS, btrfs and tmpfs give an inode whose times were looked at a finer
//! time with its next change ("multigrain timestamps"). Kernel versions are patched and file
//! systems have several drivers, so it is tried and not looked up.
//!
//! Always true: a file system is fine only if a probe on it never met two changes with one time,
//! in less time than coarse clocks take to tick.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Changes of one round, so few that a busy machine lets a round pass now and then. A clock that
/// ticks each millisecond, the finest there is among coarse ones, gives at most four times in
/// [`ROUND_MAX`].
const CHANGES: usize = 16;
/// A round that took longer says nothing: something else ran.
const ROUND_MAX: Duration = Duration::from_millis(3);
/// Rounds until the machine is taken for too busy to tell.
const ROUNDS_MAX: usize = 100;

/// Devices of the file systems that were found fine.
static FINE: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

/// Tries the file system of `directory`, in which it makes and removes a directory of its own;
/// whether it is fine. Takes about a millisecond.
///
/// # Errors
/// What stands in the way of writing there. Then it counts as coarse, which only costs time.
pub fn probe(directory: &Path) -> io::Result<bool> {
    let scratch = tempfile::Builder::new().prefix("stamps-").tempdir_in(directory)?;
    for _ in 0..ROUNDS_MAX {
        let began = Instant::now();
        let is_fine = round(scratch.path())?;
        if !is_fine {
            return Ok(false);
        }
        if began.elapsed() <= ROUND_MAX {
            let device = fs::metadata(scratch.path())?.dev();
            let mut fine = FINE.lock().unwrap_or_else(PoisonError::into_inner);
            fine.get_or_insert_default().insert(device);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether each of a round's changes, as git makes them, changed the directory's times.
fn round(scratch: &Path) -> io::Result<bool> {
    let (lock, name) = (scratch.join("ref.lock"), scratch.join("ref"));
    for _ in 0..CHANGES {
        let before = fs::metadata(scratch)?;
        fs::write(&lock, "")?;
        let locked = fs::metadata(scratch)?;
        fs::rename(&lock, &name)?;
        let after = fs::metadata(scratch)?;
        let times = |found: &fs::Metadata| (found.mtime(), found.mtime_nsec(), found.ctime_nsec());
        if times(&before) == times(&locked) || times(&locked) == times(&after) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a probe has found the file system on this device fine.
pub(super) fn is_fine(device: u64) -> bool {
    let fine = FINE.lock().unwrap_or_else(PoisonError::into_inner);
    fine.as_ref().is_some_and(|devices| devices.contains(&device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;
    use std::time::SystemTime;

    /// Goal: where the probe says that a file system is fine, no change goes unnoticed.
    /// Method: changes right behind one another, each with the stamp taken just before.
    #[test]
    fn on_a_fine_file_system_no_change_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        if !probe(dir.path()).unwrap() {
            return;
        }
        for change in 0..2_000 {
            let before = Stamp::of(dir.path()).unwrap();
            assert!(before.is_settled_directory(SystemTime::now()));
            let (lock, name) = (dir.path().join("a.lock"), dir.path().join("a"));
            fs::write(&lock, change.to_string()).unwrap();
            fs::rename(&lock, &name).unwrap();
            assert_ne!(before, Stamp::of(dir.path()).unwrap(), "change {change}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_counts_as_coarse() {
        assert!(probe(Path::new("/proc/self")).is_err());
    }
}
