//! Token buckets: how often something may be asked for under each key.
//!
//! Always true:
//! - a key has at most `burst` tokens, and gets one back each `interval`, as in Gitaly;
//! - at most [`KEYS_MAX`] keys are known; one whose bucket is full needs not be.
//!
//! Never here: clocks; the time is given.

use super::claim::Name;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Beyond it all begin anew with a full bucket.
const KEYS_MAX: usize = 65_536;
/// The first time that full buckets are looked for; later at twice as many as were left.
const SWEEP_FIRST: usize = 64;

/// How fast tokens come, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// From one token to the next.
    pub interval: Duration,
    /// Tokens of a full bucket.
    pub burst: u32,
}

/// One bucket for each key.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Rate,
    /// When the bucket of a key will be full again: what lacks is the time until then.
    full_at: HashMap<Name, Instant>,
    sweep_at: usize,
}

// === impl Buckets ===

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new(), sweep_at: SWEEP_FIRST }
    }

    /// Another rate from now on.
    pub(super) fn set(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Takes a token; the error is after which time there will be one.
    pub(super) fn take(&mut self, key: &Name, now: Instant) -> Result<(), Duration> {
        let Rate { interval, burst } = self.rate;
        let lacking = |full_at: &Instant| full_at.saturating_duration_since(now);
        let missing = self.full_at.get(key).map_or(Duration::ZERO, lacking);
        let missing_max = interval.saturating_mul(burst.saturating_sub(1));
        if missing > missing_max {
            return Err(missing - missing_max);
        }
        self.sweep(now);
        // A time that cannot be told is one without end: then the bucket stays as it is.
        if let Some(full_at) = now.checked_add(missing.saturating_add(interval)) {
            self.full_at.insert(key.clone(), full_at);
        }
        Ok(())
    }

    /// Forgets full buckets, now and then.
    fn sweep(&mut self, now: Instant) {
        if self.full_at.len() < self.sweep_at {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= KEYS_MAX {
            self.full_at.clear();
        }
        self.sweep_at = (self.full_at.len() * 2).clamp(SWEEP_FIRST, KEYS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that are counted one by one, each a nanosecond at a time.
    struct Naive {
        nanos: u128,
        at: Instant,
    }

    impl Naive {
        fn take(&mut self, rate: Rate, now: Instant) -> bool {
            let interval = rate.interval.as_nanos();
            self.nanos += now.duration_since(self.at).as_nanos();
            self.nanos = self.nanos.min(interval * u128::from(rate.burst));
            self.at = now;
            let taken = self.nanos >= interval;
            self.nanos -= if taken { interval } else { 0 };
            taken
        }
    }

    #[test]
    fn buckets_fill_as_tokens_that_are_counted() {
        for seed in 1..100_u64 {
            let mut random = seed;
            let mut draw = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % below
            };
            let interval = Duration::from_millis(1 + draw(50));
            let rate = Rate { interval, burst: 1 + u32::try_from(draw(5)).unwrap() };
            let mut buckets = Buckets::new(rate);
            let mut now = Instant::now();
            let full = interval.as_nanos() * u128::from(rate.burst);
            let mut naive = [0; 3].map(|_| Naive { nanos: full, at: now });
            for step in 0..200 {
                now += Duration::from_micros(draw(40_000));
                let at = usize::try_from(draw(3)).unwrap();
                let key = Name::new(&at.to_string());
                let taken = buckets.take(&key, now);
                let expected = naive[at].take(rate, now);
                assert_eq!(taken.is_ok(), expected, "seed {seed}, step {step}");
                if let Err(wait) = taken {
                    let early = wait.saturating_sub(Duration::from_nanos(1));
                    assert!(buckets.take(&key, now + early).is_err(), "seed {seed}, step {step}");
                    now += wait;
                    assert!(naive[at].take(rate, now), "seed {seed}, step {step}: {wait:?}");
                    assert_eq!(buckets.take(&key, now), Ok(()), "seed {seed}, step {step}");
                }
            }
        }
    }

    #[test]
    fn keys_are_forgotten_once_they_are_full_and_bounded_before() {
        let rate = Rate { interval: Duration::from_secs(1), burst: 1 };
        let mut buckets = Buckets::new(rate);
        let start = Instant::now();
        let mut most = 0;
        for at in 0..100_000_u32 {
            let key = Name::new(&at.to_string());
            buckets.take(&key, start + Duration::from_millis(u64::from(at))).unwrap();
            most = most.max(buckets.full_at.len());
        }
        assert!(most <= 2_001, "a key is needed for a second: {most}");
        for at in 0..200_000 {
            buckets.take(&Name::new(&format!("at once {at}")), start).unwrap();
            assert!(buckets.full_at.len() <= KEYS_MAX);
        }
    }
}
