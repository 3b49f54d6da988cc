//! Coming again for locks of refs that too many threads wait for already.
//!
//! Always true: no thread is taken while nobody tries; whoever comes again gives up no earlier than
//! the configuration would have it wait.
//! Never here: locks.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Attempts of one caller.
#[derive(Debug)]
pub struct Patience {
    began: Instant,
    pause: Duration,
}

// === impl Patience ===

impl Patience {
    /// Before the first attempt.
    pub fn begin() -> Self {
        Self { began: Instant::now(), pause: PAUSE_MIN }
    }

    /// Waits before another attempt; `false` where `most` has passed.
    pub async fn pause(&mut self, most: Duration) -> bool {
        let left = most.saturating_sub(self.began.elapsed());
        if left.is_zero() {
            return false;
        }
        sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}
