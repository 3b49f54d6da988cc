//! Replacing a repository's custom hooks by those of an archive, and making an archive of them.
//!
//! ```text
//!   Intake (the archive, as it comes) ──► Replacement (unpacked, synced) ──► publish ──► finish
//! ```
//!
//! Always true:
//! - the repository has the old hooks or the new ones, whole; after [`Replacement::publish`] the
//!   new ones are on stable storage;
//! - from [`Intake::begin`] on the repository's hooks are locked against other writers, Gitaly's
//!   included; whatever is dropped half way is removed by a worker.
//!
//! Never here: messages, votes.

use super::archive::{ArchiveError, ArchiveLimits, DIRECTORY, Packing, Unpacking};
use super::vote::vote_of;
use crate::reactor::workers::{WorkerError, Workers};
use crate::storage::{Lock, LockError, make_scratch};
use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Of a worker.
const SLICE: Duration = Duration::from_millis(10);
/// Read at once of an archive.
const PIECE_BYTES: usize = 512 * 1024;

/// Why custom hooks were not replaced or read.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Somebody else replaces them.
    #[error("locking hooks: file already locked")]
    Locked,
    /// The archive.
    #[error("extracting hooks: {0}")]
    Archive(#[from] ArchiveError),
    /// The file system failed.
    #[error("{step}")]
    Io {
        /// What was done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No worker could do it.
    #[error(transparent)]
    Workers(#[from] WorkerError),
}

/// An archive that comes in.
pub struct Intake {
    held: Held<Taking>,
}

/// New hooks that are ready.
pub struct Replacement {
    held: Held<Stage>,
    vote: [u8; 20],
}

/// An archive of custom hooks.
pub struct Packed {
    held: Held<File>,
}

/// Where new hooks grow.
struct Stage {
    /// Goes before the lock does.
    directory: TempDir,
    git_dir: PathBuf,
    _lock: Lock,
}

/// What has come of an archive.
struct Taking {
    stage: Stage,
    archive: File,
    bytes: u64,
    limits: ArchiveLimits,
}

/// Something that is worked on, and ended, by workers alone.
struct Held<T: Send + 'static> {
    value: Option<T>,
    workers: Workers,
}

/// Makes an archive of the custom hooks of a repository; `None` if it has none. `root` is the
/// root of its storage.
pub async fn pack(
    workers: &Workers,
    root: &Path,
    git_dir: &Path,
    limits: ArchiveLimits,
) -> Result<Option<Packed>, ReplaceError> {
    let (root, git_dir) = (root.to_owned(), git_dir.to_owned());
    let begin = move || -> Result<Option<Packing>, ReplaceError> {
        let scratch = make_scratch(&root).map_err(ReplaceError::at("creating temp directory"))?;
        let archive = tempfile::tempfile_in(scratch);
        let archive = archive.map_err(ReplaceError::at("creating temp file"))?;
        Ok(Packing::begin(archive, &git_dir, limits)?)
    };
    let Some(packing) = workers.run(begin).await?? else { return Ok(None) };
    let mut held = Held::new(packing, workers);
    while !held.work(|packing| packing.slice(Instant::now() + SLICE)).await?? {}
    let archive = held.turn(Packing::finish).await??;
    Ok(Some(Packed { held: Held::new(archive, workers) }))
}

// === impl Intake ===

impl Intake {
    /// Locks the custom hooks of the repository `git_dir` and begins to take an archive. `root` is
    /// the root of its storage.
    pub async fn begin(
        workers: &Workers,
        root: &Path,
        git_dir: &Path,
        limits: ArchiveLimits,
    ) -> Result<Self, ReplaceError> {
        let (root, git_dir) = (root.to_owned(), git_dir.to_owned());
        let begin = move || -> Result<Taking, ReplaceError> {
            let lock = Lock::take(&git_dir.join(DIRECTORY))?;
            let failed = ReplaceError::at("creating temp directory");
            let scratch = make_scratch(&root).map_err(&failed)?;
            let directory = tempfile::Builder::new().prefix("hooks").tempdir_in(&scratch);
            let directory = directory.map_err(&failed)?;
            let archive = tempfile::tempfile_in(directory.path()).map_err(&failed)?;
            let stage = Stage { directory, git_dir, _lock: lock };
            Ok(Taking { stage, archive, bytes: 0, limits })
        };
        Ok(Self { held: Held::new(workers.run(begin).await??, workers) })
    }

    /// Takes the next piece.
    pub async fn put(&mut self, piece: Bytes) -> Result<(), ReplaceError> {
        self.held.work(move |taking| taking.put(&piece)).await?
    }

    /// Unpacks what has come, which is all of it. An archive without custom hooks, or no archive
    /// at all, makes a repository without hooks.
    pub async fn unpack(self) -> Result<Replacement, ReplaceError> {
        let workers = self.held.workers.clone();
        let mut unpacking = Held::new(self.held.turn(Taking::unpack).await??, &workers);
        match unpack(&mut unpacking).await {
            Ok(vote) => {
                let stage = unpacking.turn(|(_, stage)| stage).await?;
                Ok(Replacement { held: Held::new(stage, &workers), vote })
            }
            Err(error) => {
                // Whoever tries again at once should not find a lock.
                let _ = unpacking.turn(drop).await;
                Err(error)
            }
        }
    }
}

async fn unpack(unpacking: &mut Held<(Unpacking, Stage)>) -> Result<[u8; 20], ReplaceError> {
    while !unpacking.work(|(unpacking, _)| unpacking.slice(Instant::now() + SLICE)).await?? {}
    let vote = unpacking.work(|(_, stage)| vote_of(&stage.hooks())).await?;
    vote.map_err(ReplaceError::at("generating prepared vote"))
}

// === impl Taking ===

impl Taking {
    fn put(&mut self, piece: &[u8]) -> Result<(), ReplaceError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.limits.bytes_max {
            return Err(ArchiveError::TooLong(self.limits.bytes_max).into());
        }
        self.archive.write_all(piece).map_err(ReplaceError::at("keep the archive"))
    }

    fn unpack(self) -> Result<(Unpacking, Stage), ReplaceError> {
        let Self { stage, archive, limits, .. } = self;
        let unpacking = Unpacking::begin(archive, stage.directory.path(), limits)?;
        Ok((unpacking, stage))
    }
}

// === impl Replacement ===

impl Replacement {
    /// What is voted on before [`Self::publish`]; afterwards [`vote_of`] the repository's hooks
    /// is the same.
    pub fn vote(&self) -> [u8; 20] {
        self.vote
    }

    /// Puts the new hooks into place, durably.
    pub async fn publish(&mut self) -> Result<(), ReplaceError> {
        self.held.work(|stage| stage.publish()).await?
    }

    /// Removes the old hooks and unlocks the repository. Without it both happen a little later.
    pub async fn finish(self) {
        // A failure leaves what is swept, and what the next one takes over.
        let _ = self.held.turn(drop).await;
    }
}

// === impl Stage ===

impl Stage {
    fn hooks(&self) -> PathBuf {
        self.directory.path().join(DIRECTORY)
    }

    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    fn publish(&mut self) -> Result<(), ReplaceError> {
        let (new, target) = (self.hooks(), self.git_dir.join(DIRECTORY));
        let failed = ReplaceError::at("moving new hooks to repo");
        match renameat_with(CWD, &new, CWD, &target, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => fs::rename(&new, &target).map_err(failed)?,
            // Some network file systems cannot; then there are no hooks for a moment, as in
            // Gitaly.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let old = self.directory.path().join("previous_hooks");
                match fs::rename(&target, old) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
                    _ => fs::rename(&new, &target).map_err(failed)?,
                }
            }
            Err(error) => return Err(failed(error.into())),
        }
        let synced = File::open(&self.git_dir).and_then(|directory| directory.sync_all());
        synced.map_err(ReplaceError::at("syncing custom hooks parent directory"))
    }
}

// === impl Packed ===

impl Packed {
    /// The next piece of the archive; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReplaceError> {
        let read = self.held.work(|archive| {
            let mut piece = Vec::new();
            let piece_bytes = PIECE_BYTES as u64;
            Read::by_ref(archive).take(piece_bytes).read_to_end(&mut piece).map(|_| piece)
        });
        let piece = read.await?.map_err(ReplaceError::at("read the archive"))?;
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

// === impl Held ===

impl<T: Send + 'static> Held<T> {
    fn new(value: T, workers: &Workers) -> Self {
        Self { value: Some(value), workers: workers.clone() }
    }

    async fn work<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, WorkerError> {
        // It is gone only where a worker panicked, or refused.
        let mut value = self.value.take().ok_or(WorkerError::Panicked)?;
        let job = move || {
            let result = work(&mut value);
            (value, result)
        };
        let (value, result) = self.workers.run(job).await?;
        self.value = Some(value);
        Ok(result)
    }

    /// Makes something else of it.
    async fn turn<R: Send + 'static>(
        mut self,
        work: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, WorkerError> {
        let value = self.value.take().ok_or(WorkerError::Panicked)?;
        self.workers.run(move || work(value)).await
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            // Where no worker can be had it ends here.
            let _ = self.workers.submit(move || drop(value));
        }
    }
}

// === impl ReplaceError ===

impl ReplaceError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

impl From<LockError> for ReplaceError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held => Self::Locked,
            LockError::Io(source) => Self::Io { step: "locking hooks", source },
        }
    }
}
