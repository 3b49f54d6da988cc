//! Metrics of children. Answers: how many run, what do they take and for whom, does anybody wait
//! for one?

use super::account::{Account, Usage};
use super::{Budget, CommandName, Share};
use prometheus::{
    CounterVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) running: IntGauge,
    pub(super) spawned: IntCounterVec,
    pub(super) waiting: IntGauge,
    pub(super) timeouts: IntCounter,
    pub(super) waited: Histogram,
    pub(super) forking: Histogram,
    shares: Shares,
    used: Used,
}

/// By share of the budget.
#[derive(Debug, Clone)]
struct Shares {
    children: IntGaugeVec,
    memory_bytes: IntGaugeVec,
    refused: IntCounterVec,
}

/// By method and command, with Gitaly's names and labels.
#[derive(Debug, Clone)]
struct Used {
    cpu_seconds: CounterVec,
    real_seconds: CounterVec,
    minor_faults: IntCounterVec,
    major_faults: IntCounterVec,
    signals: IntCounterVec,
    context_switches: IntCounterVec,
}

const COMMAND: [&str; 4] = ["grpc_service", "grpc_method", "cmd", "subcmd"];
const CPU: [&str; 5] = ["grpc_service", "grpc_method", "cmd", "subcmd", "mode"];
const SWITCHES: [&str; 5] = ["grpc_service", "grpc_method", "cmd", "subcmd", "ctxswitchtype"];

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(registry: &Registry, git_version: &str, budget: &Budget) -> Self {
        let valid = "name and labels are valid";
        let metrics = Self {
            running: IntGauge::new("gitaly_commands_running", "Children that run.").expect(valid),
            spawned: IntCounterVec::new(
                Opts::new("gitring_children_spawned_total", "Children started."),
                &["cmd", "subcmd"],
            )
            .expect(valid),
            waiting: IntGauge::new(
                "gitaly_spawn_token_waiting_length",
                "Callers that wait until a child may be started.",
            )
            .expect(valid),
            timeouts: IntCounter::new(
                "gitaly_spawn_timeouts_total",
                "Callers that waited for a child in vain.",
            )
            .expect(valid),
            waited: histogram("gitaly_spawn_waiting_time_seconds", "Time waited for a permit."),
            forking: histogram("gitaly_spawn_forking_time_seconds", "Time from permit to process."),
            shares: Shares::register(registry, budget),
            used: Used::register(registry, git_version),
        };
        let taken = "registered once a registry";
        registry.register(Box::new(metrics.running.clone())).expect(taken);
        registry.register(Box::new(metrics.spawned.clone())).expect(taken);
        registry.register(Box::new(metrics.waiting.clone())).expect(taken);
        registry.register(Box::new(metrics.timeouts.clone())).expect(taken);
        registry.register(Box::new(metrics.waited.clone())).expect(taken);
        registry.register(Box::new(metrics.forking.clone())).expect(taken);
        metrics
    }

    /// A child of this share may start.
    pub(super) fn taken(&self, share: Share, children: i64, memory_bytes: u64) {
        let bytes = i64::try_from(memory_bytes).unwrap_or(i64::MAX);
        self.shares.children.with_label_values(&[share.as_str()]).add(children);
        self.shares.memory_bytes.with_label_values(&[share.as_str()]).add(bytes * children);
    }

    /// It has ended.
    pub(super) fn given_back(&self, share: Share, memory_bytes: u64) {
        self.taken(share, -1, memory_bytes);
    }

    /// A caller got no child.
    pub(super) fn refused(&self, share: Share, reason: &str) {
        self.shares.refused.with_label_values(&[share.as_str(), reason]).inc();
    }

    /// Counts what a child used that has ended.
    pub(super) fn used(&self, account: &Account, name: CommandName, usage: &Usage) {
        let command = [account.service(), account.method(), name.cmd, name.subcmd];
        let with = |last| [command[0], command[1], command[2], command[3], last];
        let Used { cpu_seconds, real_seconds, .. } = &self.used;
        cpu_seconds.with_label_values(&with("user")).inc_by(usage.user.as_secs_f64());
        cpu_seconds.with_label_values(&with("system")).inc_by(usage.system.as_secs_f64());
        real_seconds.with_label_values(&command).inc_by(usage.real.as_secs_f64());
        let Used { minor_faults, major_faults, signals, context_switches, .. } = &self.used;
        minor_faults.with_label_values(&command).inc_by(usage.minor_faults);
        major_faults.with_label_values(&command).inc_by(usage.major_faults);
        signals.with_label_values(&command).inc_by(usage.signals);
        let switches = |kind| context_switches.with_label_values(&with(kind));
        switches("voluntary").inc_by(usage.voluntary_switches);
        switches("nonvoluntary").inc_by(usage.involuntary_switches);
    }
}

// === impl Shares ===

impl Shares {
    fn register(registry: &Registry, budget: &Budget) -> Self {
        let gauge = |name: &str, help: &str| {
            let vec = IntGaugeVec::new(Opts::new(name, help), &["share"]);
            let vec = vec.expect("name and label are valid");
            registry.register(Box::new(vec.clone())).expect("registered once a registry");
            vec
        };
        let help = "Memory that children of a share may be expected to take.";
        let most = gauge("gitring_children_memory_limit_bytes", help);
        let refused = IntCounterVec::new(
            Opts::new("gitring_children_refused_total", "Callers that got no child."),
            &["share", "reason"],
        );
        let refused = refused.expect("name and labels are valid");
        registry.register(Box::new(refused.clone())).expect("registered once a registry");
        let help = "Memory that the children of a share are expected to take.";
        let memory_bytes = gauge("gitring_children_memory_expected_bytes", help);
        let children = gauge("gitring_children", "Children that have a place.");
        for share in [Share::Questions, Share::Transfers] {
            let bytes = i64::try_from(budget.memory_bytes_of(share)).unwrap_or(i64::MAX);
            most.with_label_values(&[share.as_str()]).set(bytes);
            children.with_label_values(&[share.as_str()]).set(0);
            memory_bytes.with_label_values(&[share.as_str()]).set(0);
        }
        Self { children, memory_bytes, refused }
    }
}

// === impl Used ===

impl Used {
    /// The version of git never changes: it is part of every series, and of no look-up.
    fn register(registry: &Registry, git_version: &str) -> Self {
        let valid = "name and labels are valid";
        let taken = "registered once a registry";
        let opts = |name: &str, help: &str| {
            let name = format!("gitaly_command_{name}_total");
            Opts::new(name, help).const_label("git_version", git_version)
        };
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            let vec = CounterVec::new(opts(name, help), labels).expect(valid);
            registry.register(Box::new(vec.clone())).expect(taken);
            vec
        };
        let count = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(opts(name, help), labels).expect(valid);
            registry.register(Box::new(vec.clone())).expect(taken);
            vec
        };
        Self {
            cpu_seconds: seconds("cpu_seconds", "CPU seconds of ended children.", &CPU),
            real_seconds: seconds("real_seconds", "Seconds that children ran.", &COMMAND),
            minor_faults: count("minor_page_faults", "Pages found in memory.", &COMMAND),
            major_faults: count("major_page_faults", "Pages read from disk.", &COMMAND),
            signals: count("signals_received", "Signals; Linux counts none.", &COMMAND),
            context_switches: count("context_switches", "Context switches.", &SWITCHES),
        }
    }
}

fn histogram(name: &str, help: &str) -> Histogram {
    // Gitaly's, and the longest that anybody waits here.
    let buckets = vec![0.001, 0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 60.0];
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)).expect("name is valid")
}
