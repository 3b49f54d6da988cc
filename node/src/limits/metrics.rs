//! Metrics of limits, under Gitaly's names. Answers: who is in, who waits, how long, who was sent
//! away and why?
//!
//! Always true: methods have series once they are limited, and ReplicateRepository always.

use super::claim::Reason;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Gitaly's default of `prometheus.grpc_latency_buckets`, in seconds.
const BUCKETS_S: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 10.0, 30.0, 60.0, 300.0, 1500.0];
/// The value of the label `system`.
const SYSTEM: &str = "gitaly";

/// Of all methods. Each figure has the name it has now and the one it had up to 15.
#[derive(Debug, Clone)]
pub(super) struct MethodMetrics {
    in_progress: [IntGaugeVec; 2],
    queued: [IntGaugeVec; 2],
    acquiring: [HistogramVec; 2],
    dropped: IntCounterVec,
}

/// Of one method.
#[derive(Debug)]
pub(super) struct MethodSeries {
    in_progress: [IntGauge; 2],
    queued: [IntGauge; 2],
    acquiring: [Histogram; 2],
    dropped: [IntCounter; 3],
}

/// Of packs that are built.
#[derive(Debug, Clone)]
pub(super) struct PackMetrics {
    pub(super) in_progress: IntGauge,
    pub(super) queued: IntGauge,
    pub(super) acquiring: Histogram,
    dropped: IntCounterVec,
}

/// One more, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Vec<IntGauge>);

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let made = made.expect("name and labels are valid");
    registry.register(Box::new(made.clone())).expect("registered once a registry");
    made
}

// === impl MethodMetrics ===

impl MethodMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let labels = ["system", "grpc_service", "grpc_method"];
        let gauge = |name: &str, help: &str| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), &labels))
        };
        let seconds = |name: &str| {
            let opts = HistogramOpts::new(name, "How long calls waited until they were let in.");
            registered(registry, HistogramVec::new(opts.buckets(BUCKETS_S.to_vec()), &labels))
        };
        let dropped = Opts::new("gitaly_requests_dropped_total", "Calls refused for a limit.");
        let by_reason = ["system", "grpc_service", "grpc_method", "reason"];
        let (running, waiting) = ("Limited calls that are let in.", "Calls that wait for a limit.");
        Self {
            in_progress: [
                gauge("gitaly_concurrency_limiting_in_progress", running),
                gauge("gitaly_rate_limiting_in_progress", running),
            ],
            queued: [
                gauge("gitaly_concurrency_limiting_queued", waiting),
                gauge("gitaly_rate_limiting_queued", waiting),
            ],
            acquiring: [
                seconds("gitaly_concurrency_limiting_acquiring_seconds"),
                seconds("gitaly_rate_limiting_seconds"),
            ],
            dropped: registered(registry, IntCounterVec::new(dropped, &by_reason)),
        }
    }

    /// Those of one method; `suffix` is told behind its name.
    pub(super) fn of(&self, path: &str, suffix: &str) -> MethodSeries {
        let path = path.trim_start_matches('/');
        let (service, method) = path.split_once('/').unwrap_or(("unknown", "unknown"));
        let method = format!("{method}{suffix}");
        let labels = [SYSTEM, service, method.as_str()];
        let gauge = |vec: &IntGaugeVec| vec.with_label_values(&labels);
        MethodSeries {
            in_progress: self.in_progress.each_ref().map(gauge),
            queued: self.queued.each_ref().map(gauge),
            acquiring: self.acquiring.each_ref().map(|vec| vec.with_label_values(&labels)),
            dropped: Reason::ALL.map(|reason| {
                let [system, service, method] = labels;
                self.dropped.with_label_values(&[system, service, method, reason.label()])
            }),
        }
    }
}

// === impl MethodSeries ===

impl MethodSeries {
    pub(super) fn running(&self) -> Counted {
        Counted::among(&self.in_progress)
    }

    pub(super) fn waiting(&self) -> Counted {
        Counted::among(&self.queued)
    }

    pub(super) fn acquired(&self, waited_s: f64) {
        self.acquiring.iter().for_each(|histogram| histogram.observe(waited_s));
    }

    pub(super) fn dropped(&self, reason: Reason) {
        self.dropped[reason as usize].inc();
    }
}

// === impl PackMetrics ===

impl PackMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help));
        let seconds = "gitaly_pack_objects_acquiring_seconds";
        let seconds = HistogramOpts::new(seconds, "How long packs waited until they were built.");
        let dropped = Opts::new("gitaly_pack_objects_dropped_total", "Packs refused for a limit.");
        let this = Self {
            in_progress: gauge("gitaly_pack_objects_in_progress", "Packs that are being built."),
            queued: gauge("gitaly_pack_objects_queued", "Packs that wait to be built."),
            acquiring: registered(
                registry,
                Histogram::with_opts(seconds.buckets(BUCKETS_S.to_vec())),
            ),
            dropped: registered(registry, IntCounterVec::new(dropped, &["reason"])),
        };
        for reason in [Reason::Size, Reason::Time] {
            this.dropped.with_label_values(&[reason.label()]);
        }
        this
    }

    pub(super) fn dropped(&self, reason: Reason) {
        self.dropped.with_label_values(&[reason.label()]).inc();
    }
}

// === impl Counted ===

impl Counted {
    pub(super) fn among(gauges: &[IntGauge]) -> Self {
        gauges.iter().for_each(IntGauge::inc);
        Self(gauges.to_vec())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}
