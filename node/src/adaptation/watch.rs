//! Watchers: what counts as pressure.
//!
//! Always true: judging is pure and compares two readings of one source; a first reading, or one
//! of counters that were reset, is no pressure.

use super::{AdaptationConfig, Watched};
use crate::cgroups::stats::{self, Pressure, Stats};
use crate::reactor::children::Children;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Callers fewer than these say nothing about queues.
const SERVED_MIN: u64 = 5;

/// Something was too much.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) watcher: &'static str,
    pub(super) reason: String,
    /// By their names in the log, behind `stats.`.
    pub(super) stats: Vec<(&'static str, f64)>,
}

/// One source, and from where on it is too much.
#[derive(Debug, Clone)]
pub(super) struct Watcher {
    pub(super) name: &'static str,
    pub(super) source: Source,
    kind: Kind,
    threshold: f64,
}

/// Where readings come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Group(PathBuf),
    Pressure(PathBuf),
    Waits(Children),
}

/// What of a reading is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Throttled,
    Memory,
    SomeStalled,
    AllStalled,
    Waits,
}

/// What a source said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    Group(Stats),
    /// Zero where the kernel does not measure it.
    Pressure(Pressure),
    /// Since the start: how long callers waited, and how many were served.
    Waits(Duration, u64),
}

/// All that there is to watch on this machine.
pub(super) fn watchers(
    config: &AdaptationConfig,
    group: Option<&Path>,
    [cpu, memory, io]: &[PathBuf; 3],
    watched: &Watched,
) -> Vec<Watcher> {
    let watcher = |name, source, kind, threshold| Watcher { name, source, kind, threshold };
    let pressure = |name, file: &PathBuf, kind, threshold| {
        watcher(name, Source::Pressure(file.clone()), kind, threshold)
    };
    let groups = group.into_iter().flat_map(|group| {
        let source = || Source::Group(group.to_owned());
        [
            watcher("CgroupCpu", source(), Kind::Throttled, config.cpu_throttled),
            watcher("CgroupMemory", source(), Kind::Memory, config.memory),
        ]
    });
    let waits = Source::Waits(watched.children.clone());
    let others = [
        pressure("PressureCpu", cpu, Kind::SomeStalled, config.cpu_pressure),
        pressure("PressureMemory", memory, Kind::SomeStalled, config.memory_pressure),
        pressure("PressureIo", io, Kind::AllStalled, config.io_pressure),
        watcher("QueueTime", waits, Kind::Waits, config.queue_time.as_secs_f64()),
    ];
    groups.chain(others).collect()
}

// === impl Source ===

impl Source {
    /// May wait for the kernel.
    pub(super) fn read(&self) -> io::Result<Reading> {
        match self {
            Self::Group(path) => stats::read(path).map(Reading::Group),
            Self::Pressure(file) => {
                Ok(Reading::Pressure(stats::read_pressure(file)?.unwrap_or_default()))
            }
            Self::Waits(children) => {
                let (waited, served) = children.waits();
                Ok(Reading::Waits(waited, served))
            }
        }
    }
}

// === impl Watcher ===

impl Watcher {
    #[cfg(test)]
    pub(super) fn of_memory(group: PathBuf, threshold: f64) -> Self {
        Self { name: "CgroupMemory", source: Source::Group(group), kind: Kind::Memory, threshold }
    }

    /// Judges a reading by the one before, which is so much older.
    pub(super) fn judge(
        &self,
        before: Option<&Reading>,
        now: &Reading,
        between: Duration,
    ) -> Option<Event> {
        let event = |reason: &str, stats: Vec<(&'static str, f64)>| Event {
            watcher: self.name,
            reason: reason.to_owned(),
            stats,
        };
        match (self.kind, before, now) {
            (Kind::Memory, _, Reading::Group(now)) => {
                self.memory(now).map(|stats| event("cgroup memory exceeds threshold", stats))
            }
            (Kind::Throttled, Some(Reading::Group(before)), Reading::Group(now)) => {
                let throttled = grown(before.cpu.throttled, now.cpu.throttled)?;
                (part(throttled, between)? > self.threshold).then(|| {
                    let stats = vec![
                        ("time_diff", between.as_secs_f64()),
                        ("throttled_duration", throttled.as_secs_f64()),
                        ("throttled_threshold", self.threshold),
                    ];
                    event("cgroup CPU throttled too much", stats)
                })
            }
            (Kind::SomeStalled, Some(Reading::Pressure(before)), Reading::Pressure(now)) => {
                let stalled = grown(before.some.total, now.some.total)?;
                self.stalled(stalled, between)
                    .map(|stats| event("some tasks stalled too long", stats))
            }
            (Kind::AllStalled, Some(Reading::Pressure(before)), Reading::Pressure(now)) => {
                let stalled = grown(before.full.total, now.full.total)?;
                self.stalled(stalled, between)
                    .map(|stats| event("all tasks stalled too long", stats))
            }
            (Kind::Waits, Some(Reading::Waits(waited, served)), Reading::Waits(now, count)) => {
                let (waited, served) = (grown(*waited, *now)?, count.checked_sub(*served)?);
                let mean = waited.as_secs_f64() / served.max(1) as f64;
                (served >= SERVED_MIN && mean > self.threshold).then(|| {
                    let stats = vec![("queue_seconds", mean), ("queue_threshold", self.threshold)];
                    event("children were waited for too long", stats)
                })
            }
            _ => None,
        }
    }

    fn memory(&self, now: &Stats) -> Option<Vec<(&'static str, f64)>> {
        let limit = now.memory_bytes_max.filter(|limit| *limit > 0)? as f64;
        let inactive = now.memory.inactive_file_bytes;
        let used = now.memory_bytes.saturating_sub(inactive) as f64;
        (now.memory_bytes > 0 && used / limit >= self.threshold).then(|| {
            vec![
                ("memory_usage", now.memory_bytes as f64),
                ("memory_limit", limit),
                ("inactive_file", inactive as f64),
                ("anon", now.memory.anon_bytes as f64),
                ("memory_threshold", self.threshold),
            ]
        })
    }

    fn stalled(&self, stalled: Duration, between: Duration) -> Option<Vec<(&'static str, f64)>> {
        (part(stalled, between)? > self.threshold).then(|| {
            vec![
                ("time_diff", between.as_secs_f64()),
                ("stalled_duration", stalled.as_secs_f64()),
                ("stalled_threshold", self.threshold),
            ]
        })
    }
}

/// None if the counter began anew.
fn grown(before: Duration, now: Duration) -> Option<Duration> {
    now.checked_sub(before)
}

fn part(of: Duration, between: Duration) -> Option<f64> {
    (!between.is_zero()).then(|| of.as_secs_f64() / between.as_secs_f64())
}

// === impl Event ===

impl Event {
    /// Gitaly's line, with Gitaly's names where it has one.
    pub(super) fn tell(&self, limit: &str, previous_limit: usize, new_limit: usize) {
        let stat = |name: &str| {
            self.stats.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        };
        tracing::info!(
            limit_rpc = limit,
            previous_limit,
            new_limit,
            watcher = self.watcher,
            reason = self.reason.as_str(),
            stats.time_diff = stat("time_diff"),
            stats.throttled_duration = stat("throttled_duration"),
            stats.throttled_threshold = stat("throttled_threshold"),
            stats.memory_usage = stat("memory_usage"),
            stats.memory_limit = stat("memory_limit"),
            stats.inactive_file = stat("inactive_file"),
            stats.anon = stat("anon"),
            stats.memory_threshold = stat("memory_threshold"),
            stats.stalled_duration = stat("stalled_duration"),
            stats.stalled_threshold = stat("stalled_threshold"),
            stats.queue_seconds = stat("queue_seconds"),
            stats.queue_threshold = stat("queue_threshold"),
            "Multiplicative decrease"
        );
    }
}

#[cfg(test)]
mod tests;
