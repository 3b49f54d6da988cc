//! Metrics of the gateway. Answers: what is asked, how is it answered, how long does it take?

use crate::rpc::FetchMetrics;
use crate::rpc::access_log::Record;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Shared by the gateways of all reactors.
#[derive(Debug, Clone)]
pub struct GatewayMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    protocols: IntCounterVec,
}

// === impl GatewayMetrics ===

impl GatewayMetrics {
    /// Registers them.
    pub fn register(registry: &Registry, fetches: &FetchMetrics) -> Self {
        let valid = "name and labels are valid";
        // Gitaly's grpc_latency_buckets.
        let buckets = vec![0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 10.0, 30.0, 60.0, 300.0, 1500.0];
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("gitring_http_requests_total", "Requests of the gateway."),
                &["operation", "status"],
            )
            .expect(valid),
            seconds: HistogramVec::new(
                HistogramOpts::new("gitring_http_request_seconds", "From request to last byte.")
                    .buckets(buckets),
                &["operation"],
            )
            .expect(valid),
            protocols: fetches.protocols.clone(),
        };
        let taken = "registered once a registry";
        registry.register(Box::new(metrics.requests.clone())).expect(taken);
        registry.register(Box::new(metrics.seconds.clone())).expect(taken);
        metrics
    }

    /// Counts a request that has ended.
    pub(super) fn count(&self, record: &Record) {
        let status = record.status.to_string();
        self.requests.with_label_values(&[record.operation, status.as_str()]).inc();
        let seconds = record.began.elapsed().as_secs_f64();
        self.seconds.with_label_values(&[record.operation]).observe(seconds);
        if let Some(version) = record.version {
            let version = format!("v{}", version.number());
            let labels = ["http", record.operation, version.as_str()];
            self.protocols.with_label_values(&labels).inc();
        }
    }
}
