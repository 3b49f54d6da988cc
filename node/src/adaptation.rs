//! Limits that follow what the machine bears, as Gitaly's adaptive limits do.
//!
//! ```text
//!   every 30 s:  reading thread ──► watch (pressed or calm?) ──► aimd ──► every limit's `set`
//! ```
//!
//! Always true:
//! - all limits move together: by one up without an event, to half with one, within their ranges;
//! - files are read on a thread of their own, which may hang: whoever does not answer within a
//!   round has timed out;
//! - without adaptive limits there are no threads.
//!
//! Never here: what a limit limits.

mod aimd;
mod metrics;
mod rounds;
mod watch;

pub use self::aimd::Range;

use self::aimd::Machine;
use self::metrics::Metrics;
use self::rounds::Rounds;
use self::watch::Watcher;
use crate::cgroups::Cgroups;
use crate::cgroups::own::own_group;
use crate::reactor::children::Children;
use prometheus::Registry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Gitaly's interval.
const ROUND: Duration = Duration::from_secs(30);

/// `[adaptive_limiting]`. A threshold that is reached only at 1 of 1 is never exceeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptationConfig {
    /// Part of the time in which the cgroup got no CPU, its quota being used up.
    pub cpu_throttled: f64,
    /// Part of the cgroup's memory in use, what is given up first left out.
    pub memory: f64,
    /// Part of the time in which some task waited for a CPU.
    pub cpu_pressure: f64,
    /// Part of the time in which some task waited for memory.
    pub memory_pressure: f64,
    /// Part of the time in which all tasks waited for disks.
    pub io_pressure: f64,
    /// How long those who wanted a child waited for it, on average.
    pub queue_time: Duration,
}

/// A limit that moves.
#[derive(Clone)]
pub struct Adaptive {
    /// How metrics and logs name it: `perRPC/gitaly.SmartHTTPService/…`, `packObjects`.
    pub name: String,
    /// Where it begins, and how far it goes.
    pub range: Range,
    /// Told each new value, the first one at once.
    pub set: Arc<dyn Fn(usize) + Send + Sync>,
}

/// What the watchers look at.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The group of children; the process's own without.
    pub cgroups: Option<Arc<Cgroups>>,
    /// Who waits for a child.
    pub children: Children,
}

/// Moves limits until it is dropped.
#[derive(Debug)]
pub struct Adaptation {
    watched: Watched,
    metrics: Metrics,
    machine: Arc<Mutex<Machine>>,
    rounds: Mutex<Option<Rounds>>,
}

// === impl AdaptationConfig ===

impl Default for AdaptationConfig {
    /// The first two are Gitaly's.
    fn default() -> Self {
        Self {
            cpu_throttled: 0.5,
            memory: 0.9,
            cpu_pressure: 0.95,
            memory_pressure: 0.1,
            io_pressure: 0.5,
            queue_time: Duration::from_secs(1),
        }
    }
}

// === impl Adaptive ===

impl std::fmt::Debug for Adaptive {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, range, .. } = self;
        out.debug_struct("Adaptive").field("name", name).field("range", range).finish()
    }
}

// === impl Adaptation ===

impl Adaptation {
    /// Sets every limit to where it begins, and moves it from then on.
    pub fn start(
        config: &AdaptationConfig,
        limits: Vec<Adaptive>,
        watched: Watched,
        registry: &Registry,
    ) -> Self {
        let this = Self {
            watched,
            metrics: Metrics::register(registry),
            machine: Arc::new(Mutex::new(Machine::default())),
            rounds: Mutex::new(None),
        };
        this.reload(config, limits);
        this
    }

    /// Goes on with other limits and thresholds. A limit that was there before, under its name and
    /// with its range, stays where it is.
    pub fn reload(&self, config: &AdaptationConfig, limits: Vec<Adaptive>) {
        let is_needed = !limits.is_empty();
        lock(&self.machine).replace(limits, &self.metrics);
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping the old one first ends its threads.
        *rounds = None;
        if is_needed {
            let watchers = self.watchers(config);
            let started = Rounds::start(ROUND, watchers, &self.machine, &self.metrics);
            match started {
                Ok(started) => *rounds = Some(started),
                Err(error) => tracing::error!(%error, "adaptive limits stay where they are"),
            }
        }
    }

    fn watchers(&self, config: &AdaptationConfig) -> Vec<Watcher> {
        let group = match &self.watched.cgroups {
            Some(cgroups) => Some(cgroups.directory().to_owned()),
            None => own_group(),
        };
        watch::watchers(config, group.as_deref(), &pressures(group.as_deref()), &self.watched)
    }
}

/// Where the pressure on children shows: in their group, else in the whole machine.
fn pressures(group: Option<&Path>) -> [PathBuf; 3] {
    let of_group = |group: &Path| {
        ["cpu.pressure", "memory.pressure", "io.pressure"].map(|name| group.join(name))
    };
    #[expect(clippy::disallowed_methods, reason = "cgroupfs and procfs do not wait")]
    let there = group.map(of_group).filter(|files| files.iter().all(|file| file.exists()));
    there.unwrap_or_else(|| {
        ["cpu", "memory", "io"].map(|name| Path::new("/proc/pressure").join(name))
    })
}

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}
