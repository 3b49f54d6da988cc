//! A limit that the reactors of a process share.
//!
//! Always true:
//! - the lock is held for one step of the rules, never across an await;
//! - whoever waits is woken on its own reactor once its turn has come, and does nothing meanwhile;
//! - a permit returns when it is dropped, wherever that is.
//!
//! Never here: the rules themselves, metrics.

use super::claim::{Claim, Name, Refusal};
use super::limiter::{Asked, ClientLoad, Limiter, Outcome, Settings, Ticket};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// One limit.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limiter: Limiter,
    waiting: HashMap<Ticket, Waiting>,
}

/// One who waits, as its reactor sees it.
#[derive(Debug)]
enum Waiting {
    /// Nothing has come of it yet; who is to be woken.
    Still(Option<Waker>),
    Settled(Outcome),
}

/// Whoever holds it is in.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    claim: Claim,
    /// Its place is lent to others.
    paused: bool,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Entry {
    In(Permit),
    Queued(Turn),
}

/// Waits to be let in. Dropped, it gives up.
#[derive(Debug)]
pub(super) struct Turn {
    gate: Arc<Gate>,
    ticket: Ticket,
    /// What came of it was taken.
    over: bool,
}

/// How a limit is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// So many may be in under each key; 0: any number.
    pub limit: usize,
    /// So many are, under all keys.
    pub running: usize,
    /// So many wait.
    pub queued: usize,
    /// Who takes most: first those who wait most.
    pub top_clients: Vec<ClientLoad>,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let (limiter, waiting) = (Limiter::new(settings), HashMap::new());
        Arc::new(Self { state: Mutex::new(State { limiter, waiting }) })
    }

    pub(super) fn settings(&self) -> Settings {
        self.lock().limiter.settings()
    }

    /// Other settings from now on; whoever there is room for is let in at once.
    pub(super) fn set(&self, settings: Settings) {
        self.step(|limiter| limiter.set(settings));
    }

    /// Another limit from now on.
    pub(super) fn set_limit(&self, limit: usize) {
        self.step(|limiter| limiter.set(Settings { limit, ..limiter.settings() }));
    }

    /// Asks to be let in under any of `claims`.
    pub(super) fn ask(self: &Arc<Self>, claims: &[Claim]) -> Result<Entry, Refusal> {
        let gate = || Arc::clone(self);
        match self.step(|limiter| limiter.ask(claims, Instant::now())) {
            Asked::Granted(claim) => Ok(Entry::In(Permit { gate: gate(), claim, paused: false })),
            Asked::Queued(ticket) => Ok(Entry::Queued(Turn { gate: gate(), ticket, over: false })),
            Asked::Refused(refusal) => Err(refusal),
        }
    }

    /// Lets in under `claim` if there is room now.
    pub(super) fn try_enter(self: &Arc<Self>, claim: &Claim) -> Option<Permit> {
        let entered = self.step(|limiter| limiter.try_enter(claim, Instant::now()));
        let (gate, claim) = (Arc::clone(self), claim.clone());
        entered.then_some(Permit { gate, claim, paused: false })
    }

    /// Who waits waits under another claim as well.
    pub(super) fn join(&self, ticket: Ticket, claim: &Claim) {
        self.step(|limiter| limiter.join(ticket, claim, Instant::now()));
    }

    /// Who waits gives up a claim.
    pub(super) fn leave(&self, ticket: Ticket, claim: &Claim) {
        self.step(|limiter| limiter.leave(ticket, claim));
    }

    /// How many have their turn before this one; `None` if it waits no more.
    pub(super) fn before(&self, ticket: Ticket) -> Option<usize> {
        self.lock().limiter.before(ticket)
    }

    /// Why one who has waited for too long is sent away.
    pub(super) fn too_late(&self, key: &Name) -> Refusal {
        self.lock().limiter.too_late(key, Instant::now())
    }

    /// How many are in and how many wait under a key.
    pub(super) fn load_of(&self, key: &Name) -> (usize, usize) {
        self.lock().limiter.load(key)
    }

    /// How it is used, with at most `clients_max` clients.
    pub(super) fn load(&self, clients_max: usize) -> Load {
        let state = self.lock();
        let (running, queued) = state.limiter.totals();
        let top_clients = state.limiter.top_clients(clients_max);
        Load { limit: state.limiter.settings().limit, running, queued, top_clients }
    }

    /// One step of the rules; whoever it concerns is woken after the lock was given back.
    fn step<T>(&self, step: impl FnOnce(&mut Limiter) -> T) -> T {
        let mut state = self.lock();
        let done = step(&mut state.limiter);
        let outcomes = state.limiter.take_outcomes();
        let settle =
            |(ticket, outcome)| match state.waiting.insert(ticket, Waiting::Settled(outcome)) {
                Some(Waiting::Still(waker)) => waker,
                Some(Waiting::Settled(_)) | None => None,
            };
        let wakers: Vec<Waker> = outcomes.into_iter().filter_map(settle).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Permit ===

impl Permit {
    /// Under which claim it was let in.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Whether it was let in by this gate.
    pub(super) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.gate, gate)
    }

    /// Lends its place to others until it goes on.
    pub(super) fn pause(&mut self) {
        if !std::mem::replace(&mut self.paused, true) {
            self.gate.step(|limiter| limiter.vacate(&self.claim));
        }
    }

    /// Goes on at once; nobody else is let in until there is room again.
    pub(super) fn resume(&mut self) {
        if std::mem::replace(&mut self.paused, false) {
            self.gate.step(|limiter| limiter.enter(&self.claim, Instant::now()));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.paused {
            self.gate.step(|limiter| limiter.release(&self.claim, Instant::now()));
        }
    }
}

// === impl Turn ===

impl Turn {
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }
}

impl Future for Turn {
    type Output = Result<Permit, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (gate, ticket) = (Arc::clone(&self.gate), self.ticket);
        let mut state = gate.lock();
        if let Some(Waiting::Settled(outcome)) = state.waiting.remove(&ticket) {
            drop(state);
            self.over = true;
            return Poll::Ready(match outcome {
                Outcome::Granted(claim) => Ok(Permit { gate, claim, paused: false }),
                Outcome::Refused(refusal) => Err(refusal),
            });
        }
        state.waiting.insert(ticket, Waiting::Still(Some(context.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.gate.lock();
        let settled = state.waiting.remove(&self.ticket);
        state.limiter.cancel(self.ticket);
        drop(state);
        // Let in, and gone before it noticed.
        if let Some(Waiting::Settled(Outcome::Granted(claim))) = settled {
            drop(Permit { gate: Arc::clone(&self.gate), claim, paused: false });
        }
    }
}

#[cfg(test)]
mod tests;
