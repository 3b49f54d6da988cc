//! All who wait for one pack to be begun: they wait with one ticket.
//!
//! Always true:
//! - a pack has the best place that any of those who wait for it would have;
//! - whoever leaves takes only the own place along, and the last one none: somebody may read
//!   already who joins in a moment. If not, nobody builds the pack, and its turn goes with that;
//! - locks are taken in this order: the crowd's, then a gate's.
//!
//! Never here: who may build (`packs`), what is built.

use super::claim::Claim;
use super::gate::Gate;
use super::limiter::Ticket;
use super::requester::Requester;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those who wait for one pack.
#[derive(Debug, Default)]
pub struct Crowd {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// In the order in which they came.
    members: BTreeMap<u64, Requester>,
    /// The last one of them, who has left and whose place is kept.
    kept: Option<u64>,
    next: u64,
    pub(super) stage: Stage,
}

/// What they wait for.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Somebody who asks for them.
    #[default]
    Open,
    /// Their turn.
    Queued { gate: Arc<Gate>, ticket: Ticket, by: By },
    /// Nothing any more.
    Begun,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The packs of one address.
    Address,
    /// All packs of the node.
    Node,
}

/// One of a crowd, until it is dropped.
#[derive(Debug)]
pub struct Member {
    crowd: Arc<Crowd>,
    number: u64,
}

/// Where a crowd stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Packs that are begun before theirs, as things stand.
    pub before: usize,
    /// How many they are.
    pub members: usize,
}

// === impl Crowd ===

impl Crowd {
    /// One more waits.
    pub fn join(self: &Arc<Self>, requester: Requester) -> Member {
        let mut state = self.lock();
        if let Stage::Queued { gate, ticket, by } = &state.stage {
            gate.join(*ticket, &requester.claim(*by));
        }
        if let Some(number) = state.kept.take() {
            state.remove(number);
        }
        let number = state.next;
        state.next += 1;
        state.members.insert(number, requester);
        Member { crowd: Arc::clone(self), number }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    pub(super) fn claims(&self, by: By) -> Vec<Claim> {
        self.members.values().map(|requester| requester.claim(by)).collect()
    }

    fn remove(&mut self, number: u64) {
        let Some(requester) = self.members.remove(&number) else { return };
        if let Stage::Queued { gate, ticket, by } = &self.stage {
            gate.leave(*ticket, &requester.claim(*by));
        }
    }

    /// Who came first of those who are left.
    pub(super) fn first(&self) -> Option<&Requester> {
        self.members.values().next()
    }
}

// === impl Member ===

impl Member {
    /// Where it stands; `None` once its pack was begun.
    pub fn place(&self) -> Option<Place> {
        let state = self.crowd.lock();
        let Stage::Queued { gate, ticket, by } = &state.stage else { return None };
        let members = state.members.len();
        let before = gate.before(*ticket)?;
        // Behind the line of an address there is that of the node.
        let further = match by {
            By::Address => 1,
            By::Node => 0,
        };
        Some(Place { before: before + further, members })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.crowd.lock();
        match state.members.len() {
            1 => state.kept = Some(self.number),
            _ => state.remove(self.number),
        }
    }
}
