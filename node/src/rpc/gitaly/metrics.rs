//! Metrics of calls, under the names of go-grpc-prometheus and Gitaly.
//!
//! Always true: methods that do not exist have no series, and clients cannot make more than
//! [`NAMES_MAX`] of their own a method.

use super::auth::AuthMetrics;
use super::call::Called;
use super::record::{Client, Record, name};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use tonic::Code;

/// Pairs of client and call site that one reactor counts apart; further ones count as `other`.
const NAMES_MAX: usize = 100;
/// What Rails and Gitaly's own clients say; `none` and `unknown` are said for them.
const DEADLINE_TYPES: &[&str] = &["none", "unknown", "regular", "limited", "unlimited"];

/// Of all reactors.
#[derive(Debug, Clone)]
pub struct GitalyMetrics {
    pub(super) auth: AuthMetrics,
    started: IntCounterVec,
    handled: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    seconds: HistogramVec,
    client_requests: IntCounterVec,
    pub(super) negotiations: NegotiationMetrics,
}

/// What clients use when they fetch.
#[derive(Debug, Clone)]
pub(super) struct NegotiationMetrics {
    pub(super) smarthttp: IntCounterVec,
    pub(super) ssh: IntCounterVec,
}

/// The series that one reactor has looked up already.
#[derive(Debug)]
pub(super) struct Series {
    of: GitalyMetrics,
    methods: RefCell<HashMap<&'static str, Rc<MethodSeries>>>,
    /// Call sites by name of the client.
    names: RefCell<HashMap<String, HashSet<String>>>,
}

/// The series of one method.
#[derive(Debug)]
pub(super) struct MethodSeries {
    started: IntCounter,
    pub(super) received: IntCounter,
    pub(super) sent: IntCounter,
    seconds: Histogram,
}

// === impl GitalyMetrics ===

impl GitalyMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels);
            let vec = vec.expect("name and labels are valid");
            registry.register(Box::new(vec.clone())).expect("registered once a registry");
            vec
        };
        let method = ["grpc_type", "grpc_service", "grpc_method"];
        let with_code = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        let client = [
            "client_name",
            "grpc_service",
            "grpc_method",
            "call_site",
            "auth_version",
            "grpc_code",
            "deadline_type",
            "method_operation",
            "method_scope",
        ];
        let feature = ["git_negotiation_feature"];
        // Gitaly's default of prometheus.grpc_latency_buckets.
        let buckets = vec![0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 10.0, 30.0, 60.0, 300.0, 1500.0];
        let seconds = HistogramOpts::new("grpc_server_handling_seconds", "How long calls took.");
        let seconds = HistogramVec::new(seconds.buckets(buckets), &method)
            .expect("name and labels are valid");
        registry.register(Box::new(seconds.clone())).expect("registered once a registry");
        Self {
            auth: AuthMetrics::register(registry),
            started: counter("grpc_server_started_total", "Calls that began.", &method),
            handled: counter("grpc_server_handled_total", "Calls that ended.", &with_code),
            received: counter("grpc_server_msg_received_total", "Messages received.", &method),
            sent: counter("grpc_server_msg_sent_total", "Messages sent.", &method),
            seconds,
            client_requests: counter(
                "gitaly_service_client_requests_total",
                "Calls by what clients say of themselves.",
                &client,
            ),
            negotiations: NegotiationMetrics {
                smarthttp: counter(
                    "gitaly_smarthttp_packfile_negotiation_requests_total",
                    "What fetches over HTTP use.",
                    &feature,
                ),
                ssh: counter(
                    "gitaly_ssh_packfile_negotiation_requests_total",
                    "What fetches over SSH use.",
                    &feature,
                ),
            },
        }
    }
}

// === impl Series ===

impl Series {
    pub(super) fn new(of: GitalyMetrics) -> Self {
        Self { of, methods: RefCell::default(), names: RefCell::default() }
    }

    /// Counts a call that begins; `None` if there is no such method.
    pub(super) fn begin(&self, called: &Called) -> Option<Rc<MethodSeries>> {
        let path = called.known?;
        let mut methods = self.methods.borrow_mut();
        let series = methods.entry(path).or_insert_with(|| {
            let labels = [called.kind, &*called.service, &*called.method];
            Rc::new(MethodSeries {
                started: self.of.started.with_label_values(&labels),
                received: self.of.received.with_label_values(&labels),
                sent: self.of.sent.with_label_values(&labels),
                seconds: self.of.seconds.with_label_values(&labels),
            })
        });
        series.started.inc();
        Some(Rc::clone(series))
    }

    /// Counts a call that has ended.
    pub(super) fn end(&self, series: &MethodSeries, record: &Record) {
        series.seconds.observe(record.began.elapsed().as_secs_f64());
        let Record { called, client, .. } = record;
        let code = name(record.code);
        let (service, method) = (&*called.service, &*called.method);
        self.of.handled.with_label_values(&[called.kind, service, method, code]).inc();
        let (client_name, call_site) = self.bounded(client, record.code);
        self.of
            .client_requests
            .with_label_values(&[
                client_name,
                service,
                method,
                call_site,
                one_of(&client.auth_version, &["v2", "unknown"]),
                code,
                one_of(&client.deadline_type, DEADLINE_TYPES),
                called.operation,
                called.scope,
            ])
            .inc();
    }

    /// Name and call site of a client, if they are among the pairs that are counted apart. Who
    /// was not let in adds none.
    fn bounded<'n>(&self, client: &'n Client, code: Code) -> (&'n str, &'n str) {
        let mut names = self.names.borrow_mut();
        let (name, site) = (client.name.as_str(), client.call_site.as_str());
        if names.get(name).is_some_and(|sites| sites.contains(site)) {
            return (name, site);
        }
        if matches!(code, Code::Unauthenticated | Code::PermissionDenied) {
            return ("unknown", "unknown");
        }
        if names.values().map(HashSet::len).sum::<usize>() >= NAMES_MAX {
            return ("other", "other");
        }
        names.entry(name.to_owned()).or_default().insert(site.to_owned());
        (name, site)
    }
}

fn one_of<'n>(value: &'n str, known: &[&str]) -> &'n str {
    if known.contains(&value) { value } else { "other" }
}
