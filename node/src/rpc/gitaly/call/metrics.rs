//! Metrics of calls, under the names of go-grpc-prometheus and Gitaly.
//!
//! Always true: methods that do not exist have no series, and clients cannot make more than
//! [`NAMES_MAX`] of their own a method.

use super::Called;
use super::client::Client;
use super::record::{Record, name};
use crate::rpc::gitaly::upstream::UpstreamMetrics;
use gitring_daemon::listener::Peer;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tonic::Code;

/// Pairs of client and call site that one reactor counts apart; further ones count as `other`.
const NAMES_MAX: usize = 100;
/// What Rails and Gitaly's own clients say; `none` and `unknown` are said for them.
const DEADLINE_TYPES: &[&str] = &["none", "unknown", "regular", "limited", "unlimited"];
const AUTH_VERSIONS: &[&str] = &["v2", "unknown"];
/// Gitaly's buckets; the first is for none at all.
const OIDS_ASKED: [f64; 5] = [0.001, 1.0, 5.0, 10.0, 20.0];
/// Labels of calls by what clients say of themselves.
const CLIENT: [&str; 9] = [
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
/// Status codes of gRPC.
const CODES: usize = 17;

/// Of all reactors.
#[derive(Debug, Clone)]
pub struct GitalyMetrics {
    started: IntCounterVec,
    handled: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    seconds: HistogramVec,
    client_requests: IntCounterVec,
    tcp_connections: IntCounter,
    unix_connections: IntCounter,
    tls_connections: IntCounter,
    pub(in crate::rpc::gitaly) negotiations: NegotiationMetrics,
    /// From a vote to its answer.
    pub(in crate::rpc::gitaly) voting_delay: Histogram,
    pub(in crate::rpc::gitaly) upstream: UpstreamMetrics,
    /// Commits asked for at once by ListCommitsByOid.
    pub(in crate::rpc::gitaly) oids_asked: Histogram,
}

/// What clients use when they fetch.
#[derive(Debug, Clone)]
pub(in crate::rpc::gitaly) struct NegotiationMetrics {
    pub(in crate::rpc::gitaly) smarthttp: IntCounterVec,
    pub(in crate::rpc::gitaly) ssh: IntCounterVec,
}

/// The series that one reactor has looked up already.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Series {
    of: GitalyMetrics,
    methods: RefCell<HashMap<&'static str, Rc<MethodSeries>>>,
    /// Numbers of pairs, by client and call site.
    pairs: RefCell<HashMap<String, HashMap<String, Pair>>>,
}

/// A client and its call site, by number.
type Pair = usize;

/// Clients that were not let in.
const PAIR_UNKNOWN: Pair = NAMES_MAX;
/// Further pairs.
const PAIR_OTHER: Pair = NAMES_MAX + 1;

/// What tells the series of one method apart, as places in lists: short to hash and to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RequestKey {
    pair: Pair,
    auth_version: usize,
    deadline_type: usize,
    code: usize,
}

/// The series of one method.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct MethodSeries {
    started: IntCounter,
    pub(in crate::rpc::gitaly) received: IntCounter,
    pub(in crate::rpc::gitaly) sent: IntCounter,
    seconds: Histogram,
    /// By code.
    handled: [OnceCell<IntCounter>; CODES],
    client_requests: RefCell<HashMap<RequestKey, IntCounter>>,
}

// === impl GitalyMetrics ===

impl GitalyMetrics {
    /// Registers them. Histograms of latencies have these buckets, seconds.
    pub fn register(registry: &Registry, buckets_s: &[f64]) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels);
            let vec = vec.expect("name and labels are valid");
            registry.register(Box::new(vec.clone())).expect("registered once a registry");
            vec
        };
        let method = ["grpc_type", "grpc_service", "grpc_method"];
        let with_code = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        let feature = ["git_negotiation_feature"];
        let seconds = HistogramOpts::new("grpc_server_handling_seconds", "How long calls took.");
        let seconds = HistogramVec::new(seconds.buckets(buckets_s.to_vec()), &method)
            .expect("name and labels are valid");
        registry.register(Box::new(seconds.clone())).expect("registered once a registry");
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(opts).expect("the name is valid");
            registry.register(Box::new(histogram.clone())).expect("registered once a registry");
            histogram
        };
        let connections =
            counter("gitaly_connections_total", "Connections of Gitaly's clients.", &["type"]);
        Self {
            tcp_connections: connections.with_label_values(&["tcp"]),
            unix_connections: connections.with_label_values(&["unix"]),
            tls_connections: connections.with_label_values(&["tls"]),
            upstream: UpstreamMetrics::register(registry),
            voting_delay: histogram(
                "gitaly_hook_transaction_voting_delay_seconds",
                "From a vote to its answer.",
                buckets_s,
            ),
            oids_asked: histogram(
                "gitaly_list_commits_by_oid_request_size",
                "Commits asked for at once by ListCommitsByOid.",
                &OIDS_ASKED,
            ),
            started: counter("grpc_server_started_total", "Calls that began.", &method),
            handled: counter("grpc_server_handled_total", "Calls that ended.", &with_code),
            received: counter("grpc_server_msg_received_total", "Messages received.", &method),
            sent: counter("grpc_server_msg_sent_total", "Messages sent.", &method),
            seconds,
            client_requests: counter(
                "gitaly_service_client_requests_total",
                "Calls by what clients say of themselves.",
                &CLIENT,
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
    pub(in crate::rpc::gitaly) fn new(of: GitalyMetrics) -> Self {
        Self { of, methods: RefCell::default(), pairs: RefCell::default() }
    }

    /// Counts a connection.
    pub(in crate::rpc::gitaly) fn connected(&self, peer: Peer) {
        match peer {
            Peer::Tcp(_) => self.of.tcp_connections.inc(),
            Peer::Unix => self.of.unix_connections.inc(),
            Peer::Tls(_) => self.of.tls_connections.inc(),
        }
    }

    /// Counts a call that begins; `None` if there is no such method.
    pub(in crate::rpc::gitaly) fn begin(&self, called: &Called) -> Option<Rc<MethodSeries>> {
        let path = called.known?;
        let mut methods = self.methods.borrow_mut();
        let series = methods.entry(path).or_insert_with(|| {
            let labels = [called.kind, &*called.service, &*called.method];
            Rc::new(MethodSeries {
                started: self.of.started.with_label_values(&labels),
                received: self.of.received.with_label_values(&labels),
                sent: self.of.sent.with_label_values(&labels),
                seconds: self.of.seconds.with_label_values(&labels),
                handled: Default::default(),
                client_requests: RefCell::default(),
            })
        });
        series.started.inc();
        Some(Rc::clone(series))
    }

    /// Counts a call that has ended.
    pub(in crate::rpc::gitaly) fn end(&self, series: &MethodSeries, record: &Record) {
        series.seconds.observe(record.began.elapsed().as_secs_f64());
        let Record { called, client, .. } = record;
        let code = record.code;
        let (service, method) = (&*called.service, &*called.method);
        let handled = series.handled.get(code as usize).map(|handled| {
            let labels = [called.kind, service, method, name(code)];
            handled.get_or_init(|| self.of.handled.with_label_values(&labels))
        });
        if let Some(handled) = handled {
            handled.inc();
        }
        let key = RequestKey {
            pair: self.pair(client, code),
            auth_version: place(&client.auth_version, AUTH_VERSIONS),
            deadline_type: place(&client.deadline_type, DEADLINE_TYPES),
            code: code as usize,
        };
        let mut requests = series.client_requests.borrow_mut();
        let requests = requests.entry(key).or_insert_with(|| self.client_requests(record, key));
        requests.inc();
    }

    fn client_requests(&self, record: &Record, key: RequestKey) -> IntCounter {
        let Record { called, client, .. } = record;
        let (client_name, call_site) = match key.pair {
            PAIR_UNKNOWN => ("unknown", "unknown"),
            PAIR_OTHER => ("other", "other"),
            _ => (&*client.name, &*client.call_site),
        };
        self.of.client_requests.with_label_values(&[
            client_name,
            &*called.service,
            &*called.method,
            call_site,
            AUTH_VERSIONS.get(key.auth_version).unwrap_or(&"other"),
            name(record.code),
            DEADLINE_TYPES.get(key.deadline_type).unwrap_or(&"other"),
            called.operation,
            called.scope,
        ])
    }

    /// The number of a client and its call site, if they are among the pairs that are counted
    /// apart. Who was not let in adds none.
    fn pair(&self, client: &Client, code: Code) -> Pair {
        let mut pairs = self.pairs.borrow_mut();
        let (name, site) = (&*client.name, &*client.call_site);
        if let Some(pair) = pairs.get(name).and_then(|sites| sites.get(site)) {
            return *pair;
        }
        if matches!(code, Code::Unauthenticated | Code::PermissionDenied) {
            return PAIR_UNKNOWN;
        }
        let pair = pairs.values().map(HashMap::len).sum();
        if pair >= NAMES_MAX {
            return PAIR_OTHER;
        }
        pairs.entry(name.to_owned()).or_default().insert(site.to_owned(), pair);
        pair
    }
}

/// Where a value stands in a list; behind its end if it does not.
fn place(value: &str, known: &[&str]) -> usize {
    known.iter().position(|one| *one == value).unwrap_or(known.len())
}
