//! `[prometheus]`.
//!
//! `scrape_timeout` has no effect: it bounds what Praefect asks of its database for a scrape, and
//! nothing here waits for anything.

use gitring_daemon::settings::{Section, SettingsError};

/// Gitaly's default of `grpc_latency_buckets`, seconds.
pub const LATENCY_BUCKETS_S: [f64; 11] =
    [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 10.0, 30.0, 60.0, 300.0, 1500.0];
/// Each is a series a method.
const BUCKETS_MAX: usize = 50;

/// Reads the table: the upper bounds of histograms of latencies, seconds.
pub(super) fn latency_buckets(root: &Section<'_>) -> Result<Vec<f64>, SettingsError> {
    let key = "grpc_latency_buckets";
    let Some(section) = root.section("prometheus")? else { return Ok(LATENCY_BUCKETS_S.into()) };
    let Some(buckets) = section.numbers(key)? else { return Ok(LATENCY_BUCKETS_S.into()) };
    if buckets.is_empty() {
        return Ok(LATENCY_BUCKETS_S.into());
    }
    let allowed = format!("allowed: at most {BUCKETS_MAX} ascending numbers");
    let is_ascending = buckets.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_ascending || buckets.len() > BUCKETS_MAX {
        return Err(section.error(key, format!("{buckets:?} cannot be used, {allowed}")));
    }
    if !buckets.iter().all(|bound| bound.is_finite()) {
        return Err(section.error(key, format!("has a bound that is not finite, {allowed}")));
    }
    Ok(buckets)
}
