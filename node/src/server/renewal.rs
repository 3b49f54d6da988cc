//! Certificates that are renewed on disk: the files are looked at, and taken once they fit.
//!
//! Always true: a certificate and a key that do not fit together change nothing. They are warned of
//! at the second look: whoever replaces two files does so one after the other.

use gitring_daemon::log;
use gitring_daemon::tls::{Server, TlsError};
use prometheus::{IntCounterVec, Opts, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks. Certificates are renewed days before they end.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Answers: is a renewed certificate served, or does one lie there that cannot be?
#[derive(Debug, Clone)]
pub(super) struct RenewalMetrics(IntCounterVec);

/// Looks until it is dropped.
pub(super) async fn renew(server: Arc<Server>, metrics: RenewalMetrics) {
    let mut failures = 0_u32;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looking = Arc::clone(&server);
        let Ok(looked) = tokio::task::spawn_blocking(move || looking.renew()).await else { return };
        failures = metrics.said(looked, failures);
    }
}

// === impl RenewalMetrics ===

impl RenewalMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let name = "gitring_tls_certificate_renewals_total";
        let opts = Opts::new(name, "Certificates that changed on disk, by what became of them.");
        let renewals = IntCounterVec::new(opts, &["result"]).expect("name and label are valid");
        registry.register(Box::new(renewals.clone())).expect("registered once a registry");
        Self(renewals)
    }

    /// How many looks in a row have failed by now.
    fn said(&self, looked: Result<bool, TlsError>, failures: u32) -> u32 {
        match looked {
            Ok(true) => {
                self.0.with_label_values(&["taken"]).inc();
                tracing::info!("renewed certificate taken");
            }
            // Files that are as they were when they were taken end a failure, too.
            Ok(false) => {}
            Err(error) => {
                if failures == 1 {
                    self.0.with_label_values(&["refused"]).inc();
                    let error = log::chain(&error);
                    tracing::warn!(error, "renewed certificate not taken, the former one stays");
                }
                return failures.saturating_add(1);
            }
        }
        0
    }
}
