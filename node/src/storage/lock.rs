//! The lock file beside a repository, or beside a file of it, `<path>.lock`, as Gitaly takes it:
//! whoever creates it may create, replace or remove what stands at the path.
//!
//! A process that is killed leaves its lock file behind, and Gitaly then refuses the path for ever.
//! So the holder also has a flock(2) on the file, which goes with the process, and writes a mark
//! into it: a marked file that nobody has flocked is taken over. One of Gitaly's own, which has no
//! mark, counts as abandoned after an hour; no vote or removal takes that long.
//!
//! Always true: at most one process of ours holds a path, and none while a Gitaly does that has
//! taken its lock within the hour.
//! Never here: waiting. A lock that is held is an error.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MARK: &[u8] = b"gitring\n";
/// As old as a lock file without a mark may get: Gitaly's housekeeping gives reference locks as
/// long.
const FOREIGN_AGE_MAX: Duration = Duration::from_secs(3600);
/// Others may take and release the lock while we look at it.
const ATTEMPTS_MAX: usize = 10;

/// Holds a path until it is dropped, which blocks.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// Has the flock.
    file: File,
}

/// Why a path was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("the repository is locked")]
    Held,
    /// The file system failed.
    #[error("lock the repository")]
    Io(#[from] io::Error),
}

// === impl Lock ===

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
impl Lock {
    /// Locks `target`, whose parent exists.
    pub fn take(target: &Path) -> Result<Self, LockError> {
        let mut path = target.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..ATTEMPTS_MAX {
            // Nobody writes to it later: the mode is Gitaly's.
            match File::options().write(true).create_new(true).mode(0o400).open(&path) {
                Ok(file) => {
                    let lock = Self { path, file };
                    // Without flock (some network file systems) the file alone has to do.
                    if flock(&lock.file, FlockOperation::LockExclusive).is_ok() {
                        (&lock.file).write_all(MARK)?;
                    }
                    return Ok(lock);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            match File::open(&path) {
                Ok(file) => {
                    if let Some(file) = take_over(&path, file)? {
                        tracing::warn!(path = %path.display(), "an abandoned lock is taken over");
                        return Ok(Self { path, file });
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LockError::Held)
    }
}

impl Drop for Lock {
    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    fn drop(&mut self) {
        // While the flock is held: nobody can have put another file in its place.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "release the lock of a repository");
        }
    }
}

/// The flocked file if its owner is gone; `None` if it went away meanwhile.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn take_over(path: &Path, mut file: File) -> Result<Option<File>, LockError> {
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| LockError::Held)?;
    let opened = file.metadata()?;
    let is_in_place = fs::symlink_metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()));
    if !is_in_place {
        return Ok(None);
    }
    let mut content = Vec::new();
    Read::by_ref(&mut file).take(MARK.len() as u64 + 1).read_to_end(&mut content)?;
    if content == MARK || is_old(&opened) { Ok(Some(file)) } else { Err(LockError::Held) }
}

fn is_old(metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age > FOREIGN_AGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test prepares files")]
    fn abandoned_locks_are_taken_over_and_held_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (target, path) = (dir.path().join("a.git"), dir.path().join("a.git.lock"));
        let check = |expected: bool, what: &str| {
            let taken = Lock::take(&target);
            assert_eq!(taken.is_ok(), expected, "{what}: {taken:?}");
            if let Ok(lock) = taken {
                assert!(matches!(Lock::take(&target), Err(LockError::Held)), "{what}: held");
                drop(lock);
                assert!(!path.exists(), "{what}: released");
            }
        };
        check(true, "nobody holds it");
        fs::write(&path, MARK).unwrap();
        check(true, "left behind by a process of ours");
        fs::write(&path, "").unwrap();
        check(false, "a Gitaly holds it");
        let old = SystemTime::now() - FOREIGN_AGE_MAX - Duration::from_secs(10);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        check(true, "left behind by a Gitaly");
    }

    /// Goal: exclusion holds while locks are taken, released, abandoned and taken over.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "threads that block are the point")]
    fn one_at_a_time_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.git");
        fs::write(dir.path().join("a.git.lock"), MARK).unwrap();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut taken = 0;
                    while taken < 50 {
                        match Lock::take(&target) {
                            Ok(lock) => {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                std::thread::yield_now();
                                inside.fetch_sub(1, Ordering::SeqCst);
                                taken += 1;
                                drop(lock);
                            }
                            Err(LockError::Held) => std::thread::yield_now(),
                            Err(LockError::Io(error)) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        assert!(!dir.path().join("a.git.lock").exists());
    }
}
