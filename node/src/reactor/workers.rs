//! Workers: plain threads for what would block a reactor.
//!
//! Always true:
//! - at most `QUEUE_JOBS_MAX` jobs wait; a further one is refused, never parked; who holds a
//!   [`Place`] is not refused, goes first, and finds threads that do nothing else;
//! - work whose caller has gone before it began is not done, except in a [`Place`];
//! - a panic in a job is an error of that job; the thread goes on.
//!
//! Never: a worker waits for a client. Work comes in slices of about 10 ms.

use prometheus::{IntGauge, Registry};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Jobs that wait for a thread. At 1 ms a job and two threads, the last one waits two seconds:
/// longer queues would only serve clients that have left.
const QUEUE_JOBS_MAX: usize = 4096;

/// Places that are held at once.
const PLACES_MAX: usize = 4096;
/// Between looks at whether any is held.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The queue is full.
    #[error("all workers are busy and {QUEUE_JOBS_MAX} jobs wait")]
    Full,
    /// The work panicked; the panic's text is in the log.
    #[error("the work panicked")]
    Panicked,
}

/// The pool. The threads end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Workers {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    pool: Arc<Pool>,
}

/// The right to have one thing done later, however much waits by then.
#[derive(Debug)]
pub struct Place {
    owner: Arc<Owner>,
}

struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    /// For the threads that take urgent jobs alone.
    urged: Condvar,
    queued: IntGauge,
    busy: IntGauge,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Of those who hold places: so there are at most as many.
    urgent: VecDeque<Job>,
    places: usize,
    closed: bool,
}

/// Which jobs a thread takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    All,
    Urgent,
}

/// Something to be done.
pub type Job = Box<dyn FnOnce() + Send>;

// === impl Workers ===

impl Workers {
    /// Starts `threads` threads.
    pub fn start(threads: usize, registry: &Registry) -> io::Result<Self> {
        let queued = gauge(registry, "gitring_workers_queued", "Jobs that wait for a worker.");
        let busy = gauge(registry, "gitring_workers_busy", "Workers that work.");
        Self::start_named("worker", (threads, 0), (queued, busy))
    }

    /// Starts threads of their own for file operations, which wait for disks where others compute.
    pub(super) fn start_for_files(threads: usize, registry: &Registry) -> io::Result<Self> {
        let help = "File operations that wait for a thread.";
        let queued = gauge(registry, "gitring_file_threads_queued", help);
        let busy = gauge(registry, "gitring_file_threads_busy", "Threads at file operations.");
        Self::start_named("file", (threads, 0), (queued, busy))
    }

    /// Starts threads for changes that wait until they are on a disk. Not those for files, which
    /// the pack cache waits for, nor those that compute: a sync may take 100 ms. Beside `threads`
    /// that do everything there are `reserved` ones for who holds a [`Place`].
    pub fn start_writers(threads: usize, reserved: usize, registry: &Registry) -> io::Result<Self> {
        let queued = gauge(registry, "gitring_writers_queued", "Changes that wait for a thread.");
        let busy = gauge(registry, "gitring_writers_busy", "Threads that write to repositories.");
        Self::start_named("writer", (threads, reserved), (queued, busy))
    }

    fn start_named(
        name: &str,
        (threads, reserved): (usize, usize),
        (queued, busy): (IntGauge, IntGauge),
    ) -> io::Result<Self> {
        let state = Mutex::new(State::default());
        let [changed, urged] = [(); 2].map(|()| Condvar::new());
        let pool = Arc::new(Pool { state, changed, urged, queued, busy });
        let owner = Arc::new(Owner { pool: Arc::clone(&pool) });
        for index in 0..threads + reserved {
            let pool = Arc::clone(&pool);
            let takes = if index < threads { Takes::All } else { Takes::Urgent };
            std::thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || pool.work(takes))?;
        }
        Ok(Self { owner })
    }

    /// A place for something that must not be refused later; refused now where too many are held.
    pub fn reserve(&self) -> Result<Place, WorkerError> {
        let mut state = self.owner.pool.lock();
        if state.places >= PLACES_MAX {
            return Err(WorkerError::Full);
        }
        state.places += 1;
        Ok(Place { owner: Arc::clone(&self.owner) })
    }

    /// Returns once nobody holds a place and what was done in places has ended. Looks now and then:
    /// it is for the end of a process, and must not take a thread that somebody still needs.
    pub async fn settled(&self) {
        while self.owner.pool.lock().places > 0 {
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
    }

    /// Has `work` done by a worker; whoever wants its result must be told by the work itself.
    pub fn submit(&self, work: impl FnOnce() + Send + 'static) -> Result<(), WorkerError> {
        self.offer(Box::new(work)).map_err(|_| WorkerError::Full)
    }

    /// As [`Self::submit`], but gives the work back where the queue is full.
    pub fn offer(&self, work: Job) -> Result<(), Job> {
        self.owner.pool.push(work)
    }

    /// Runs `work` on a worker. Dropping the future before the work has begun calls it off.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(move || {
            if !sender.is_closed() {
                // The caller may leave while the work runs; then nobody wants the result.
                let _ = sender.send(work());
            }
        })?;
        // A job is dropped unfinished only by a panic: the pool outlives this call.
        receiver.await.map_err(|_| WorkerError::Panicked)
    }
}

// === impl Place ===

impl Place {
    /// Has `work` done: before all that waits without a place.
    pub fn submit(self, work: impl FnOnce() + Send + 'static) {
        let pool = Arc::clone(&self.owner.pool);
        pool.urge(Box::new(move || {
            work();
            drop(self);
        }));
    }

    /// As [`Workers::run`], but never for want of a place, and done even if the caller leaves: what
    /// was voted for must come to its end.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(move || {
            // Nobody wants the result of a caller that has left.
            let _ = sender.send(work());
        });
        receiver.await.map_err(|_| WorkerError::Panicked)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.owner.pool.lock().places -= 1;
    }
}

// === impl Owner ===

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.lock().closed = true;
        self.pool.changed.notify_all();
        self.pool.urged.notify_all();
    }
}

// === impl Pool ===

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Jobs run outside the lock, so a panic leaves the queue as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.jobs.len() >= QUEUE_JOBS_MAX {
            return Err(job);
        }
        state.jobs.push_back(job);
        self.queued.inc();
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn urge(&self, job: Job) {
        let mut state = self.lock();
        state.urgent.push_back(job);
        self.queued.inc();
        drop(state);
        // Whichever is idle; the other finds nothing.
        self.changed.notify_one();
        self.urged.notify_one();
    }

    fn next(&self, takes: Takes) -> Option<Job> {
        let mut state = self.lock();
        loop {
            let job = state.urgent.pop_front().or_else(|| match takes {
                Takes::All => state.jobs.pop_front(),
                Takes::Urgent => None,
            });
            if let Some(job) = job {
                self.queued.dec();
                return Some(job);
            }
            if state.closed {
                return None;
            }
            let changed = if takes == Takes::All { &self.changed } else { &self.urged };
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, takes: Takes) {
        while let Some(job) = self.next(takes) {
            self.busy.inc();
            // The job owns all it touches, so nothing half-changed is seen afterwards.
            let outcome = catch_unwind(AssertUnwindSafe(job));
            self.busy.dec();
            if outcome.is_err() {
                tracing::error!("work panicked on a worker");
            }
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Pool").field("queued", &self.queued.get()).finish_non_exhaustive()
    }
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("the name is valid");
    registry.register(Box::new(gauge.clone())).expect("registered once a registry");
    gauge
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_panic_is_an_error_of_its_job_alone() {
        let workers = Workers::start(1, &Registry::new()).unwrap();
        runtime().block_on(async {
            let panicked = workers.run(|| assert_eq!(1, 2, "on purpose")).await;
            assert_eq!(panicked, Err(WorkerError::Panicked));
            assert_eq!(workers.run(|| 3).await, Ok(3));
        });
    }

    /// Goal: work of callers that left is skipped, and the queue has an end.
    /// Method: one thread held by a channel, the queue filled behind it, half the callers dropped.
    #[test]
    fn the_queue_is_bounded_and_skips_callers_that_left() {
        let workers = Workers::start(1, &Registry::new()).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (begun, beginning) = mpsc::channel::<()>();
        let done = Arc::new(AtomicUsize::new(0));
        runtime().block_on(async {
            let mut holder = Box::pin(workers.run(move || {
                begun.send(()).unwrap();
                held.recv().unwrap();
            }));
            poll_once(&mut holder).await;
            beginning.recv().unwrap();
            let mut waiting = Vec::new();
            for _ in 0..QUEUE_JOBS_MAX {
                let done = Arc::clone(&done);
                let mut call = Box::pin(workers.run(move || done.fetch_add(1, Ordering::Relaxed)));
                poll_once(&mut call).await;
                waiting.push(call);
            }
            assert_eq!(workers.run(|| ()).await, Err(WorkerError::Full));
            let kept = waiting.split_off(QUEUE_JOBS_MAX / 2);
            drop(waiting);
            release.send(()).unwrap();
            holder.await.unwrap();
            for call in kept {
                call.await.unwrap();
            }
        });
        assert_eq!(done.load(Ordering::Relaxed), QUEUE_JOBS_MAX / 2);
    }

    /// Goal: who holds a place is neither refused nor kept waiting, whatever else waits.
    /// Method: every thread held by a channel, the queue filled behind it.
    #[test]
    fn a_place_is_good_when_everything_else_is_full() {
        let workers = Workers::start_writers(1, 1, &Registry::new()).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let place = workers.reserve().unwrap();
        workers.submit(move || held.recv().unwrap()).unwrap();
        while workers.submit(|| ()).is_ok() {}
        runtime().block_on(async {
            assert_eq!(workers.run(|| ()).await, Err(WorkerError::Full));
            assert_eq!(place.run(|| 3).await, Ok(3));
        });
        release.send(()).unwrap();
        runtime().block_on(workers.settled());
        let places: Vec<Place> = std::iter::from_fn(|| workers.reserve().ok()).collect();
        assert_eq!(places.len(), PLACES_MAX);
        drop(places);
        assert!(workers.reserve().is_ok());
    }

    /// Goal: what was begun in a place comes to its end though its caller leaves before a thread
    /// has taken it, and whoever ends the process waits for it.
    #[test]
    fn a_place_is_used_though_its_caller_left() {
        let workers = Workers::start_writers(0, 1, &Registry::new()).unwrap();
        let (release, held) = mpsc::channel::<()>();
        workers.reserve().unwrap().submit(move || held.recv().unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        runtime().block_on(async {
            let (place, counted) = (workers.reserve().unwrap(), Arc::clone(&done));
            let mut call = Box::pin(place.run(move || counted.fetch_add(1, Ordering::Relaxed)));
            poll_once(&mut call).await;
            drop(call);
            release.send(()).unwrap();
            workers.settled().await;
        });
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    async fn poll_once<F: Future + Unpin>(future: &mut F) {
        std::future::poll_fn(|context| {
            let _ = std::pin::Pin::new(&mut *future).poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
}
