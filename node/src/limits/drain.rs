//! How fast a queue drains, as measured: what those who are refused are told.
//!
//! Always true: an estimate lies between [`WAIT_MIN`] and [`WAIT_MAX`].
//! Never here: clocks.

use std::time::{Duration, Instant};

/// A retry sooner than this is as good as none.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(100);
/// Whoever is told to wait longer tries again anyway.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(600);
/// What is said before anything was measured.
const INTERVAL_UNKNOWN_S: f64 = 1.0;
/// What an earlier measurement counts against the next one: the last ten weigh most.
const MEMORY: f64 = 0.9;

/// Times between two who left, of a queue that was never empty in between.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    elapsed_s: f64,
    leavings: f64,
}

// === impl Pace ===

impl Pace {
    /// Somebody has left, so long after the one before.
    pub(super) fn left(&mut self, interval: Duration) {
        self.elapsed_s = self.elapsed_s * MEMORY + interval.as_secs_f64();
        self.leavings = self.leavings * MEMORY + 1.0;
    }

    /// Seconds between two who leave, if any was seen.
    pub(super) fn interval_s(&self) -> Option<f64> {
        (self.leavings > 0.0).then(|| self.elapsed_s / self.leavings)
    }
}

/// After which time `queued` have left. `own` is the pace of the queue, `usual` that of all queues
/// of its kind; nobody has left it since `last`.
pub(super) fn wait(
    queued: usize,
    own: Pace,
    usual: Pace,
    (last, now): (Instant, Instant),
) -> Duration {
    let measured = own.interval_s().or(usual.interval_s()).unwrap_or(INTERVAL_UNKNOWN_S);
    // A queue that stands still is slower than it was.
    let interval_s = measured.max(now.saturating_duration_since(last).as_secs_f64());
    let wait_s = interval_s * queued.max(1) as f64;
    Duration::from_secs_f64(wait_s.min(WAIT_MAX.as_secs_f64())).max(WAIT_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_follows_what_was_measured() {
        fn check(left_ms: &[u64], queued: usize, still_ms: u64, expected_ms: u128) {
            let mut pace = Pace::default();
            left_ms.iter().for_each(|interval| pace.left(Duration::from_millis(*interval)));
            let last = Instant::now();
            let now = last + Duration::from_millis(still_ms);
            let wait = wait(queued, pace, Pace::default(), (last, now));
            assert_eq!(wait.as_millis(), expected_ms, "{left_ms:?}, {queued}, {still_ms}");
        }
        check(&[], 3, 0, 3_000);
        check(&[200], 10, 0, 2_000);
        check(&[200], 10, 500, 5_000);
        check(&[1], 1, 0, 100);
        check(&[60_000], 1_000, 0, 600_000);
        // Four leave together each second: whatever the moment, about a quarter of a second each.
        for phase in 0..4 {
            let mut pace = Pace::default();
            (0..100 + phase).for_each(|at| pace.left(Duration::from_secs(u64::from(at % 4 == 0))));
            let interval_s = pace.interval_s().unwrap();
            assert!((0.2..0.3).contains(&interval_s), "{phase}: {interval_s}");
        }
    }
}
