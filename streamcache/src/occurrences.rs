//! How often a key was asked for lately.
//!
//! Always true:
//! - a count covers between one and two periods: two generations, of which the older is dropped;
//! - at most [`KEYS_MAX`] keys a generation are remembered; more of them make periods shorter.
//!
//! Never here: reading the clock.

use crate::Key;
use std::collections::HashMap;
use std::time::Duration;

/// Keys of one generation: 65,536 of some 48 bytes are 3 MiB.
const KEYS_MAX: usize = 65_536;

/// Counts of keys.
#[derive(Debug)]
pub(crate) struct Occurrences {
    period: Duration,
    begun: Duration,
    current: HashMap<Key, u32>,
    previous: HashMap<Key, u32>,
}

// === impl Occurrences ===

impl Occurrences {
    pub(crate) fn new(period: Duration) -> Self {
        let (current, previous) = (HashMap::new(), HashMap::new());
        Self { period, begun: Duration::ZERO, current, previous }
    }

    /// Counts `key`, and says how often it was counted, this time included.
    pub(crate) fn count(&mut self, key: Key, now: Duration) -> u32 {
        let full = self.current.len() >= KEYS_MAX && !self.current.contains_key(&key);
        // A clock that was set back begins a new period rather than an endless one.
        let over = now < self.begun || now - self.begun > self.period;
        if full || over {
            let skipped = now.saturating_sub(self.begun) > self.period * 2;
            self.previous = std::mem::take(&mut self.current);
            if skipped && !full {
                self.previous.clear();
            }
            self.begun = now;
        }
        let count = self.current.entry(key).or_default();
        *count = count.saturating_add(1);
        count.saturating_add(self.previous.get(&key).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_live_for_one_to_two_periods() {
        fn check(times: &[u64], expected: &[u32]) {
            let mut occurrences = Occurrences::new(Duration::from_secs(10));
            let key = Key::new([1; 32]);
            let counts: Vec<u32> = times
                .iter()
                .map(|at| occurrences.count(key, Duration::from_secs(1_000 + at)))
                .collect();
            assert_eq!(counts, expected, "{times:?}");
        }
        check(&[0, 1, 2], &[1, 2, 3]);
        check(&[0, 10], &[1, 2]);
        check(&[0, 11], &[1, 2]);
        check(&[0, 11, 22], &[1, 2, 2]);
        check(&[0, 11, 33], &[1, 2, 1]);
        check(&[0, 500], &[1, 1]);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_rotation() {
        let mut occurrences = Occurrences::new(Duration::from_secs(10));
        let key = Key::new([1; 32]);
        let counts = [1_000, 5, 16, 27].map(|at| occurrences.count(key, Duration::from_secs(at)));
        assert_eq!(counts, [1, 2, 2, 2]);
    }

    #[test]
    fn a_flood_of_keys_is_forgotten() {
        let mut occurrences = Occurrences::new(Duration::from_secs(10));
        for number in 0..(2 * KEYS_MAX as u64 + 9) {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            occurrences.count(Key::new(digest), Duration::from_secs(1));
        }
        assert!(occurrences.current.len() <= KEYS_MAX);
        assert!(occurrences.previous.len() <= KEYS_MAX);
    }
}
