//! Which readers hold up others of a stream in memory for too long.
//!
//! Always true:
//! - a reader is named only after `stall_max` in which it held things up and took nothing; time is
//!   counted in ticks slept, so a clock that jumps ends nobody.
//!
//! Never here: sleeping.

use std::collections::BTreeMap;
use std::time::Duration;

/// Ticks of `stall_max`: a stall is noticed at most a quarter late.
const TICKS: u32 = 4;

/// How often to look at readers of streams with this `stall_max`.
pub(crate) fn tick(stall_max: Duration) -> Duration {
    (stall_max / TICKS).max(Duration::from_millis(1))
}

/// Who held up a stream when it was last looked at, with what it had taken and for how many ticks.
#[derive(Debug, Default)]
pub(crate) struct StallWatch {
    seen: BTreeMap<u64, (u64, u32)>,
}

// === impl StallWatch ===

impl StallWatch {
    /// Called once before the first tick and after each, with who holds things up and what each has
    /// taken. Names those who have to go.
    pub(crate) fn look(&mut self, holders: &[(u64, u64)]) -> Vec<u64> {
        let mut now = BTreeMap::new();
        for &(reader, taken) in holders {
            let ticks = match self.seen.get(&reader) {
                Some(&(before, ticks)) if before == taken => ticks + 1,
                Some(_) | None => 0,
            };
            now.insert(reader, (taken, ticks));
        }
        self.seen = now;
        let stalled = self.seen.iter().filter(|(_, (_, ticks))| *ticks >= TICKS);
        stalled.map(|(reader, _)| *reader).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_who_takes_nothing_for_four_ticks() {
        fn check(looks: &[&[(u64, u64)]], expected: &[u64]) {
            let mut watch = StallWatch::default();
            let stalled = looks.iter().map(|holders| watch.look(holders)).last();
            assert_eq!(stalled.unwrap_or_default(), expected, "{looks:?}");
        }
        let stuck: &[(u64, u64)] = &[(1, 5)];
        check(&[stuck; 4], &[]);
        check(&[stuck; 5], &[1]);
        check(&[stuck, stuck, stuck, &[(1, 6)], stuck], &[]);
        check(&[stuck, stuck, &[], stuck, stuck], &[]);
        let two: &[(u64, u64)] = &[(1, 5), (2, 5)];
        check(&[two, two, two, two, two], &[1, 2]);
        check(&[stuck, two, two, two, two], &[1]);
    }
}
