//! Who holds how many bytes of the disk.
//!
//! Always true:
//! - the sum over all charges is at most `bytes_max`: bytes are charged before they are written;
//! - a charge is given back when its last holder drops it: the stream and the removal of its file
//!   hold one together, so bytes count until the file has neither a name nor a reader.
//!
//! Never here: deciding who has to go.

use crate::locked::Locked;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of one cache.
#[derive(Debug)]
pub(crate) struct Ledger {
    bytes_max: u64,
    total: AtomicU64,
    in_flight: AtomicU64,
    kept: AtomicU64,
    detached: AtomicU64,
}

/// What bytes on disk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Being written.
    InFlight,
    /// Kept for others to find.
    Kept,
    /// Without a name, or soon to be: gone with their last reader.
    Detached,
}

/// The bytes of one stream.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    entry: Locked<(Class, u64)>,
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let [total, in_flight, kept, detached] = [0; 4].map(AtomicU64::new);
        Self { bytes_max, total, in_flight, kept, detached }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn of(&self, class: Class) -> u64 {
        self.counter(class).load(Ordering::Relaxed)
    }

    fn counter(&self, class: Class) -> &AtomicU64 {
        match class {
            Class::InFlight => &self.in_flight,
            Class::Kept => &self.kept,
            Class::Detached => &self.detached,
        }
    }
}

// === impl Charge ===

impl Charge {
    pub(crate) fn new(ledger: &Arc<Ledger>, class: Class) -> Self {
        Self { ledger: ledger.clone(), entry: Locked::new((class, 0)) }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entry.lock().1
    }

    /// Charges `bytes` more, if they fit.
    #[must_use]
    pub(crate) fn try_grow(&self, bytes: u64) -> bool {
        let fits =
            |total: u64| total.checked_add(bytes).filter(|sum| *sum <= self.ledger.bytes_max);
        let total = &self.ledger.total;
        if total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return false;
        }
        let mut entry = self.entry.lock();
        entry.1 += bytes;
        self.ledger.counter(entry.0).fetch_add(bytes, Ordering::Relaxed);
        true
    }

    /// Says what the bytes are from now on.
    pub(crate) fn reclass(&self, class: Class) {
        let mut entry = self.entry.lock();
        self.ledger.counter(entry.0).fetch_sub(entry.1, Ordering::Relaxed);
        self.ledger.counter(class).fetch_add(entry.1, Ordering::Relaxed);
        entry.0 = class;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let (class, bytes) = *self.entry.lock();
        self.ledger.counter(class).fetch_sub(bytes, Ordering::Relaxed);
        self.ledger.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_holder_goes() {
        let ledger = Arc::new(Ledger::new(100));
        let (first, second) =
            (Charge::new(&ledger, Class::InFlight), Charge::new(&ledger, Class::Kept));
        assert!(first.try_grow(60) && second.try_grow(40));
        assert!(!first.try_grow(1) && !second.try_grow(u64::MAX));
        let holder = Arc::new(first);
        let other = holder.clone();
        drop(holder);
        other.reclass(Class::Detached);
        let of = |class| ledger.of(class);
        assert_eq!((of(Class::InFlight), of(Class::Kept), of(Class::Detached)), (0, 40, 60));
        drop(other);
        assert_eq!((ledger.total(), of(Class::Detached)), (40, 0));
    }
}
