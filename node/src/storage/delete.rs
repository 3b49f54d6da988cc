//! Deleting a directory with all it holds, in slices.
//!
//! Always true: symbolic links are deleted, never followed; what others delete meanwhile is no
//! error; a slice ends soon after [`SLICE`].
//! Never here: directories that clients can see.

use crate::reactor::workers::{WorkerError, Workers};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(5);
/// Before asking busy workers again. Nobody waits for a deletion.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Deletion {
    /// Directories that are not empty yet, each in the one before it.
    stack: Vec<PathBuf>,
}

// === impl Deletion ===

impl Deletion {
    pub(super) fn of(directory: PathBuf) -> Self {
        Self { stack: vec![directory] }
    }

    /// Deletes all, however long it takes.
    pub(super) async fn run(self, workers: &Workers) -> io::Result<()> {
        let mut rest = self;
        loop {
            let stack = rest.stack.clone();
            let slice = move || {
                let is_done = rest.slice(Instant::now() + SLICE);
                is_done.map(|is_done| (is_done, rest))
            };
            match workers.run(slice).await {
                Ok(Ok((true, _))) => return Ok(()),
                Ok(Ok((false, later))) => rest = later,
                Ok(Err(error)) => return Err(error),
                Err(WorkerError::Full) => {
                    rest = Self { stack };
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error @ WorkerError::Panicked) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Whether nothing is left.
    fn slice(&mut self, until: Instant) -> io::Result<bool> {
        while let Some(directory) = self.stack.last() {
            match empty(directory, until)? {
                Emptied::Yes => drop(self.stack.pop()),
                Emptied::But(inner) => self.stack.push(inner),
                Emptied::Late => return Ok(false),
            }
        }
        Ok(true)
    }
}

enum Emptied {
    /// And removed.
    Yes,
    /// This directory has to be emptied first.
    But(PathBuf),
    Late,
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn empty(directory: &Path, until: Instant) -> io::Result<Emptied> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            fs::set_permissions(directory, Permissions::from_mode(0o700))?;
            fs::read_dir(directory)
        }
        entries => entries,
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Emptied::Yes),
        // It was a file all along.
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return absent_is_fine(fs::remove_file(directory)).map(|()| Emptied::Yes);
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        if Instant::now() >= until {
            return Ok(Emptied::Late);
        }
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            return Ok(Emptied::But(entry.path()));
        }
        let removed = fs::remove_file(entry.path()).or_else(|error| {
            if error.kind() != ErrorKind::PermissionDenied {
                return Err(error);
            }
            fs::set_permissions(directory, Permissions::from_mode(0o700))?;
            fs::remove_file(entry.path())
        });
        absent_is_fine(removed)?;
    }
    absent_is_fine(fs::remove_dir(directory)).map(|()| Emptied::Yes)
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
