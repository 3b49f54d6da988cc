//! `<file>.lock`: one file at a time may be changed by one process (git's lockfile).
//!
//! Always true: a lock of ours is a link to the session's file; one of git's is left alone.
//! Never here: what is done under a lock.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bstr::BString;

use super::session::{Holder, Session, holder};
use super::{RecoverError, RefFiles, recover};
use crate::files::FileCalls;

/// Pauses between looks at a lock of somebody else; they grow as in git.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// How often directories may go between their making and the lock in them.
const VANISHED_MAX: usize = 20;

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Lock {
    /// By which the session knows it.
    pub(super) name: BString,
    /// The lock file.
    pub(super) path: PathBuf,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub(super) enum LockError {
    Held,
    /// A file is where a directory should be.
    NotADirectory,
    /// The session's file is gone: another session is needed.
    Gone,
    Io(io::Error),
    Recover(RecoverError),
}

/// Locks `file` for the session; missing directories above it are made, and added to `made`.
pub(super) fn acquire(
    files: &RefFiles,
    session: &Session,
    (name, file): (&BString, &Path),
    made: &mut Vec<PathBuf>,
) -> Result<Lock, LockError> {
    let is_packed = name == super::PACKED_LOCK;
    let deadline =
        Instant::now() + if is_packed { files.packed_timeout } else { files.ref_timeout };
    if !session.hold(name, deadline) {
        return Err(LockError::Held);
    }
    let path = path_of(file);
    let taken = take(files, session, &path, deadline, made);
    match taken {
        Ok(()) => Ok(Lock { name: name.clone(), path }),
        Err(error) => {
            session.release([name].into_iter());
            Err(error)
        }
    }
}

/// The lock file of a file.
pub(super) fn path_of(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".lock");
    PathBuf::from(path)
}

fn take(
    files: &RefFiles,
    session: &Session,
    path: &Path,
    deadline: Instant,
    made: &mut Vec<PathBuf>,
) -> Result<(), LockError> {
    let mut pause = PAUSE_MIN;
    let mut vanished = 0;
    loop {
        let Err(error) = files.calls.link(session.marker(), path) else { return Ok(()) };
        let kind = error.kind();
        if kind == ErrorKind::NotFound && !session.is_whole() {
            return Err(LockError::Gone);
        } else if kind == ErrorKind::NotFound && vanished < VANISHED_MAX {
            vanished += 1;
            make_directories(&*files.calls, path.parent().unwrap_or(path), made)?;
        } else if kind == ErrorKind::NotADirectory {
            return Err(LockError::NotADirectory);
        } else if kind == ErrorKind::TooManyLinks {
            wait(deadline, &mut pause)?;
        } else if kind == ErrorKind::AlreadyExists {
            match holder(path) {
                Holder::Nobody => {}
                Holder::Dead => {
                    recover(files).map_err(LockError::Recover)?;
                    wait(deadline, &mut pause)?;
                }
                Holder::Alive | Holder::Other => wait(deadline, &mut pause)?,
            }
        } else {
            return Err(LockError::Io(error));
        }
    }
}

fn wait(deadline: Instant, pause: &mut Duration) -> Result<(), LockError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(LockError::Held);
    }
    std::thread::sleep(left.min(*pause));
    *pause = (*pause * 2).min(PAUSE_MAX);
    Ok(())
}

/// Makes a directory and those above it. One that goes at once is no error: the caller tries again.
pub(super) fn make_directories(
    calls: &dyn FileCalls,
    directory: &Path,
    made: &mut Vec<PathBuf>,
) -> Result<(), LockError> {
    let Err(error) = calls.create_dir(directory) else {
        made.push(directory.to_path_buf());
        return Ok(());
    };
    let kind = error.kind();
    if kind == ErrorKind::AlreadyExists && (directory.is_dir() || !directory.exists()) {
        return Ok(());
    }
    if matches!(kind, ErrorKind::AlreadyExists | ErrorKind::NotADirectory) {
        return Err(LockError::NotADirectory);
    }
    let parent = directory.parent().filter(|_| kind == ErrorKind::NotFound);
    make_directories(calls, parent.ok_or(LockError::Io(error))?, made)?;
    if calls.create_dir(directory).is_ok() {
        made.push(directory.to_path_buf());
    }
    Ok(())
}
