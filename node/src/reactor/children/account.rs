//! Accounts: on whose behalf children run, and what they cost.

use super::{CommandName, Exit, SpawnError};
use gitring_daemon::otlp::{Attribute, Trace, Work};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// Shorter waits for a permit are not worth a span.
const WAIT_TOLD: Duration = Duration::from_millis(1);

/// One call that has children started. What they cost is added whether or not the call waits for
/// them.
#[derive(Debug)]
pub struct Account {
    service: &'static str,
    method: &'static str,
    correlation_id: String,
    /// `storage/relative path`, once the call has said it.
    repository: OnceLock<String>,
    /// Children that run and answer questions.
    questions: AtomicU32,
    cgroup: Mutex<Option<String>>,
    cost: Mutex<Cost>,
    /// Where spans of children belong, if the call is traced.
    trace: Option<Trace>,
}

/// What the children of an account cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Children started.
    pub started: u32,
    /// Children asked for, those that were not started among them.
    pub asked: u32,
    /// Waited until one could be started.
    pub waited: Duration,
    /// Taken by starting them.
    pub forking: Duration,
    /// Why the last one that was not started was not.
    pub refused: Option<&'static str>,
    /// Of those that have ended.
    pub usage: Usage,
}

/// What processes used (getrusage), each with those that it waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// From start to end.
    pub real: Duration,
    /// Most memory at once.
    pub max_rss_kib: u64,
    /// Reads from disk, in blocks of 512 bytes.
    pub blocks_read: u64,
    /// Writes to disk, likewise.
    pub blocks_written: u64,
    /// Pages that were in memory already.
    pub minor_faults: u64,
    /// Pages that were read.
    pub major_faults: u64,
    /// Signals received; Linux does not count them.
    pub signals: u64,
    /// Switches because the process waited.
    pub voluntary_switches: u64,
    /// Switches because its time was up.
    pub involuntary_switches: u64,
}

// === impl Account ===

impl Account {
    /// For a call of `method` of `service`, as metrics name both. The environment of its children
    /// says the correlation id, unless that is empty.
    pub fn new(service: &'static str, method: &'static str, correlation_id: String) -> Self {
        Self {
            service,
            method,
            correlation_id,
            repository: OnceLock::new(),
            questions: AtomicU32::new(0),
            cgroup: Mutex::default(),
            cost: Mutex::default(),
            trace: None,
        }
    }

    /// The same, as a part of a trace.
    pub fn traced(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    /// The trace that the call belongs to, if there is one.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Says which repository the call is about; the first one counts.
    pub fn is_about(&self, storage: &str, relative_path: &str) {
        self.repository.get_or_init(|| format!("{storage}/{relative_path}"));
    }

    /// The storage and the path below it, parted by a slash, as Gitaly's cgroups are chosen by.
    pub fn repository(&self) -> Option<&str> {
        self.repository.get().map(String::as_str)
    }

    /// The value of the label `grpc_service`.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The value of the label `grpc_method`.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// What joins the call with what others do for it.
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// What is on the account by now.
    pub fn cost(&self) -> Cost {
        *self.lock()
    }

    /// Questions that have a child by now.
    pub(super) fn questions(&self) -> u32 {
        self.questions.load(Ordering::Relaxed)
    }

    pub(super) fn question_begins(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn question_ends(&self) {
        self.questions.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn waited(&self, waited: Duration, refused: Option<&SpawnError>) {
        if let Some(trace) = self.trace.as_ref().filter(|_| waited >= WAIT_TOLD) {
            trace.part_ended(Work {
                name: "wait for a git process".into(),
                began: SystemTime::now() - waited,
                took: waited,
                attributes: Vec::new(),
                error: refused.map(ToString::to_string),
            });
        }
        let mut cost = self.lock();
        cost.asked += 1;
        cost.waited += waited;
        cost.refused = match refused {
            None => cost.refused,
            // Gitaly's words.
            Some(SpawnError::Timeout) => Some("spawn token timeout"),
            Some(SpawnError::Full) => Some("spawn queue is full"),
            Some(SpawnError::Io { .. }) => Some("spawn failed"),
        };
    }

    pub(super) fn forked(&self, forking: Duration) {
        self.lock().forking += forking;
    }

    /// A child runs in this cgroup.
    pub(super) fn placed(&self, cgroup: String) {
        *self.cgroup.lock().unwrap_or_else(PoisonError::into_inner) = Some(cgroup);
    }

    /// The cgroup of the last child, its path below the mount point, if it has one.
    pub fn cgroup(&self) -> Option<String> {
        self.cgroup.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn started(&self) {
        self.lock().started += 1;
    }

    pub(super) fn ended(&self, name: CommandName, exit: &Exit) {
        let usage = &exit.usage;
        self.lock().usage.add(usage);
        if let Some(trace) = &self.trace {
            let millis = |time: Duration| {
                Attribute::Number(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
            };
            trace.part_ended(Work {
                name: format!("{} {}", name.cmd, name.subcmd).into(),
                began: SystemTime::now() - usage.real,
                took: usage.real,
                attributes: vec![("cpu_time_ms", millis(usage.user + usage.system))],
                error: (!exit.status.success()).then(|| exit.status.to_string()),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cost> {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Usage ===

impl Usage {
    /// Adds what another process used. Of memory the larger one counts, as in Gitaly.
    fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.real += other.real;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
        self.blocks_read += other.blocks_read;
        self.blocks_written += other.blocks_written;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.signals += other.signals;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}
