//! The last while, in slots that are emptied one by one as time goes on.
//!
//! Always true: what is older than all slots together is not counted.

use super::sketch::{Named, Sketch, Spent, Sums};
use std::time::{Duration, Instant};

/// The last while.
#[derive(Debug)]
pub(super) struct Window {
    slot: Duration,
    /// The present slot, and as many full ones as the window is long.
    slots: Vec<Sketch>,
    /// When the present slot began.
    began: Instant,
    present: usize,
}

// === impl Window ===

impl Window {
    /// Of `count` full slots and the present one.
    pub(super) fn new(now: Instant, slot: Duration, count: usize) -> Self {
        let slots = (0..=count).map(|_| Sketch::default()).collect();
        Self { slot, slots, began: now, present: 0 }
    }

    pub(super) fn add(&mut self, now: Instant, named: Named<'_>, spent: Spent) {
        self.go_on(now);
        self.slots[self.present].add(named, spent);
    }

    pub(super) fn sum_into(&mut self, now: Instant, sums: &mut Sums) {
        self.go_on(now);
        for slot in &self.slots {
            slot.sum_into(sums);
        }
    }

    fn go_on(&mut self, now: Instant) {
        let mut emptied = 0;
        while now.saturating_duration_since(self.began) >= self.slot {
            if emptied == self.slots.len() {
                // Nothing happened for longer than the window.
                self.began = now;
                return;
            }
            self.began += self.slot;
            self.present = (self.present + 1) % self.slots.len();
            self.slots[self.present].clear();
            emptied += 1;
        }
    }
}
