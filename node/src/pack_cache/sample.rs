//! The log's sample: every event of some keys, from which other budgets and ages can be replayed.
//!
//! Always true: a key is in the sample or not by its bytes alone, in every process and for ever; so
//! a sampled key's history has no gaps, and one in `n` keys stands for `n`.
//! Never here: metrics; what is told of every key.

use super::Role;
use super::metrics::{cause, reason};
use gitring_streamcache::{Event, Key, Lookup};
use std::time::Duration;

/// Which keys are told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// 0: none.
    one_key_in: u64,
}

/// What a line says besides.
#[derive(Debug, Default)]
struct Line {
    bytes: Option<u64>,
    /// Since the pack was begun.
    age: Option<Duration>,
    kept: Option<bool>,
    /// Why a pack is not kept, or was evicted.
    cause: Option<&'static str>,
    role: Option<&'static str>,
}

// === impl Sample ===

impl Sample {
    pub(super) fn new(one_key_in: u32) -> Self {
        Self { one_key_in: u64::from(one_key_in) }
    }

    pub(super) fn observe(&self, event: &Event) {
        let nothing = Line::default();
        match event {
            // What nobody else can ask for says nothing about a cache.
            Event::Looked { key: None, .. } => {}
            Event::Looked { key: Some(key), lookup, bytes, age } => {
                let age = (*lookup != Lookup::Lead).then_some(*age);
                self.tell(key, Role::from(*lookup).name(), &Line { bytes: *bytes, age, ..nothing });
            }
            Event::Finished { key, bytes, kept } => {
                let (bytes, kept) = (Some(*bytes), Some(*kept));
                self.tell(key, "finished", &Line { bytes, kept, ..nothing });
            }
            Event::Broken { key, bytes } => {
                self.tell(key, "broken", &Line { bytes: Some(*bytes), ..nothing });
            }
            Event::Unstored { key, reason: why, .. } => {
                self.tell(key, "unstored", &Line { cause: Some(reason(*why)), ..nothing });
            }
            Event::Evicted { key, bytes, cause: why, age } => {
                let (bytes, age, cause) = (Some(*bytes), Some(*age), Some(cause(*why)));
                self.tell(key, "evicted", &Line { bytes, age, cause, ..nothing });
            }
            Event::Adopted { key, bytes } => {
                self.tell(key, "adopted", &Line { bytes: Some(*bytes), ..nothing });
            }
        }
    }

    /// Somebody has read so much of a pack.
    pub(super) fn served(&self, key: &Key, bytes: u64, role: Role) {
        let (bytes, role) = (Some(bytes), Some(role.name()));
        self.tell(key, "served", &Line { bytes, role, ..Line::default() });
    }

    fn tell(&self, key: &Key, event: &'static str, line: &Line) {
        if !self.has(key) {
            return;
        }
        let Line { bytes, age, kept, cause, role } = line;
        let age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        tracing::info!(cache_key = %key, event, bytes, age_ms, kept, cause, role, "pack cache sample");
    }

    fn has(&self, key: &Key) -> bool {
        let [first, second, third, fourth, ..] = *key.as_bytes();
        let number = u64::from(u32::from_be_bytes([first, second, third, fourth]));
        self.one_key_in > 0 && number.is_multiple_of(self.one_key_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sampled_by_its_first_bytes() {
        fn check(one_key_in: u32, first: u32, expected: bool) {
            let mut digest = [0xff; 32];
            digest[..4].copy_from_slice(&first.to_be_bytes());
            assert_eq!(Sample::new(one_key_in).has(&Key::new(digest)), expected);
        }
        check(0, 0, false);
        check(1, 0x1234_5671, true);
        check(16, 0x1234_5670, true);
        check(16, 0x1234_5671, false);
        check(10, 30, true);
        check(10, 31, false);
    }
}
