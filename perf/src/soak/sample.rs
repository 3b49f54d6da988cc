//! What a node holds at one moment.
//!
//! Always true: figures of the process are the kernel's, those of its insides are its own metrics.

use std::fmt;
use std::time::Duration;

use gitring_tests::node::Node;
use gitring_tests::{metrics, process};

/// What may be left or grow without a fault: files of the pack cache that nobody reads, of which
/// 256 stay open (ARCHITECTURE.md, "Limits"), and of repositories that were opened.
const FILES_MORE_MAX: u64 = 280;
/// Sockets, pipes and whatever else is no file: under load, of clients that come and go.
const ENDS_MORE_MAX: u64 = 16;
/// Caches, and what the allocator keeps of them.
const BYTES_MORE_MAX: u64 = 64 << 20;
/// Threads are started on demand by nobody.
const THREADS_MORE_MAX: u64 = 2;

/// Gauges that are 0 while nobody asks for anything.
const GAUGES: [&str; 7] = [
    "gitring_reactor_connections",
    "gitring_children",
    "gitring_children_memory_expected_bytes",
    "gitaly_spawn_token_waiting_length",
    "gitring_workers_queued",
    "gitring_workers_busy",
    "gitring_writers_queued",
];

/// One look at a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Since the load, or the wait, began.
    pub at: Duration,
    /// Open files.
    pub files: u64,
    /// Sockets, pipes and the like.
    pub ends: u64,
    /// Threads.
    pub threads: u64,
    /// Resident anonymous memory.
    pub bytes: u64,
    /// Children that run or wait to be reaped.
    pub children: u64,
    /// Of them, those that have ended.
    pub zombies: u64,
    /// Each of the gauges in turn.
    pub gauges: [u64; GAUGES.len()],
}

// === impl Sample ===

impl Sample {
    /// Looks at a node.
    pub fn take(node: &Node, at: Duration) -> Self {
        let pid = node.pid();
        let children = process::children(pid);
        let ends = process::open_ends(pid);
        let zombies = children.iter().filter(|child| process::is_zombie(**child)).count();
        Self {
            at,
            files: (process::open_files(pid).saturating_sub(ends)) as u64,
            ends: ends as u64,
            threads: process::threads(pid) as u64,
            bytes: process::anonymous_bytes(pid),
            children: children.len() as u64,
            zombies: zombies as u64,
            gauges: GAUGES.map(|name| metrics::sum(node, name, &[])),
        }
    }

    /// Names of the columns.
    pub fn header() -> &'static str {
        "        minutes  files  ends  threads  MiB  children  zombies  connections  places  \
         expected MiB  waiting  jobs  busy  writes"
    }

    /// The mean of each figure.
    pub fn mean(samples: &[Self]) -> Self {
        let count = samples.len().max(1) as u64;
        let of = |read: &dyn Fn(&Self) -> u64| samples.iter().map(read).sum::<u64>() / count;
        let mut gauges = [0; GAUGES.len()];
        for (at, gauge) in gauges.iter_mut().enumerate() {
            *gauge = of(&|sample| sample.gauges[at]);
        }
        Self {
            at: samples.last().map_or(Duration::ZERO, |sample| sample.at),
            files: of(&|sample| sample.files),
            ends: of(&|sample| sample.ends),
            threads: of(&|sample| sample.threads),
            bytes: of(&|sample| sample.bytes),
            children: of(&|sample| sample.children),
            zombies: of(&|sample| sample.zombies),
            gauges,
        }
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.children == 0 && self.gauges.iter().all(|gauge| *gauge == 0)
    }

    /// What is more than `before` by more than it may be.
    pub fn beyond(&self, before: &Self, what: &str) -> Vec<String> {
        let rows = [
            ("open files", before.files, self.files, FILES_MORE_MAX),
            ("open sockets and pipes", before.ends, self.ends, ENDS_MORE_MAX),
            ("threads", before.threads, self.threads, THREADS_MORE_MAX),
            ("bytes of memory", before.bytes, self.bytes, BYTES_MORE_MAX),
            // Children come and go, but they do not pile up.
            ("zombies", before.zombies, self.zombies, 2),
        ];
        let grown = rows.iter().filter(|(_, before, now, more)| *now > before + more);
        grown.map(|(name, before, now, _)| format!("{what}: {now} {name}, {before}")).collect()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.at.as_secs_f64() / 60.0;
        let Self { files, ends, threads, children, zombies, .. } = self;
        let mib = self.bytes >> 20;
        let [connections, places, expected, waiting, jobs, busy, writes] = self.gauges;
        let expected = expected >> 20;
        write!(
            out,
            "{minutes:7.1}  {files:5}  {ends:4}  {threads:7}  {mib:3}  {children:8}  {zombies:7}"
        )?;
        write!(out, "  {connections:11}  {places:6}  {expected:12}  {waiting:7}  {jobs:4}")?;
        write!(out, "  {busy:4}  {writes:6}")
    }
}
