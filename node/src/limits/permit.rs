//! The right to build a pack.
//!
//! It is a right to work. While all readers of a pack are behind, its builder sleeps, and a builder
//! that sleeps for [`IDLE_MAX`] lends its place to others; it goes on as soon as a reader does, and
//! no new pack is begun until there is room again. So slow clients hold up nobody, and a client that
//! has a part of its pack never waits behind those that have none.
//!
//! Never here: who gets it.

use super::claim::Claim;
use super::costs::{QUICK_MAX, Work};
use super::gate::{Gate, Permit};
use super::metrics::Counted;
use super::packs::PackLimits;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A builder that could not go on for so long is idle.
pub const IDLE_MAX: Duration = Duration::from_millis(100);

/// Whoever holds it may build a pack.
#[derive(Debug)]
pub struct PackPermit {
    limits: PackLimits,
    work: Work,
    _address: Option<Permit>,
    place: Option<Permit>,
    running: Option<Counted>,
    began: Instant,
    /// Until when it was idle, and since when it is.
    idle: (Duration, Option<Instant>),
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
            idle: (Duration::ZERO, None),
            leaves_at: beside.map(|_| began + QUICK_MAX),
            is_done: false,
        };
        this.count();
        this
    }

    /// Lends its place to others, for as long as nothing can be done with it.
    pub fn pause(&mut self) {
        self.idle.1 = Some(Instant::now());
        self.running = None;
        if let Some(permit) = &mut self.place {
            permit.pause();
        }
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.idle = (self.idle(), None);
        self.count();
        if let Some(permit) = &mut self.place {
            permit.resume();
        }
    }

    /// Returns when its pack turns out not to be quick, if that was thought.
    pub async fn overtime(&self) {
        match self.leaves_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
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

    fn count(&mut self) {
        let metrics = self.limits.metrics();
        self.running =
            metrics.map(|metrics| Counted::among(std::slice::from_ref(&metrics.in_progress)));
    }

    fn idle(&self) -> Duration {
        self.idle.0 + self.idle.1.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Drop for PackPermit {
    fn drop(&mut self) {
        let took = self.began.elapsed().saturating_sub(self.idle());
        // What was given up early says nothing.
        if self.is_done || took > QUICK_MAX {
            self.limits.learn(&self.work, took);
        }
    }
}
