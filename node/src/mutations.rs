//! Examples of what parsers read, changed at random: for tests of those that cannot be fuzzed alone.
//!
//! `SEED` repeats a run, `MUTATIONS` says how many inputs each test takes.
//!
//! Never here: what must hold.

use std::time::{SystemTime, UNIX_EPOCH};

/// Inputs of one test where `MUTATIONS` does not say otherwise.
const INPUTS: u64 = 2000;
/// Bytes that parsers count, end or escape with.
const TELLING: &[u8] = b"\0\xff\x7f\x80\n\r\t \"'\\/.%{}[]()=:,;-+0123456789azAZ_";
/// Longer inputs say no more.
const BYTES_MAX: usize = 64 << 10;

/// Gives changed `examples` to `check`.
pub(crate) fn each(examples: &[Vec<u8>], mut check: impl FnMut(&[u8])) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number("SEED").unwrap_or_else(|| u64::from(now.subsec_nanos()));
    println!("SEED={seed}");
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    for _ in 0..number("MUTATIONS").unwrap_or(INPUTS) {
        let mut input = examples[random.below(examples.len())].clone();
        for _ in 0..=random.below(8) {
            let other = &examples[random.below(examples.len())];
            random.change(&mut input, other);
        }
        input.truncate(BYTES_MAX);
        check(&input);
    }
}

/// splitmix64
struct Random(u64);

// === impl Random ===

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).unwrap_or(0)
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(32) + 1)
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        match self.below(6) {
            0 => input.insert(at, TELLING[self.below(TELLING.len())]),
            1 => drop(input.drain(self.range(input.len()))),
            2 => {
                let again = input[self.range(input.len())].to_vec();
                input.splice(at..at, again);
            }
            3 => {
                let taken = other[self.range(other.len())].to_vec();
                input.splice(at..at, taken);
            }
            4 => input.truncate(at),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = TELLING[self.below(TELLING.len())];
                }
            }
        }
    }
}
