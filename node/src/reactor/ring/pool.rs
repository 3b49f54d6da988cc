//! Threads for file work that no ring does: what has no opcode, and everything where there is no
//! ring.
//!
//! Always true: at most `JOBS_MAX` jobs are queued or running, whoever has more waits in order; so
//! the queue of the threads is never full, and no file operation fails for want of a thread.
//! Never here: CPU work, which would wait behind disks.

use crate::reactor::workers::Workers;
use prometheus::Registry;
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Jobs of all reactors together. Below the length of the threads' own queue.
const JOBS_MAX: usize = 1024;

/// The threads; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    threads: Workers,
    seats: Arc<Semaphore>,
}

// === impl Pool ===

impl Pool {
    pub(super) fn start(threads: usize, registry: &Registry) -> io::Result<Self> {
        let threads = Workers::start_for_files(threads, registry)?;
        Ok(Self { threads, seats: Arc::new(Semaphore::new(JOBS_MAX)) })
    }

    /// Does `work` on a thread. Dropping the future before it has begun calls it off; afterwards it
    /// goes on, with all it owns, and its result is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let seat = Arc::clone(&self.seats).acquire_owned().await.map_err(io::Error::other)?;
        let seated = move || {
            let result = work();
            drop(seat);
            result
        };
        self.threads.run(seated).await.map_err(io::Error::other)
    }

    /// Does `work` on a thread, or at once where too many jobs wait: for drops, which cannot.
    pub(super) fn run_soon(&self, work: impl FnOnce() + Send + 'static) {
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else { return work() };
        let seated = move || {
            work();
            drop(seat);
        };
        if let Err(refused) = self.threads.offer(Box::new(seated)) {
            refused();
        }
    }
}
