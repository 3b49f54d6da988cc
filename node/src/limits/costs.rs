//! What packs have cost to build lately, and so which of them are quick.
//!
//! Always true: at most [`KINDS_MAX`] kinds of packs are remembered.
//! Never here: what is done with quick packs.

use super::claim::Name;
use std::collections::HashMap;
use std::time::Duration;

/// A pack that was lately built in this time is quick: others hardly notice it.
const LATELY_MAX: Duration = Duration::from_millis(100);
/// One that takes longer than this is not, whatever was thought: on a busy machine all take longer.
pub(super) const QUICK_MAX: Duration = Duration::from_millis(500);
/// Beyond it all are forgotten; they are learned anew with the next packs.
const KINDS_MAX: usize = 8_192;
/// A pack that took longer than expected counts for one in so many: on a loaded machine everything
/// takes longer.
const PART_OF_SLOWER: u32 = 64;

/// What is to be built.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Work {
    /// Whose objects.
    pub store: Name,
    /// Only what is new for a client that has much already.
    pub is_incremental: bool,
}

/// Time that builders took, by kind of work.
#[derive(Debug, Default)]
pub(super) struct Costs {
    kinds: HashMap<Work, Duration>,
}

// === impl Costs ===

impl Costs {
    /// Whether a pack is probably quick. Of what was never built, increments are.
    pub(super) fn is_quick(&self, work: &Work) -> bool {
        self.kinds.get(work).map_or(work.is_incremental, |cost| *cost <= LATELY_MAX)
    }

    /// A pack was built, or given up after more than it was expected to take.
    pub(super) fn learn(&mut self, work: &Work, took: Duration) {
        if let Some(cost) = self.kinds.get_mut(work) {
            *cost = took.min(*cost + took.saturating_sub(*cost) / PART_OF_SLOWER);
            return;
        }
        if self.kinds.len() >= KINDS_MAX {
            self.kinds.clear();
        }
        self.kinds.insert(work.clone(), took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_quick_as_it_was_lately() {
        fn check(is_incremental: bool, took_ms: &[u64], expected: bool) {
            let work = Work { store: Name::new("a"), is_incremental };
            let mut costs = Costs::default();
            took_ms.iter().for_each(|took| costs.learn(&work, Duration::from_millis(*took)));
            assert_eq!(costs.is_quick(&work), expected, "{is_incremental}, {took_ms:?}");
            let other = Work { is_incremental: !is_incremental, ..work };
            assert_eq!(costs.is_quick(&other), !is_incremental, "what is unknown");
        }
        check(true, &[], true);
        check(false, &[], false);
        check(true, &[5_000], false);
        check(false, &[20], true);
        // Once slow, on a busy machine, is not always slow.
        check(false, &[20, 3_000], true);
        check(false, &[20, 3_000, 3_000], false);
        check(false, &[20, 3_000, 3_000, 30], true);
    }

    #[test]
    fn kinds_are_bounded() {
        let mut costs = Costs::default();
        for at in 0..20_000 {
            let work = Work { store: Name::new(&at.to_string()), is_incremental: false };
            costs.learn(&work, Duration::ZERO);
            assert!(costs.is_quick(&work) && costs.kinds.len() <= KINDS_MAX);
        }
    }
}
