//! What cgroupfs and `/proc/pressure` say, read and parsed.
//!
//! Always true: parsing is pure; a file or a field that is not there counts as nothing, since
//! which there are depends on kernel and controllers.

use std::path::Path;
use std::time::Duration;

/// Usage of one group, with all below it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// `cpu.stat`
    pub cpu: Cpu,
    /// `memory.current`, 0 without the controller.
    pub memory_bytes: u64,
    /// `memory.max`; `None`: as much as there is.
    pub memory_bytes_max: Option<u64>,
    /// `memory.stat`
    pub memory: Memory,
    /// `memory.events`
    pub events: Events,
    /// Processes of the group itself.
    pub processes: u64,
}

/// `cpu.stat`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// Periods of the quota.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled_periods: u64,
    /// For how long.
    pub throttled: Duration,
}

/// `memory.stat`, in bytes and events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Of processes.
    pub anon_bytes: u64,
    /// Of files, the part that goes first when memory is short.
    pub inactive_file_bytes: u64,
    /// Page faults.
    pub faults: u64,
    /// Those that waited for a disk.
    pub major_faults: u64,
}

/// `memory.events`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// `memory.high` was exceeded.
    pub high: u64,
    /// `memory.max` was about to be.
    pub max: u64,
    /// Allocations failed for want of memory.
    pub oom: u64,
    /// Processes killed for it.
    pub oom_kill: u64,
}

/// Pressure stall information of one resource (Documentation/accounting/psi.rst of the kernel).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Stall,
    /// No task did anything else.
    pub full: Stall,
}

/// How long tasks stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Since the group began.
    pub total: Duration,
}

/// Reads the files of a group. Not on a reactor.
///
/// # Errors
/// The group is gone, or cannot be read: `cpu.stat` stands in every group.
#[expect(clippy::disallowed_methods, reason = "never on a reactor: see the head of `cgroups`")]
pub fn read(group: &Path) -> std::io::Result<Stats> {
    let cpu = std::fs::read_to_string(group.join("cpu.stat"))?;
    let text = |name: &str| std::fs::read_to_string(group.join(name)).unwrap_or_default();
    Ok(Stats {
        cpu: parse_cpu(&cpu),
        memory_bytes: text("memory.current").trim().parse().unwrap_or(0),
        memory_bytes_max: text("memory.max").trim().parse().ok(),
        memory: parse_memory(&text("memory.stat")),
        events: parse_events(&text("memory.events")),
        processes: text("cgroup.procs").lines().count() as u64,
    })
}

/// Names of the controllers that a group has.
#[expect(clippy::disallowed_methods, reason = "never on a reactor: see the head of `cgroups`")]
pub fn read_controllers(group: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Reads a pressure file; `None` where the kernel has none.
#[expect(clippy::disallowed_methods, reason = "never on a reactor: see the head of `cgroups`")]
pub fn read_pressure(file: &Path) -> std::io::Result<Option<Pressure>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(parse_pressure(&text)),
        // EOPNOTSUPP: the kernel has it, and it is switched off.
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                || error.kind() == std::io::ErrorKind::Unsupported =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// `cpu.stat`
pub fn parse_cpu(text: &str) -> Cpu {
    let of = |name| field(text, name);
    let time = |name| Duration::from_micros(of(name));
    Cpu {
        user: time("user_usec"),
        system: time("system_usec"),
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled: time("throttled_usec"),
    }
}

/// `memory.stat`
pub fn parse_memory(text: &str) -> Memory {
    let of = |name| field(text, name);
    Memory {
        anon_bytes: of("anon"),
        inactive_file_bytes: of("inactive_file"),
        faults: of("pgfault"),
        major_faults: of("pgmajfault"),
    }
}

/// `memory.events`
pub fn parse_events(text: &str) -> Events {
    let of = |name| field(text, name);
    Events { high: of("high"), max: of("max"), oom: of("oom"), oom_kill: of("oom_kill") }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`; `None` if neither
/// stands there.
pub fn parse_pressure(text: &str) -> Option<Pressure> {
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let value = |key: &str| {
            line.split_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        let percent = |key| value(key).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let total = value("total").and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(Stall {
            avg10: percent("avg10"),
            avg60: percent("avg60"),
            avg300: percent("avg300"),
            total: Duration::from_micros(total),
        })
    };
    let (some, full) = (stall("some"), stall("full"));
    let is_there = some.is_some() || full.is_some();
    is_there.then(|| Pressure { some: some.unwrap_or_default(), full: full.unwrap_or_default() })
}

/// A line `name value`; 0 if there is none, or none that is a number.
fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
