//! Spans for an OpenTelemetry collector, over OTLP (opentelemetry.io/docs/specs/otlp). Off unless the
//! environment names a collector.
//!
//! ```text
//!   a call ──► Trace (sampled?) ──► spans, as they end ──► queue ──► export (a thread) ──► collector
//! ```
//!
//! Always true:
//! - whoever ends a span takes one short lock and waits for nothing;
//! - at most `SPANS_MAX` wait; what does not fit, or cannot be sent, is lost and counted;
//! - a call that is not sampled costs nothing but its decision.
//!
//! Never here: metrics and logs, which have ways of their own; what a service traces.

mod context;
mod export;
mod message;
mod settings;

#[cfg(test)]
mod tests;

pub use self::settings::{Protocol, Settings, SettingsError};

use self::context::Parent;
use self::message::Span;
use prometheus::{IntCounterVec, Opts, Registry};
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The header of W3C's Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// Spans that wait to be sent: some hundred KiB.
const SPANS_MAX: usize = 4_096;

/// Decides what is traced, and takes spans; clones share the queue.
#[derive(Clone, Default)]
pub struct Tracer {
    /// `None`: off.
    shared: Option<Arc<Shared>>,
}

/// Between those who end spans and the thread that sends them.
struct Shared {
    settings: Settings,
    queue: Mutex<Vec<Span>>,
    /// By `result`.
    spans: IntCounterVec,
}

/// One sampled call: what its spans have in common.
#[derive(Clone)]
pub struct Trace {
    shared: Arc<Shared>,
    trace_id: u128,
    /// The call's own span, which the others are below.
    span_id: u64,
    parent_id: Option<u64>,
}

/// What a span is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// `gitaly.RefService/RefExists`, `git pack-objects`
    pub name: Cow<'static, str>,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What else there is to know.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Any text.
    Text(String),
    /// A whole number.
    Number(i64),
}

// === impl Tracer ===

impl Tracer {
    /// Traces nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Starts the thread that sends.
    pub fn start(settings: Settings, registry: &Registry) -> io::Result<Self> {
        let opts = Opts::new("gitring_trace_spans_total", "Spans sent to a collector, or lost.");
        let spans = IntCounterVec::new(opts, &["result"]).expect("name and label are valid");
        registry.register(Box::new(spans.clone())).expect("registered once a registry");
        for result in [export::SENT, export::LOST] {
            // Shown with 0 from the start.
            spans.with_label_values(&[result]);
        }
        let shared = Arc::new(Shared { settings, queue: Mutex::default(), spans });
        export::start(Arc::clone(&shared))?;
        Ok(Self { shared: Some(shared) })
    }

    /// Begins the trace of a call, or goes on with its client's (`traceparent` of W3C's Trace
    /// Context). `None` if the call is not sampled: the client decides, else the configured share.
    pub fn begin(&self, traceparent: Option<&[u8]>) -> Option<Trace> {
        let shared = self.shared.as_ref()?;
        let parent = traceparent.and_then(Parent::parse);
        let trace_id = match &parent {
            Some(parent) => parent.trace_id,
            None => u128::from(random()) << 64 | u128::from(random()),
        };
        let is_sampled = match &parent {
            Some(parent) => parent.is_sampled,
            None => context::is_sampled(trace_id, shared.settings.ratio),
        };
        let parent_id = parent.map(|parent| parent.span_id);
        let shared = Arc::clone(shared);
        is_sampled.then(|| Trace { shared, trace_id, span_id: random(), parent_id })
    }
}

/// Unlike what anybody could foresee, and not 0, which is no id.
fn random() -> u64 {
    RandomState::new().build_hasher().finish().max(1)
}

// === impl Trace ===

impl Trace {
    /// The call has ended.
    pub fn call_ended(&self, work: Work) {
        self.shared.push(self.span(work, self.span_id, self.parent_id, message::SERVER));
    }

    /// A part of the call has ended.
    pub fn part_ended(&self, work: Work) {
        self.shared.push(self.span(work, random(), Some(self.span_id), message::INTERNAL));
    }

    fn span(&self, work: Work, span_id: u64, parent_id: Option<u64>, kind: i32) -> Span {
        let began = work.began.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Span {
            trace_id: self.trace_id.to_be_bytes().to_vec(),
            span_id: span_id.to_be_bytes().to_vec(),
            parent_span_id: parent_id.map_or(Vec::new(), |id| id.to_be_bytes().to_vec()),
            name: work.name.into_owned(),
            kind,
            start_time_unix_nano: nanos(began),
            end_time_unix_nano: nanos(began + work.took),
            attributes: work.attributes.into_iter().map(Into::into).collect(),
            status: work.error.map(message::Status::error),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn push(&self, span: Span) {
        let mut queue = self.lock();
        if queue.len() < SPANS_MAX {
            queue.push(span);
        } else {
            self.spans.with_label_values(&[export::LOST]).inc();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tracer").field("is_on", &self.shared.is_some()).finish()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Trace({:032x})", self.trace_id)
    }
}
