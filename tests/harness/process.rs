//! What the kernel says about a process: open files, children, memory, CPU time.
//!
//! Always true: numbers come from `/proc`; a process that is gone counts nothing.
//!
//! Never here: signals beyond those a test needs.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Clock ticks a second in `/proc/<pid>/stat`; 100 on every Linux of today (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// Number of open file descriptors.
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Process ids of the living children, zombies included.
pub fn children(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc is mounted");
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|&child: &u32| parent(child) == Some(pid)).collect()
}

/// Number of open file descriptors that are no files: sockets, pipes, event queues, processes.
pub fn open_ends(pid: u32) -> usize {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| !target.starts_with("/")).count()
}

/// Number of threads.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Whether a process has ended and was not waited for.
pub fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Anonymous resident memory in bytes: heap and stacks, without files and the page cache.
pub fn anonymous_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// User and system time of a process and of the children that it has reaped.
///
/// One reading is exact to two ticks (20 ms); measure many requests at once.
pub fn cpu_time(pid: u32) -> Duration {
    let ticks: u64 = (13..=16).filter_map(|at| stat_field(pid, at)).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// User and system time of the children that this process has reaped so far.
pub fn own_children_cpu_time() -> Duration {
    let ticks: u64 = (15..=16).filter_map(|at| stat_field(std::process::id(), at)).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Sends a signal by its name, as `TERM`.
pub fn signal(pid: u32, name: &str) {
    // The shell's own kill needs no package and no unsafe code.
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
    assert!(status.expect("sh can be started").success(), "kill -{name} {pid}");
}

/// Waits until `done` says so; panics with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn parent(pid: u32) -> Option<u32> {
    u32::try_from(stat_field(pid, 3)?).ok()
}

/// Field `at` of `/proc/<pid>/stat`, counted from 0 (proc(5)); only those behind the name.
fn stat_field(pid: u32, at: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and parentheses: what follows the last one is regular.
    stat.rsplit_once(')')?.1.split_whitespace().nth(at - 2)?.parse().ok()
}
