//! SIGHUP: the file is read again, judged as a whole, and what can change changes.
//!
//! Always true:
//! - nothing changes unless the whole file is good; what is wrong is logged with file, line, key;
//! - who had to have a token has to have one afterwards, unless the file says that this is meant;
//! - what takes effect only at the next start is named, by its key and never with its value.

use super::renewal::RenewalMetrics;
use crate::adaptation::Adaptation;
use crate::config::{Changes, Config, ConfigError, Digests};
use crate::limits::Limits;
use crate::rpc::gitaly::Adjustable;
use gitring_daemon::log::{self, Log};
use gitring_daemon::tls::Server;
use prometheus::{Gauge, IntGauge, Registry};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Everything that SIGHUP changes: each owner's own, in one place.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) gitaly: Adjustable,
    pub(super) limits: Limits,
    pub(super) adaptation: Arc<Adaptation>,
    pub(super) tls: Option<Arc<Server>>,
    /// How long requests may go on after SIGTERM.
    pub(super) grace: Duration,
    pub(super) metrics: ReloadMetrics,
    pub(super) renewals: RenewalMetrics,
}

/// What the next file is compared with.
#[derive(Debug)]
pub(super) struct Reloader {
    path: PathBuf,
    started: Digests,
    last: Digests,
    is_closed: bool,
    log: Log,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// The file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It would let everybody in.
    #[error(transparent)]
    Opened(#[from] OpenedError),
    /// Reading it panicked.
    #[error("read the configuration")]
    Panicked(#[from] tokio::task::JoinError),
}

/// A file without a token in the place of one that had some.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: auth.token: there is no token any more, and until now nobody could call without one, \
     allowed: at least one token, or insecure = true in [auth] if everybody may call"
)]
pub struct OpenedError {
    path: PathBuf,
}

/// Answers: is the file that lies there the one that counts, and since when?
#[derive(Debug, Clone)]
pub(super) struct ReloadMetrics {
    successful: IntGauge,
    /// Seconds since 1970.
    success_at: Gauge,
}

/// Whether a file may follow on one that let nobody in without a token.
pub(super) fn stays_closed(
    path: &std::path::Path,
    was_closed: bool,
    config: &Config,
) -> Result<(), OpenedError> {
    let auth = &config.gitaly.auth;
    match was_closed && auth.tokens.is_empty() && !auth.insecure {
        true => Err(OpenedError { path: path.to_owned() }),
        false => Ok(()),
    }
}

// === impl Live ===

impl Live {
    /// Takes over what a good file says. Must not fail: what can, is done before.
    fn apply(&mut self, config: &Config) {
        self.gitaly.reload(&config.gitaly);
        self.limits.reload(&config.limits);
        self.adaptation.reload(&config.adaptation);
        if let (Some(server), Some(tls)) = (&self.tls, &config.gitaly.tls) {
            server.swap(tls.loaded.clone());
        }
        self.grace = config.grace;
    }
}

// === impl Reloader ===

impl Reloader {
    pub(super) fn new(path: PathBuf, config: &Config, log: Log) -> Self {
        let (started, last) = (config.digests.clone(), config.digests.clone());
        Self { path, started, last, is_closed: is_closed(config), log }
    }

    /// Whether nobody may call without a token.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Reads the file again, and logs what came of it.
    pub(super) async fn reload(&mut self, live: &mut Live) {
        match self.read().await {
            Ok(config) => {
                self.take(live, config);
                live.metrics.succeeded();
            }
            Err(error) => {
                live.metrics.successful.set(0);
                let error = log::chain(&error);
                tracing::error!(error, "configuration not reloaded, nothing has changed");
            }
        }
    }

    async fn read(&self) -> Result<Config, ReloadError> {
        let path = self.path.clone();
        // Names of hosts may take seconds to be resolved.
        let config = tokio::task::spawn_blocking(move || Config::load(&path)).await??;
        stays_closed(&self.path, self.is_closed, &config)?;
        Ok(config)
    }

    fn take(&mut self, live: &mut Live, config: Config) {
        live.apply(&config);
        self.log.set_level(config.log.level);
        let changes = Changes::between(&self.started, &self.last, &config.digests);
        self.is_closed = is_closed(&config);
        for remark in &config.remarks {
            tracing::warn!(remark, "configuration");
        }
        if !changes.at_next_start.is_empty() {
            let keys = changes.at_next_start.join(", ");
            tracing::warn!(
                keys,
                "configuration keys that differ and take effect at the next start"
            );
        }
        let tokens: Vec<_> = config.gitaly.auth.tokens.iter().map(|token| &*token.name).collect();
        tracing::info!(
            changed = changes.at_once.join(", "),
            tokens = tokens.join(", "),
            "configuration reloaded"
        );
        self.last = config.digests;
    }
}

fn is_closed(config: &Config) -> bool {
    !config.gitaly.auth.tokens.is_empty()
}

// === impl ReloadMetrics ===

impl ReloadMetrics {
    /// Prometheus' own names for its own file, with our prefix.
    pub(super) fn register(registry: &Registry) -> Self {
        let valid = "the name is valid";
        let successful = IntGauge::new(
            "gitring_config_last_reload_successful",
            "Whether the configuration that was read last is the one that counts.",
        )
        .expect(valid);
        let success_at = Gauge::new(
            "gitring_config_last_reload_success_timestamp_seconds",
            "When the configuration that counts was read.",
        )
        .expect(valid);
        let taken = "registered once a registry";
        registry.register(Box::new(successful.clone())).expect(taken);
        registry.register(Box::new(success_at.clone())).expect(taken);
        let this = Self { successful, success_at };
        this.succeeded();
        this
    }

    fn succeeded(&self) {
        self.successful.set(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.success_at.set(now.as_secs_f64());
    }
}
