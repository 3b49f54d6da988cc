//! What has to be done while nobody asks: claims, removals, ages, hashing.
//!
//! Always true:
//! - one pass is bounded, and the disk is left alone between two pieces of hashing;
//! - nothing here is needed for a fetch to work: a cache without a house only forgets and leaks.
//!
//! Never here: serving.

use crate::{Cache, Disk};
use std::pin::pin;
use std::time::Duration;
use tokio::task::yield_now;

/// How often directories are claimed, failed removals tried again, and ages looked at.
const ROUND: Duration = Duration::from_secs(60);

/// How often queued removals are looked for at the latest.
const TICK: Duration = Duration::from_secs(1);

/// Kept streams that are looked at in one go, with the table locked.
pub(crate) const BATCH: usize = 256;

// === impl Cache ===

impl<D: Disk> Cache<D> {
    /// Claims directories, hashes what earlier runs left, removes what is too old or was given up.
    /// Never returns; one thread of the process has to poll it.
    pub async fn keep_house(&self) {
        tokio::join!(self.sweep(), self.verify());
    }

    async fn sweep(&self) {
        let age_round = self.index.limits.age_max.clamp(TICK, ROUND);
        let (mut since_claim, mut since_ages) = (ROUND, age_round);
        // It survives the turns of the loop: removals that come often must not stop time.
        let mut pause = pin!(self.disk.sleep(TICK));
        loop {
            if since_claim >= ROUND {
                since_claim = Duration::ZERO;
                self.index.retry_removals();
                self.claim_directories().await;
            }
            if since_ages >= age_round {
                since_ages = Duration::ZERO;
                self.evict_old().await;
            }
            self.index.remove_queued(&self.disk).await;
            tokio::select! {
                biased;
                () = &mut pause => {
                    pause.set(self.disk.sleep(TICK));
                    since_claim += TICK;
                    since_ages += TICK;
                }
                () = self.index.litter.notified() => {}
            }
        }
    }

    pub(crate) async fn evict_old(&self) {
        let now = self.disk.now();
        let Some(until) = now.checked_sub(self.index.limits.age_max) else { return };
        let mut start = 0;
        // All of them: clocks jump, and what was adopted comes in any order of age.
        while start < self.index.table().slots() {
            let gone = self.index.table().evict_begun_until(start..start + BATCH, until);
            gone.into_iter().for_each(|gone| self.index.tell_gone(Some(gone), now));
            start += BATCH;
            yield_now().await;
        }
    }
}
