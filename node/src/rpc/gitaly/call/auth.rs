//! Who may call (`[auth]`), by Gitaly's rules, words and metrics.

use gitring_proto::token::{Credentials, Secret};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::Status;

/// `[auth]`.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// `token`. Without it everybody may call.
    pub secret: Option<Arc<Secret>>,
    /// `transitioning`: tokens are judged and counted, but nobody is refused.
    pub transitioning: bool,
}

/// Judges requests.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Auth {
    config: AuthConfig,
    metrics: AuthMetrics,
    /// Of those that may call, once one has.
    let_in: OnceCell<IntCounter>,
}

/// Answers: who would be refused, and why, before enforcement is turned on?
#[derive(Debug, Clone)]
pub(in crate::rpc::gitaly) struct AuthMetrics {
    authentications: IntCounterVec,
    errors: IntCounterVec,
}

// === impl Auth ===

impl Auth {
    pub(in crate::rpc::gitaly) fn new(config: AuthConfig, metrics: AuthMetrics) -> Self {
        Self { config, metrics, let_in: OnceCell::new() }
    }

    /// Judges the header `authorization` of a request.
    pub(in crate::rpc::gitaly) fn check(&self, header: Option<&[u8]>) -> Result<(), Status> {
        let Some(secret) = &self.config.secret else {
            self.count_let_in("server disabled authentication");
            return Ok(());
        };
        match self.judge(secret, header) {
            Ok(()) => {
                self.count_let_in(match self.config.transitioning {
                    true => "would be ok",
                    false => "ok",
                });
                Ok(())
            }
            Err((label, status)) => {
                self.counter(label).inc();
                if self.config.transitioning { Ok(()) } else { Err(status) }
            }
        }
    }

    fn judge(&self, secret: &Secret, header: Option<&[u8]>) -> Result<(), (&'static str, Status)> {
        let required = |_| ("unauthenticated", Status::unauthenticated("authentication required"));
        let credentials = Credentials::parse(header.unwrap_or_default()).map_err(required)?;
        credentials.verify(secret, unix_time_s()).map_err(|error| {
            if let Some(reason) = error.metric() {
                self.metrics.errors.with_label_values(&["v2", reason]).inc();
            }
            ("denied", Status::permission_denied("permission denied"))
        })
    }

    /// The status of a service never changes: its series is looked up once.
    fn count_let_in(&self, status: &'static str) {
        self.let_in.get_or_init(|| self.counter(status)).inc();
    }

    fn counter(&self, status: &'static str) -> IntCounter {
        let enforced = if self.config.transitioning { "false" } else { "true" };
        self.metrics.authentications.with_label_values(&[enforced, status])
    }
}

fn unix_time_s() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

// === impl AuthMetrics ===

impl AuthMetrics {
    pub(in crate::rpc::gitaly) fn register(registry: &Registry) -> Self {
        let authentications =
            Opts::new("gitaly_authentications_total", "Requests by how their token was judged.");
        let errors = Opts::new("gitaly_authentication_errors_total", "Tokens that were refused.");
        let valid = "name and labels are valid";
        let this = Self {
            authentications: IntCounterVec::new(authentications, &["enforced", "status"])
                .expect(valid),
            errors: IntCounterVec::new(errors, &["version", "error"]).expect(valid),
        };
        let taken = "registered once a registry";
        registry.register(Box::new(this.authentications.clone())).expect(taken);
        registry.register(Box::new(this.errors.clone())).expect(taken);
        this
    }
}
