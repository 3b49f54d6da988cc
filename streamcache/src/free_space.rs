//! How much the file system has free, asked now and then.
//!
//! Always true:
//! - it is asked at most once a second, or once per 64 MiB written.
//!
//! Never here: asking.

use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(1);
const WRITTEN_MAX: u64 = 64 << 20;

/// What was last answered.
#[derive(Debug, Default)]
pub(crate) struct FreeSpace {
    asked: Option<Duration>,
    written: u64,
    low: bool,
}

// === impl FreeSpace ===

impl FreeSpace {
    /// Before `bytes` are written: whether to ask. If so, nobody else will for a while.
    pub(crate) fn is_due(&mut self, bytes: u64, now: Duration) -> bool {
        self.written = self.written.saturating_add(bytes);
        // A clock that was set back must not put the question off for long.
        let recent = |asked: Duration| asked <= now && now - asked < PERIOD;
        if self.asked.is_some_and(recent) && self.written < WRITTEN_MAX {
            return false;
        }
        self.asked = Some(now);
        self.written = 0;
        true
    }

    pub(crate) fn answer(&mut self, low: bool) {
        self.low = low;
    }

    pub(crate) fn is_low(&self) -> bool {
        self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_asked_once_a_second_and_once_per_64_mib() {
        fn check(writes: &[(u64, u64)], expected: &[bool]) {
            let mut space = FreeSpace::default();
            let due = writes.iter().map(|(at_ms, mib)| {
                space.is_due(mib << 20, Duration::from_millis(1_000_000 + at_ms))
            });
            assert_eq!(due.collect::<Vec<_>>(), expected, "{writes:?}");
        }
        check(&[(0, 1), (999, 1), (1_000, 1), (1_001, 1)], &[true, false, true, false]);
        check(&[(0, 1), (1, 63), (2, 1), (3, 1)], &[true, false, true, false]);
        let mut back = FreeSpace::default();
        assert!(back.is_due(1, Duration::from_secs(100)));
        assert!(back.is_due(1, Duration::from_secs(5)));
    }
}
