//! Metrics of adaptive limits, under Gitaly's names. Answers: where are the limits, and who lowered
//! them?

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    current: IntGaugeVec,
    errors: IntCounterVec,
    events: IntCounterVec,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let opts =
            |name: &str, help: &str| Opts::new(format!("gitaly_concurrency_limiting_{name}"), help);
        let counter = |name, help| {
            let vec = IntCounterVec::new(opts(name, help), &["watcher"]);
            let vec = vec.expect("name and label are valid");
            registry.register(Box::new(vec.clone())).expect("registered once a registry");
            vec
        };
        let help = "The value of an adaptive limit.";
        let current = IntGaugeVec::new(opts("current_limit", help), &["limit"]);
        let current = current.expect("name and label are valid");
        registry.register(Box::new(current.clone())).expect("registered once a registry");
        Self {
            current,
            errors: counter("watcher_errors_total", "Watchers that could not tell."),
            events: counter("backoff_events_total", "Watchers that saw too much."),
        }
    }

    pub(super) fn current(&self, limit: &str, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.current.with_label_values(&[limit]).set(value);
    }

    /// A limit that is none any more.
    /// Tells of no limit any more.
    pub(super) fn forget_all(&self) {
        self.current.reset();
    }

    pub(super) fn forget(&self, limit: &str) {
        // It has a series: it was set when the limit came.
        let _ = self.current.remove_label_values(&[limit]);
    }

    pub(super) fn failed(&self, watcher: &str) {
        self.errors.with_label_values(&[watcher]).inc();
    }

    pub(super) fn backed_off(&self, watcher: &str) {
        self.events.with_label_values(&[watcher]).inc();
    }
}
