//! What is not built, passed on to a stock Gitaly on the same disks (`[upstream]`).
//!
//! Always true:
//! - a call whose changes others vote on is never passed on: the upstream could not vote on the
//!   client's connection;
//! - a call that another node has passed on goes no further.
//!
//! Never here: how calls are passed on (`gitring_daemon::relay`). Repositories need not be told of
//! an upstream's changes: they are proven by `stat` at each call.

use super::call::context::Context;
use super::call::observed::Request as Body;
use super::call::record::{Record, name};
use super::voting;
use arc_swap::ArcSwap;
use gitring_daemon::relay::{self, Call, Target};
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use std::sync::Arc;
use tonic::body::Body as Answer;
use tonic::{Code, Status};

/// Where the upstream is, shared by all reactors. What is stored serves the next calls.
pub type UpstreamTarget = Arc<ArcSwap<Target>>;

/// Marks calls that a node has passed on.
const PASSED: HeaderName = HeaderName::from_static("gitring-passed-on");

/// The upstream of one reactor.
#[derive(Debug)]
pub(super) struct Upstream {
    relay: relay::Upstream,
    metrics: UpstreamMetrics,
}

/// Answers: what does this node still need the other Gitaly for?
#[derive(Debug, Clone)]
pub(super) struct UpstreamMetrics {
    calls: IntCounterVec,
    seconds: HistogramVec,
    open: IntGauge,
}

// === impl Upstream ===

impl Upstream {
    pub(super) fn new(target: UpstreamTarget, metrics: UpstreamMetrics) -> Self {
        Self { relay: relay::Upstream::new(target, None), metrics }
    }

    /// Lets the upstream answer.
    pub(super) async fn pass(
        &self,
        mut head: Parts,
        body: Body,
        context: &Context,
    ) -> Response<Answer> {
        if let Err(status) = self.admit(&head, context) {
            return status.into_http();
        }
        head.headers.insert(PASSED, HeaderValue::from_static("1"));
        context.record.borrow_mut().upstream = Some(self.relay.target());
        self.metrics.open.inc();
        let mux = context.mux.clone();
        match self.relay.call(Call { head, body, mux, deadline: context.deadline() }).await {
            Ok(response) => match self.distrust(response.headers()) {
                None => response.map(Answer::new),
                Some(status) => status.into_http(),
            },
            Err(error) => error.status().into_http(),
        }
    }

    fn admit(&self, head: &Parts, context: &Context) -> Result<(), Status> {
        let why = if head.headers.contains_key(voting::METADATA_KEY) {
            "a change that is voted on is not passed on to the upstream Gitaly, which could not \
             vote"
        } else if head.headers.contains_key(PASSED) {
            "the call was passed on by a gitring-node whose upstream this one is: an upstream must \
             be a stock Gitaly"
        } else {
            return Ok(());
        };
        let record = context.record.borrow();
        let (service, method) = (&record.called.service, &record.called.method);
        let text = format!("method {method} of service {service} is not built yet, and {why}");
        Err(Status::unimplemented(text))
    }

    /// Where the upstream does not trust this node, its words would blame the client.
    fn distrust(&self, headers: &HeaderMap) -> Option<Status> {
        let status = Status::from_header_map(headers)?;
        let target = self.relay.target();
        let text = match (status.code(), status.message()) {
            (Code::PermissionDenied, said @ "permission denied") => {
                format!("upstream Gitaly {target} refuses the token of [upstream]: {said}")
            }
            (Code::Unauthenticated, said @ "authentication required") => {
                format!("upstream Gitaly {target} wants a token, and [upstream] has none: {said}")
            }
            _ => return None,
        };
        Some(Status::new(status.code(), text))
    }

    /// Counts a call that has ended, if it was passed on.
    pub(super) fn end(&self, record: &Record) {
        if record.upstream.is_none() {
            return;
        }
        // Methods that nobody knows would be labels of the client's making.
        let method = record.called.known.map_or("unknown", |_| &*record.called.method);
        self.metrics.open.dec();
        self.metrics.calls.with_label_values(&[method, name(record.code)]).inc();
        let seconds = self.metrics.seconds.with_label_values(&[method]);
        seconds.observe(record.began.elapsed().as_secs_f64());
    }
}

// === impl UpstreamMetrics ===

impl UpstreamMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let calls = Opts::new("gitring_upstream_calls_total", "Calls that were passed on.");
        let seconds = HistogramOpts::new("gitring_upstream_seconds", "How long these took.");
        let seconds = seconds.buckets(vec![0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 10.0, 60.0, 300.0]);
        let open = IntGauge::new("gitring_upstream_calls_open", "Calls that are passed on now.");
        let valid = "name and labels are valid";
        let this = Self {
            calls: IntCounterVec::new(calls, &["grpc_method", "code"]).expect(valid),
            seconds: HistogramVec::new(seconds, &["grpc_method"]).expect(valid),
            open: open.expect(valid),
        };
        let taken = "registered once a registry";
        registry.register(Box::new(this.calls.clone())).expect(taken);
        registry.register(Box::new(this.seconds.clone())).expect(taken);
        registry.register(Box::new(this.open.clone())).expect(taken);
        this
    }
}
