//! How long things took, in a few KiB however many there were.
//!
//! Always true: a bucket is at most 1/32 wider than its lower edge, so no quantile is further off;
//! the longest time is exact.
//!
//! Never here: what took the time.

use std::time::Duration;

/// Halvings of a power of two: 32 buckets for each.
const FINE_BITS: u32 = 5;
const FINE: usize = 1 << FINE_BITS;

/// Times from here on share the last bucket: 2^42 ns are 73 minutes.
const NANOSECONDS_BITS_MAX: u32 = 42;

const BUCKETS: usize = ((NANOSECONDS_BITS_MAX - FINE_BITS + 1) as usize) * FINE;

/// Counts of times.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

// === impl Histogram ===

impl Histogram {
    /// Adds one time.
    pub fn add(&mut self, time: Duration) {
        self.counts[bucket(nanoseconds(time))] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    /// Adds everything that `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// How many times were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest time; zero if there is none.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The time that `share` (0 to 1) of all times do not exceed; zero if there is none.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        for (at, count) in self.counts.iter().enumerate() {
            passed += count;
            if passed >= rank {
                return Duration::from_nanos(upper_edge(at)).min(self.longest);
            }
        }
        self.longest
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, longest: Duration::ZERO }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min((1 << NANOSECONDS_BITS_MAX) - 1)
}

/// Numbers below 32 have buckets of their own; above, the five bits behind the first one decide.
fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < FINE as u64 {
        return nanoseconds as usize;
    }
    let shift = u64::BITS - 1 - nanoseconds.leading_zeros() - FINE_BITS;
    (shift as usize + 1) * FINE + ((nanoseconds >> shift) as usize - FINE)
}

/// The greatest number of a bucket.
fn upper_edge(bucket: usize) -> u64 {
    if bucket < FINE {
        return bucket as u64;
    }
    let (shift, fine) = (bucket / FINE - 1, bucket % FINE);
    (((FINE + fine + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_tests::random::Random;

    /// Quantiles of the times against those of the sorted list.
    fn check(nanoseconds: &mut [u64], what: &str) {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        for (at, time) in nanoseconds.iter().enumerate() {
            if at % 3 == 0 { &mut one } else { &mut other }.add(Duration::from_nanos(*time));
        }
        one.merge(&other);
        nanoseconds.sort_unstable();
        assert_eq!(one.count(), nanoseconds.len() as u64, "{what}");
        let last = nanoseconds.last().copied().unwrap_or(0);
        assert_eq!(one.longest(), Duration::from_nanos(last), "{what}");
        for share in [0.0, 0.01, 0.5, 0.9, 0.99, 1.0] {
            let rank = ((share * nanoseconds.len() as f64).ceil() as usize).max(1) - 1;
            let exact = nanoseconds.get(rank).copied().unwrap_or(0);
            let found = one.quantile(share).as_nanos() as u64;
            let within = exact..=exact + exact / 32;
            assert!(within.contains(&found), "{what}, {share}: {found}, exact {exact}");
        }
    }

    #[test]
    fn quantiles_are_near_the_exact_ones() {
        check(&mut [], "nothing");
        check(&mut [0], "zero");
        check(&mut [1, 31, 32, 33, 63, 64, 65], "edges");
        check(&mut [(1 << 42) - 1, 1 << 20], "the last bucket");
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let bits = 1 + random.below(41);
            let count = 1 + random.below(3_000);
            let mut times: Vec<u64> =
                (0..count).map(|_| random.next_u64() % (1 << (1 + random.below(bits)))).collect();
            check(&mut times, &format!("seed {seed}"));
        }
    }

    #[test]
    fn longer_than_the_last_bucket() {
        let mut histogram = Histogram::default();
        let day = Duration::from_secs(24 * 3600);
        histogram.add(day);
        assert_eq!(histogram.longest(), day);
        assert_eq!(histogram.quantile(0.5), Duration::from_nanos((1 << 42) - 1));
    }
}
