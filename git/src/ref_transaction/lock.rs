//! `<file>.lock`: one file at a time may be changed by one process (git's lockfile).
//!
//! Always true: a lock of ours is a link to the session's file; one of git's is left alone.
//! Never here: what is done under a lock.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bstr::BString;

use super::session::{Holder, Session, holder};
use super::waiting::{Waiting, Waits};
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
    /// The same, and nobody has waited for it.
    Crowded,
    /// A file is where a directory should be.
    NotADirectory,
    /// The session's file is gone: another session is needed.
    Gone,
    Io(io::Error),
    Recover(RecoverError),
}

/// Waiting for one lock.
struct Pauses<'w> {
    waiting: Option<&'w Waiting>,
    /// Once it has begun.
    waits: Option<Waits<'w>>,
    deadline: Instant,
    pause: Duration,
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
    let mut pauses =
        Pauses { waiting: files.waiting.as_deref(), waits: None, deadline, pause: PAUSE_MIN };
    if !session.hold(name, Instant::now()) {
        pauses.enter()?;
        if !session.hold(name, deadline) {
            return Err(LockError::Held);
        }
    }
    let path = path_of(file);
    let taken = take(files, session, &path, &mut pauses, made);
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
    pauses: &mut Pauses<'_>,
    made: &mut Vec<PathBuf>,
) -> Result<(), LockError> {
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
            pauses.wait()?;
        } else if kind == ErrorKind::AlreadyExists {
            match holder(path) {
                Holder::Nobody => {}
                Holder::Dead => {
                    recover(files).map_err(LockError::Recover)?;
                    pauses.wait()?;
                }
                Holder::Alive | Holder::Other => pauses.wait()?,
            }
        } else {
            return Err(LockError::Io(error));
        }
    }
}

/// Whether somebody seems to hold a lock, without taking it.
pub(super) fn is_taken(session: &Session, (name, file): (&BString, &Path)) -> bool {
    session.holds(name) || path_of(file).exists()
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

// === impl Pauses ===

impl Pauses<'_> {
    /// Becomes one of those who wait.
    fn enter(&mut self) -> Result<(), LockError> {
        if let (Some(waiting), None) = (self.waiting, &self.waits)
            && !self.left().is_zero()
        {
            self.waits = Some(waiting.enter().ok_or(LockError::Crowded)?);
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), LockError> {
        let left = self.left();
        if left.is_zero() {
            return Err(LockError::Held);
        }
        self.enter()?;
        std::thread::sleep(left.min(self.pause));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
