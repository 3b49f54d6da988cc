//! Metrics of children. Answers: how many run, what CPU they take, does anybody wait for one?

use prometheus::{
    CounterVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) running: IntGauge,
    pub(super) cpu_seconds: CounterVec,
    pub(super) spawned: IntCounterVec,
    pub(super) waiting: IntGauge,
    pub(super) timeouts: IntCounter,
    pub(super) waited: Histogram,
    pub(super) forking: Histogram,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let valid = "name and labels are valid";
        let metrics = Self {
            running: IntGauge::new("gitaly_commands_running", "Children that run.").expect(valid),
            cpu_seconds: CounterVec::new(
                Opts::new("gitaly_command_cpu_seconds_total", "CPU seconds of ended children."),
                &["cmd", "subcmd", "mode"],
            )
            .expect(valid),
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
        };
        let taken = "registered once a registry";
        registry.register(Box::new(metrics.running.clone())).expect(taken);
        registry.register(Box::new(metrics.cpu_seconds.clone())).expect(taken);
        registry.register(Box::new(metrics.spawned.clone())).expect(taken);
        registry.register(Box::new(metrics.waiting.clone())).expect(taken);
        registry.register(Box::new(metrics.timeouts.clone())).expect(taken);
        registry.register(Box::new(metrics.waited.clone())).expect(taken);
        registry.register(Box::new(metrics.forking.clone())).expect(taken);
        metrics
    }
}

fn histogram(name: &str, help: &str) -> Histogram {
    let buckets = vec![0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 10.0, 60.0];
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)).expect("name is valid")
}
