//! Which kept stream goes first: SIEVE (Zhang et al., NSDI 2024).
//!
//! ```text
//!   newest ──► ... ──► oldest        A new value enters at the newest end. The hand walks from
//!              ▲                     the oldest to the newest: it forgives a visited value once
//!             hand                   and takes one that was not visited since it last came by.
//! ```
//!
//! Always true:
//! - a hit moves nothing, it only marks;
//! - the hand makes at most two rounds for one victim.
//!
//! Never here: what the values stand for.

use std::ops::Range;

/// Values in the order of their arrival, with the hand that chooses among them.
#[derive(Debug)]
pub(crate) struct Sieve<T> {
    nodes: Vec<Node<T>>,
    free: Vec<usize>,
    newest: Option<usize>,
    oldest: Option<usize>,
    /// Where the hand looks next; `None`: at the oldest.
    hand: Option<usize>,
    len: usize,
}

/// Where a value sits until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    visited: bool,
    newer: Option<usize>,
    older: Option<usize>,
}

// === impl Sieve ===

impl<T: Copy> Sieve<T> {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), newest: None, oldest: None, hand: None, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds `value` as the newest.
    pub(crate) fn insert(&mut self, value: T) -> Slot {
        let node = Node { value: Some(value), visited: false, newer: None, older: self.newest };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        match self.newest {
            Some(newest) => self.nodes[newest].newer = Some(at),
            None => self.oldest = Some(at),
        }
        self.newest = Some(at);
        self.len += 1;
        Slot(at)
    }

    /// Marks a value as used.
    pub(crate) fn touch(&mut self, slot: Slot) {
        self.nodes[slot.0].visited = true;
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let at = slot.0;
        let (newer, older) = (self.nodes[at].newer, self.nodes[at].older);
        match newer {
            Some(newer) => self.nodes[newer].older = older,
            None => self.newest = older,
        }
        match older {
            Some(older) => self.nodes[older].newer = newer,
            None => self.oldest = newer,
        }
        if self.hand == Some(at) {
            self.hand = newer;
        }
        self.nodes[at].value = None;
        self.free.push(at);
        self.len -= 1;
    }

    /// The value that goes next among those that `may_go`. It stays until it is removed.
    pub(crate) fn victim(&mut self, may_go: impl Fn(T) -> bool) -> Option<T> {
        // One round may only take marks away; the second finds whoever may go.
        for _ in 0..2 * self.len {
            let at = self.hand.or(self.oldest)?;
            let node = &mut self.nodes[at];
            if let Some(value) = node.value
                && !node.visited
                && may_go(value)
            {
                self.hand = Some(at);
                return Some(value);
            }
            node.visited = false;
            self.hand = node.newer;
        }
        None
    }

    /// How many slots there are, free ones included.
    pub(crate) fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// The values in some slots, in no order that means anything. A value stays in its slot, so
    /// whoever goes through all slots in pieces meets each that stays.
    pub(crate) fn in_slots(&self, slots: Range<usize>) -> impl Iterator<Item = T> + '_ {
        let end = slots.end.min(self.nodes.len());
        self.nodes[slots.start.min(end)..end].iter().filter_map(|node| node.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashMap};

    impl<T: Copy> Sieve<T> {
        fn oldest_first(&self) -> impl Iterator<Item = T> + '_ {
            let mut next = self.oldest;
            std::iter::from_fn(move || {
                let node = &self.nodes[next?];
                next = node.newer;
                node.value
            })
        }
    }

    /// SIEVE as the paper words it, over a plain list: index 0 is the oldest.
    #[derive(Default)]
    struct Model {
        values: Vec<(u32, bool)>,
        hand: usize,
    }

    impl Model {
        fn remove(&mut self, value: u32) {
            let at = self.values.iter().position(|(found, _)| *found == value).unwrap();
            self.values.remove(at);
            if at < self.hand {
                self.hand -= 1;
            }
            self.wrap();
        }

        /// Behind the newest is the oldest, whatever arrives later.
        fn wrap(&mut self) {
            if self.hand >= self.values.len() {
                self.hand = 0;
            }
        }

        fn victim(&mut self, pinned: u32) -> Option<u32> {
            for _ in 0..2 * self.values.len() {
                let (value, visited) = self.values[self.hand];
                if !visited && value % 7 != pinned {
                    return Some(value);
                }
                self.values[self.hand].1 = false;
                self.hand += 1;
                self.wrap();
            }
            None
        }
    }

    /// Goal: the linked list does what the paper's does.
    /// Method: seeded operations beside the model, which is compared after each.
    #[test]
    fn agrees_with_the_model() {
        for seed in 1..200_u64 {
            let mut random = seed;
            let mut next = move |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random % below) as u32
            };
            let (mut sieve, mut model) = (Sieve::new(), Model::default());
            let mut slots = HashMap::new();
            for value in 0..400 {
                match next(5) {
                    0 | 1 => {
                        slots.insert(value, sieve.insert(value));
                        model.values.push((value, false));
                    }
                    2 if !model.values.is_empty() => {
                        let at = next(model.values.len() as u64) as usize;
                        sieve.touch(slots[&model.values[at].0]);
                        model.values[at].1 = true;
                    }
                    3 => {
                        let pinned = next(7);
                        let victim = sieve.victim(|value| value % 7 != pinned);
                        assert_eq!(victim, model.victim(pinned), "seed {seed}");
                        if let Some(victim) = victim {
                            sieve.remove(slots.remove(&victim).unwrap());
                            model.remove(victim);
                        }
                    }
                    4 if !model.values.is_empty() => {
                        let value = model.values[next(model.values.len() as u64) as usize].0;
                        sieve.remove(slots.remove(&value).unwrap());
                        model.remove(value);
                    }
                    _ => {}
                }
                let expected: Vec<u32> = model.values.iter().map(|(value, _)| *value).collect();
                assert_eq!(sieve.oldest_first().collect::<Vec<_>>(), expected, "seed {seed}");
                assert_eq!(sieve.len(), expected.len());
                let pieces = (0..sieve.slots()).step_by(7);
                let met: BTreeSet<_> = pieces.flat_map(|at| sieve.in_slots(at..at + 7)).collect();
                assert_eq!(met, expected.into_iter().collect(), "seed {seed}");
            }
        }
    }
}
