//! How many threads wait for locks of refs.
//!
//! Always true: a process that says so has never more than that many of its threads waiting; a
//! transaction beyond them is refused at once, with how long it might have waited
//! ([`PrepareError::Crowded`](super::PrepareError::Crowded)), and its caller comes again.
//! Never here: locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that wait for locks, of all repositories together.
#[derive(Debug)]
pub struct Waiting {
    now: AtomicUsize,
    threads_max: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waits<'w> {
    waiting: &'w Waiting,
}

// === impl Waiting ===

impl Waiting {
    /// At most so many.
    pub fn at_most(threads_max: usize) -> Arc<Self> {
        Arc::new(Self { now: AtomicUsize::new(0), threads_max })
    }

    /// One more, if there may be.
    pub(super) fn enter(&self) -> Option<Waits<'_>> {
        let more = |now| (now < self.threads_max).then_some(now + 1);
        let entered = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then_some(Waits { waiting: self })
    }

    pub(super) fn is_full(&self) -> bool {
        self.now.load(Ordering::Relaxed) >= self.threads_max
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.waiting.now.fetch_sub(1, Ordering::Relaxed);
    }
}
