//! The right to build a pack.
//!
//! It is a right to work. While all readers of a pack are behind, its builder sleeps, and once it has
//! slept for [`IDLE_MAX`] more than it has worked, it lends its place to others; it goes on as soon
//! as a reader does, and no new pack is begun until there is room again. So slow clients hold up
//! nobody, and a client that has a part of its pack never waits behind those that have none.
//!
//! Never here: who gets it.

use super::claim::Claim;
use super::costs::{QUICK_MAX, Work};
use super::gate::{Gate, Permit};
use super::metrics::Counted;
use super::packs::PackLimits;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// A builder that has waited for its readers for so long more than it has worked is idle. Shorter,
/// and a machine that is busy for a moment would begin more packs.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Whoever holds it may build a pack.
#[derive(Debug)]
pub struct PackPermit {
    limits: PackLimits,
    work: Work,
    _address: Option<Permit>,
    place: Option<Permit>,
    running: Option<Counted>,
    began: Instant,
    /// For how long it has waited for readers.
    waited: Duration,
    /// The same, less the time that it has worked since, at most [`IDLE_MAX`].
    idle: Duration,
    worked_since: Instant,
    /// When it has to leave the reserve.
    leaves_at: Option<Instant>,
    /// Its pack is whole.
    is_done: bool,
}

// === impl PackPermit ===

impl PackPermit {
    pub(super) fn new(
        limits: PackLimits,
        work: Work,
        (address, place): (Option<Permit>, Option<Permit>),
    ) -> Self {
        let began = Instant::now();
        let beside = place.as_ref().and_then(|permit| limits.beside_reserve(permit));
        let mut this = Self {
            limits,
            work,
            _address: address,
            place,
            running: None,
            began,
            waited: Duration::ZERO,
            idle: Duration::ZERO,
            worked_since: began,
            leaves_at: beside.map(|_| began + QUICK_MAX),
            is_done: false,
        };
        this.count();
        this
    }

    /// Waits for readers, with `waiting`, and lends its place to others when that takes long.
    pub async fn wait<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        let began = Instant::now();
        self.idle = self.idle.saturating_sub(began - self.worked_since);
        let mut waiting = pin!(waiting);
        let patience = IDLE_MAX.saturating_sub(self.idle);
        let waited = match timeout(patience, waiting.as_mut()).await {
            Ok(waited) => waited,
            Err(_) => {
                self.pause();
                let waited = waiting.await;
                self.resume();
                waited
            }
        };
        self.worked_since = Instant::now();
        let took = self.worked_since - began;
        self.waited += took;
        self.idle = (self.idle + took).min(IDLE_MAX);
        waited
    }

    /// Returns when its pack turns out not to be quick, if that was thought.
    pub async fn overtime(&self) {
        match self.leaves_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Leaves the reserve if there is room elsewhere; else it will be asked again.
    pub fn leave_reserve(&mut self) {
        let elsewhere = |permit: &Permit| -> Option<(Arc<Gate>, Claim)> {
            Some((self.limits.beside_reserve(permit)?, permit.claim().clone()))
        };
        let Some((gate, claim)) = self.place.as_ref().and_then(elsewhere) else {
            self.leaves_at = None;
            return;
        };
        match gate.try_enter(&claim) {
            Some(permit) => (self.place, self.leaves_at) = (Some(permit), None),
            None => self.leaves_at = Some(Instant::now() + QUICK_MAX),
        }
    }

    /// The pack is whole.
    pub fn done(mut self) {
        self.is_done = true;
    }

    fn pause(&mut self) {
        self.running = None;
        if let Some(permit) = &mut self.place {
            permit.pause();
        }
    }

    fn resume(&mut self) {
        self.count();
        if let Some(permit) = &mut self.place {
            permit.resume();
        }
    }

    fn count(&mut self) {
        let metrics = self.limits.metrics();
        self.running =
            metrics.map(|metrics| Counted::among(std::slice::from_ref(&metrics.in_progress)));
    }
}

impl Drop for PackPermit {
    fn drop(&mut self) {
        let took = self.began.elapsed().saturating_sub(self.waited);
        // What was given up early says nothing.
        if self.is_done || took > QUICK_MAX {
            self.limits.learn(&self.work, took);
        }
    }
}
