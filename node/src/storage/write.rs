//! Changes of repositories, which wait for disks: on threads of their own.
//!
//! Always true: such a thread waits for disks and locks, never for a client or for votes; what it
//! reports as done is on stable storage, unless the configuration says otherwise.
//! Never here: what is changed.

use super::{Key, OpenError, Opened, RelativePath, Repositories, Shared, StorageName};
use crate::reactor::workers::{WorkerError, Workers};
use gitring_daemon::log;
use gitring_git::files::{FileCalls, System};
use gitring_git::quarantine::sweep;
use gitring_git::ref_transaction::{PrepareError, Recovered, RefFiles, Waiting, recover};
use gitring_git::repository::{Repository, RepositoryError, Snapshot};
use prometheus::Registry;
use std::io;
use std::sync::Arc;

/// Threads that change repositories. A disk is at its best with as many syncs under way.
pub const WRITERS_DEFAULT: usize = 16;

/// Threads beside these for what was prepared and has to come to its end: commits, and the removal of
/// locks that others wait for.
const FINISHERS: usize = 4;
/// Of the first, those that may wait for locks of refs at once; more wait without a thread.
const LOCK_WAITERS_MAX: usize = WRITERS_DEFAULT / 2;

/// How repositories are written to; clones share the threads.
#[derive(Debug, Clone)]
pub struct Writing {
    pub(super) threads: Workers,
    calls: Arc<dyn FileCalls>,
    waiting: Arc<Waiting>,
}

/// Finishes or undoes what a process that died has left in a repository that is opened: changes of
/// refs, and quarantines. One look for a directory, and one at a directory, where nobody did. What
/// cannot be dealt with is logged; whoever writes meets it again.
pub(super) fn finish(repository: &Repository) -> Result<(), RepositoryError> {
    let snapshot = repository.settings()?;
    // Refs that are not written here have no remains of ours.
    let Ok(files) = RefFiles::of(&snapshot) else { return Ok(()) };
    let path = repository.git_dir().display();
    match recover(&files) {
        Ok(recovered) if recovered == Recovered::default() => {}
        Ok(Recovered { finished, undone, locks }) => {
            tracing::warn!(%path, finished, undone, locks, "a dead process left changes of refs");
        }
        Err(error) => {
            let error = log::chain(&error);
            tracing::error!(%path, error = error.as_str(), "recover changes of refs");
        }
    }
    match sweep(snapshot.objects_dir(), usize::MAX) {
        Ok(0) => {}
        Ok(quarantines) => tracing::warn!(%path, quarantines, "a dead process left pushes"),
        Err(error) => {
            let error = log::chain(&error);
            tracing::error!(%path, error = error.as_str(), "sweep what was pushed");
        }
    }
    Ok(())
}

// === impl Writing ===

impl Writing {
    /// Starts `threads` threads. Unless it `is_durable`, nothing waits for a disk: for measurements.
    ///
    /// # Errors
    /// Where threads cannot be started.
    pub fn start(threads: usize, registry: &Registry, is_durable: bool) -> io::Result<Self> {
        let calls = if is_durable { System::durable() } else { System::volatile() };
        let waiting = Waiting::at_most(LOCK_WAITERS_MAX.min(threads.div_ceil(2)));
        let threads = Workers::start_writers(threads, FINISHERS, registry)?;
        Ok(Self { threads, calls, waiting })
    }

    /// The refs of a snapshot's repository, to be written by the calls of [`Self::calls`], without
    /// taking all threads for waiting.
    ///
    /// # Errors
    /// As [`RefFiles::of`].
    pub fn ref_files(&self, snapshot: &Snapshot) -> Result<RefFiles, PrepareError> {
        let files = RefFiles::of(snapshot)?.with_calls(self.calls());
        Ok(files.with_waiting(Arc::clone(&self.waiting)))
    }

    /// Returns once everything that was held has come to its end: locks and quarantines are gone.
    pub async fn settled(&self) {
        self.threads.settled().await;
    }

    /// The calls by which refs and objects are written.
    pub fn calls(&self) -> Arc<dyn FileCalls> {
        Arc::clone(&self.calls)
    }

    /// Does `work`, which may wait for disks and for locks of others, on a thread. Dropping the
    /// future before the work has begun calls it off; afterwards it goes on.
    ///
    /// # Errors
    /// Where too much waits, or the work panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerError> {
        self.threads.run(work).await
    }
}

// === impl Repositories ===

impl Repositories {
    /// How repositories are written to.
    pub fn writing(&self) -> &Writing {
        &self.shared.writing
    }

    /// Opens a repository in order to change it and does `work`, on a thread that may wait for
    /// disks. Settings and objects of the snapshot are as they are now; its refs may be older, for
    /// who changes refs reads them under their locks.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn write<T: Send + 'static>(
        &self,
        storage: &StorageName,
        path: &RelativePath,
        work: impl FnOnce(&Opened) -> T + Send + 'static,
    ) -> Result<T, OpenError> {
        let key = Key::new(storage, path);
        let shared = Arc::clone(&self.shared);
        let work = move || shared.open_for_writing(&key).map(|opened| work(&opened));
        self.shared.writing.run(work).await?
    }
}

// === impl Shared ===

impl Shared {
    fn open_for_writing(&self, key: &Key) -> Result<Opened, OpenError> {
        let repository = self.look_up(key)?;
        let snapshot = repository.settings().map_err(|error| self.judge(key, error))?;
        Ok(Opened { repository, snapshot })
    }
}
