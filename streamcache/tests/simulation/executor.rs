//! One thread, many tasks, a seeded order, virtual time.
//!
//! Always true:
//! - which ready task runs next depends on the seed alone;
//! - time moves only when no task is ready, and then to the next timer;
//! - a background task keeps nobody waiting: a run is over when the foreground is.
//!
//! Never here: real time, threads. Primitives of `tokio::sync` work, for they only use wakers.

use crate::rng::Rng;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Polls of one run after which it counts as a livelock.
const STEPS_MAX: u64 = 500_000;
/// Polls without a step of the clock after which it counts as a livelock.
const STEPS_AT_ONCE_MAX: u64 = 200_000;
/// The foreground hangs when background timers alone moved the clock so far.
const HANG_AFTER: Duration = Duration::from_secs(4 * 3600);

pub(crate) type TaskId = u64;
/// Tasks that die together. 0 outlives all others.
pub(crate) type ProcessId = u32;

type Work = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone)]
pub(crate) struct Executor {
    state: Rc<RefCell<State>>,
    ready: Arc<Mutex<BTreeSet<TaskId>>>,
}

struct State {
    tasks: BTreeMap<TaskId, Task>,
    timers: BTreeMap<(Duration, u64), Timer>,
    now: Duration,
    shown: Shown,
    rng: Rng,
    ids: u64,
    running: Option<TaskId>,
    steps: u64,
    steps_at_once: u64,
    /// When a foreground task ran last.
    foreground_ran: Duration,
    /// A digest of which task ran when.
    trace: u64,
}

/// The clock, for those on whom the executor does not run.
#[derive(Clone, Default)]
pub(crate) struct Shown(Arc<AtomicU64>);

// === impl Shown ===

impl Shown {
    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, now: Duration) {
        self.0.store(now.as_nanos() as u64, Ordering::Relaxed);
    }
}

struct Task {
    name: String,
    process: ProcessId,
    background: bool,
    /// `None` while it runs.
    work: Option<Work>,
    waker: Waker,
}

struct Timer {
    waker: Waker,
    foreground: bool,
}

struct WakeTask {
    id: TaskId,
    ready: Arc<Mutex<BTreeSet<TaskId>>>,
}

/// Who a task is.
pub(crate) struct Spawn {
    pub(crate) name: String,
    pub(crate) process: ProcessId,
    pub(crate) background: bool,
}

// === impl Executor ===

impl Executor {
    pub(crate) fn new(rng: Rng) -> Self {
        let state = State {
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            now: Duration::from_secs(1_000_000),
            shown: Shown::default(),
            rng,
            ids: 0,
            running: None,
            steps: 0,
            steps_at_once: 0,
            foreground_ran: Duration::from_secs(1_000_000),
            trace: 0,
        };
        state.shown.set(state.now);
        Self { state: Rc::new(RefCell::new(state)), ready: Arc::default() }
    }

    pub(crate) fn spawn(&self, who: Spawn, work: impl Future<Output = ()> + 'static) -> TaskId {
        let mut state = self.state.borrow_mut();
        let id = state.id();
        let waker = Waker::from(Arc::new(WakeTask { id, ready: Arc::clone(&self.ready) }));
        waker.wake_by_ref();
        let Spawn { name, process, background } = who;
        let work: Option<Work> = Some(Box::pin(work));
        state.tasks.insert(id, Task { name, process, background, work, waker });
        id
    }

    /// Drops a task wherever it waits. Nothing happens to one that is over.
    pub(crate) fn kill(&self, id: TaskId) {
        // The borrow ends before the task is dropped: its drop may wake others.
        let task = self.state.borrow_mut().tasks.remove(&id);
        drop(task);
    }

    /// Drops all tasks of a process, in a random order.
    pub(crate) fn kill_process(&self, process: ProcessId) {
        loop {
            let victim = {
                let mut state = self.state.borrow_mut();
                let of = |(_, task): &(&u64, &Task)| task.process == process;
                let ids: Vec<_> = state.tasks.iter().filter(of).map(|(id, _)| *id).collect();
                if ids.is_empty() {
                    return;
                }
                *state.rng.pick(&ids)
            };
            self.kill(victim);
        }
    }

    /// Drops all tasks: they and the executor hold each other.
    pub(crate) fn kill_all(&self) {
        loop {
            let first = self.state.borrow_mut().tasks.pop_first();
            if first.is_none() {
                return;
            }
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.state.borrow().now
    }

    pub(crate) fn sleep(&self, pause: Duration) -> Sleep {
        Sleep { executor: self.clone(), until: self.now() + pause, registered: None }
    }

    pub(crate) fn shown(&self) -> Shown {
        self.state.borrow().shown.clone()
    }

    pub(crate) fn steps(&self) -> u64 {
        self.state.borrow().steps
    }

    pub(crate) fn trace(&self) -> u64 {
        self.state.borrow().trace
    }

    /// Runs until no foreground task is left; `check` looks at the world after each step.
    ///
    /// # Panics
    /// Where tasks wait for each other, or never stop.
    pub(crate) fn run(&self, check: &mut dyn FnMut()) {
        self.state.borrow_mut().foreground_ran = self.now();
        while self.foreground_left() {
            if !self.run_one() {
                self.advance();
            }
            check();
        }
    }

    fn foreground_left(&self) -> bool {
        self.state.borrow().tasks.values().any(|task| !task.background)
    }

    /// Polls one ready task; false if there is none.
    fn run_one(&self) -> bool {
        let Some((id, mut work, waker)) = self.take_ready() else { return false };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.check_progress(id);
            work.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        self.state.borrow_mut().running = None;
        match polled {
            Ok(Poll::Ready(())) => self.kill(id),
            Ok(Poll::Pending) => {
                if let Some(task) = self.state.borrow_mut().tasks.get_mut(&id) {
                    task.work = Some(work);
                    return true;
                }
                drop(work);
            }
            Err(panic) => {
                // What it holds may be poisoned: dropping it could panic again and hide the first.
                std::mem::forget(work);
                resume_unwind(panic);
            }
        }
        true
    }

    fn take_ready(&self) -> Option<(TaskId, Work, Waker)> {
        let mut state = self.state.borrow_mut();
        loop {
            let id = {
                let mut ready = self.ready.lock().unwrap();
                let nth = state.rng.below(ready.len().max(1) as u64) as usize;
                let id = *ready.iter().nth(nth)?;
                ready.remove(&id);
                id
            };
            let Some(task) = state.tasks.get_mut(&id) else { continue };
            let (work, waker) = (task.work.take().unwrap(), task.waker.clone());
            let background = task.background;
            state.count_step(id, background);
            return Some((id, work, waker));
        }
    }

    fn check_progress(&self, id: TaskId) {
        let state = self.state.borrow();
        if state.steps > STEPS_MAX || state.steps_at_once > STEPS_AT_ONCE_MAX {
            let (name, names) = (&state.tasks[&id].name, state.waiting().collect::<Vec<_>>());
            panic!("livelock at {:?}, in {name}; left: {names:?}", state.now);
        }
    }

    /// Moves the clock to the next timer.
    fn advance(&self) {
        let state = self.state.borrow();
        let due = state.timers.keys().next().map(|(due, _)| *due);
        let foreground = state.timers.values().any(|timer| timer.foreground);
        let hangs = state.now.saturating_sub(state.foreground_ran) > HANG_AFTER;
        let Some(due) = due.filter(|_| foreground || !hangs) else {
            let names: Vec<_> = state.waiting().collect();
            panic!("deadlock at {:?}: {names:?} wait for nothing", state.now);
        };
        drop(state);
        let mut state = self.state.borrow_mut();
        state.now = state.now.max(due);
        state.shown.set(state.now);
        state.steps_at_once = 0;
        let later = state.timers.split_off(&(due, u64::MAX));
        let fired = std::mem::replace(&mut state.timers, later);
        drop(state);
        fired.into_values().for_each(|timer| timer.waker.wake());
    }
}

// === impl State ===

impl State {
    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn waiting(&self) -> impl Iterator<Item = &str> {
        self.tasks.values().filter(|task| !task.background).map(|task| task.name.as_str())
    }

    fn count_step(&mut self, id: TaskId, background: bool) {
        self.running = Some(id);
        self.steps += 1;
        self.steps_at_once += 1;
        if !background {
            self.foreground_ran = self.now;
        }
        let mixed = self.trace ^ id ^ self.now.as_nanos() as u64;
        self.trace = mixed.wrapping_mul(0x0100_0000_01b3).rotate_left(5);
    }
}

// === impl WakeTask ===

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().insert(self.id);
    }
}

/// Waits until a point in virtual time.
pub(crate) struct Sleep {
    executor: Executor,
    until: Duration,
    registered: Option<(Duration, u64)>,
}

// === impl Sleep ===

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let executor = self.executor.clone();
        let mut state = executor.state.borrow_mut();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let key = match self.registered {
            Some(key) => key,
            None => (self.until, state.id()),
        };
        self.registered = Some(key);
        let foreground =
            state.running.and_then(|id| state.tasks.get(&id)).is_some_and(|task| !task.background);
        state.timers.insert(key, Timer { waker: context.waker().clone(), foreground });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(key), Ok(mut state)) = (self.registered, self.executor.state.try_borrow_mut())
        {
            state.timers.remove(&key);
        }
    }
}

/// Ends with the first of two that ends; `first` is asked first.
pub(crate) async fn race<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Result<A, B> {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    std::future::poll_fn(move |context| {
        if let Poll::Ready(value) = first.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        second.as_mut().poll(context).map(Err)
    })
    .await
}

#[cfg(test)]
mod tests;
