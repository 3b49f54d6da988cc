//! Seeded randomness.
//!
//! Always true: the same seed gives the same numbers on every machine.
//! Never here: a source of entropy.

/// splitmix64: one word of state, every seed is a good one.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

// === impl Rng ===

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Less than `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From `first` to `last`, both included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// Small numbers are as likely as large ones: the logarithm is uniform.
    pub(crate) fn skewed(&mut self, last: u64) -> u64 {
        let bits = u64::from(u64::BITS - last.leading_zeros());
        let magnitude = self.below(bits + 1);
        self.below(1 << magnitude).min(last)
    }

    pub(crate) fn per_mille(&mut self, chance: u32) -> bool {
        self.below(1000) < u64::from(chance)
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Another sequence that depends on this one only by its seed.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
