//! Who may call (`[auth]`), by Gitaly's rules, words and metrics.
//!
//! Always true:
//! - a call is judged by one configuration as a whole, the one that is current when it comes;
//! - every token is compared, whichever fits, and a refusal says nothing of any of them.

use arc_swap::ArcSwap;
use gitring_proto::token::{Credentials, Secret};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::Status;

/// `[auth]`.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// `token`, under the name `token`, and `tokens`. Without any everybody may call.
    pub tokens: Vec<NamedSecret>,
    /// `transitioning`: tokens are judged and counted, but nobody is refused.
    pub transitioning: bool,
    /// `insecure`: that there is no token is meant so.
    pub insecure: bool,
}

/// A secret that clients sign with.
#[derive(Debug, Clone)]
pub struct NamedSecret {
    /// How its uses are counted.
    pub name: String,
    /// What is shared.
    pub secret: Secret,
}

/// Judges requests.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Auth {
    judge: ArcSwap<Judge>,
    metrics: AuthMetrics,
}

/// One configuration, with its counters.
#[derive(Debug)]
struct Judge {
    tokens: Vec<Token>,
    transitioning: bool,
    /// Of those that may call, once one has.
    let_in: OnceLock<IntCounter>,
}

#[derive(Debug)]
struct Token {
    name: String,
    secret: Secret,
    uses: IntCounter,
}

/// Answers: who would be refused, and why, before enforcement is turned on? Which tokens are still
/// in use?
#[derive(Debug, Clone)]
struct AuthMetrics {
    authentications: IntCounterVec,
    errors: IntCounterVec,
    uses: IntCounterVec,
}

// === impl Auth ===

impl Auth {
    pub(in crate::rpc::gitaly) fn register(config: &AuthConfig, registry: &Registry) -> Self {
        let metrics = AuthMetrics::register(registry);
        Self { judge: ArcSwap::from_pointee(metrics.judge(config)), metrics }
    }

    /// Requests that come from now on are judged by this configuration.
    pub(in crate::rpc::gitaly) fn reload(&self, config: &AuthConfig) {
        let before = self.judge.swap(Arc::new(self.metrics.judge(config)));
        // Names come and go: series of those that are gone would only add up.
        for token in &before.tokens {
            if config.tokens.iter().all(|current| current.name != token.name) {
                let _ = self.metrics.uses.remove_label_values(&[&token.name]);
            }
        }
    }

    /// Judges the header `authorization` of a request.
    pub(in crate::rpc::gitaly) fn check(&self, header: Option<&[u8]>) -> Result<(), Status> {
        let judge = self.judge.load();
        if judge.tokens.is_empty() {
            self.count_let_in(&judge, "server disabled authentication");
            return Ok(());
        }
        match self.judge(&judge.tokens, header) {
            Ok(token) => {
                token.uses.inc();
                self.count_let_in(
                    &judge,
                    match judge.transitioning {
                        true => "would be ok",
                        false => "ok",
                    },
                );
                Ok(())
            }
            Err((label, status)) => {
                self.counter(&judge, label).inc();
                if judge.transitioning { Ok(()) } else { Err(status) }
            }
        }
    }

    /// The token that a request was signed with.
    fn judge<'t>(
        &self,
        tokens: &'t [Token],
        header: Option<&[u8]>,
    ) -> Result<&'t Token, (&'static str, Status)> {
        let required = |_| ("unauthenticated", Status::unauthenticated("authentication required"));
        let credentials = Credentials::parse(header.unwrap_or_default()).map_err(required)?;
        let secrets = tokens.iter().map(|token| &token.secret);
        let signer = credentials.verify_any(secrets, unix_time_s()).map_err(|error| {
            if let Some(reason) = error.metric() {
                self.metrics.errors.with_label_values(&["v2", reason]).inc();
            }
            ("denied", Status::permission_denied("permission denied"))
        })?;
        Ok(&tokens[signer])
    }

    /// The status of a configuration never changes: its series is looked up once.
    fn count_let_in(&self, judge: &Judge, status: &'static str) {
        judge.let_in.get_or_init(|| self.counter(judge, status)).inc();
    }

    fn counter(&self, judge: &Judge, status: &'static str) -> IntCounter {
        let enforced = if judge.transitioning { "false" } else { "true" };
        self.metrics.authentications.with_label_values(&[enforced, status])
    }
}

fn unix_time_s() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

// === impl AuthMetrics ===

impl AuthMetrics {
    fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels);
            let vec = vec.expect("name and labels are valid");
            registry.register(Box::new(vec.clone())).expect("registered once a registry");
            vec
        };
        Self {
            authentications: counter(
                "gitaly_authentications_total",
                "Requests by how their token was judged.",
                &["enforced", "status"],
            ),
            errors: counter(
                "gitaly_authentication_errors_total",
                "Tokens that were refused.",
                &["version", "error"],
            ),
            uses: counter(
                "gitring_auth_token_uses_total",
                "Requests by the token that they were signed with.",
                &["name"],
            ),
        }
    }

    /// A token that was never used counts 0, so that its disuse can be seen.
    fn judge(&self, config: &AuthConfig) -> Judge {
        let token = |token: &NamedSecret| Token {
            name: token.name.clone(),
            secret: token.secret.clone(),
            uses: self.uses.with_label_values(&[&token.name]),
        };
        Judge {
            tokens: config.tokens.iter().map(token).collect(),
            transitioning: config.transitioning,
            let_in: OnceLock::new(),
        }
    }
}
