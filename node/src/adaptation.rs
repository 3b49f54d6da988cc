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
//! - which limits there are is asked anew in each round.
//!
//! Never here: what a limit limits.

mod aimd;
mod metrics;
mod rounds;
mod watch;

use self::aimd::{Machine, Movable, Range};
use self::metrics::Metrics;
use self::rounds::Rounds;
use self::watch::Watcher;
use crate::cgroups::Cgroups;
use crate::cgroups::own::own_group;
use crate::limits::{Adjustable, Limits};
use crate::reactor::children::Children;
use prometheus::Registry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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
    limits: Limits,
    watched: Watched,
    metrics: Metrics,
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

// === impl Adaptation ===

impl Adaptation {
    /// Moves the adaptive ones of `limits` from now on.
    pub fn start(
        config: &AdaptationConfig,
        limits: Limits,
        watched: Watched,
        registry: &Registry,
    ) -> Self {
        let metrics = Metrics::register(registry);
        let this = Self { limits, watched, metrics, rounds: Mutex::new(None) };
        this.reload(config);
        this
    }

    /// Goes on with other thresholds. Limits that came or went are noticed by themselves.
    pub fn reload(&self, config: &AdaptationConfig) {
        let (limits, machine) = (self.limits.clone(), Machine::new(self.metrics.clone()));
        let movable = move || limits.adjustable();
        let started = Rounds::start(ROUND, self.watchers(config), machine, movable);
        let started = started.inspect_err(|error| {
            tracing::error!(%error, "adaptive limits stay where they are");
        });
        *self.rounds.lock().unwrap_or_else(PoisonError::into_inner) = started.ok();
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

// === impl Adjustable ===

impl Movable for Adjustable {
    fn name(&self) -> &str {
        &self.name
    }

    fn range(&self) -> Range {
        Range { min: self.min, max: self.max }
    }

    fn current(&self) -> usize {
        self.current()
    }

    fn set(&self, limit: usize) {
        self.set_limit(limit);
    }
}
