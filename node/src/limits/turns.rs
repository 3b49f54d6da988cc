//! In which order those who wait have their turn: round robin over clients, first come first
//! served within one.
//!
//! Always true:
//! - a client is in the ring exactly if somebody waits for it;
//! - whoever comes has at most one turn of each other client before its own first.
//!
//! Never here: how many may be in at once, and time.

use super::claim::Name;
use super::limiter::Ticket;
use std::collections::{HashMap, HashSet, VecDeque};

/// Those who wait under one key. A ticket may wait for several clients.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Whose turn is next, at the front.
    ring: VecDeque<Name>,
    lines: HashMap<Name, VecDeque<Ticket>>,
}

// === impl Turns ===

impl Turns {
    /// Behind everybody else of this client.
    pub(super) fn push(&mut self, client: &Name, ticket: Ticket) {
        if let Some(line) = self.lines.get_mut(client) {
            line.push_back(ticket);
            return;
        }
        self.ring.push_back(client.clone());
        self.lines.insert(client.clone(), VecDeque::from([ticket]));
    }

    /// Whose turn it is. It leaves the line of that client, and stays in those of others.
    pub(super) fn pop(&mut self) -> Option<(Name, Ticket)> {
        let client = self.ring.pop_front()?;
        let line = self.lines.get_mut(&client)?;
        let ticket = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&client);
        } else {
            self.ring.push_back(client.clone());
        }
        Some((client, ticket))
    }

    /// Takes a ticket out of the line of a client.
    pub(super) fn remove(&mut self, client: &Name, ticket: Ticket) {
        let Some(line) = self.lines.get_mut(client) else { return };
        line.retain(|waiting| *waiting != ticket);
        if line.is_empty() {
            self.lines.remove(client);
            self.ring.retain(|waiting| waiting != client);
        }
    }

    /// How many others have their turn before this one, if nobody else comes.
    pub(super) fn before(&self, ticket: Ticket) -> usize {
        // Turns come round after round; within one in the order of the ring.
        let turns = || {
            self.ring.iter().enumerate().flat_map(|(seat, client)| {
                let line = self.lines.get(client).into_iter().flatten();
                line.enumerate().map(move |(round, ticket)| ((round, seat), *ticket))
            })
        };
        let own = turns().filter(|(_, other)| *other == ticket).map(|(turn, _)| turn).min();
        let Some(own) = own else { return 0 };
        let earlier = turns().filter(|(turn, _)| *turn < own).map(|(_, other)| other);
        earlier.collect::<HashSet<_>>().len()
    }

    /// The client that most wait for, and how many do; ties go to whose turn is furthest away.
    pub(super) fn longest(&self) -> Option<(&Name, &VecDeque<Ticket>)> {
        let client = self.ring.iter().max_by_key(|client| self.waiting(client))?;
        self.lines.get(client).map(|line| (client, line))
    }

    /// How many wait for a client.
    pub(super) fn waiting(&self, client: &Name) -> usize {
        self.lines.get(client).map_or(0, VecDeque::len)
    }

    /// Clients that somebody waits for, in the order of their next turns.
    pub(super) fn clients(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.ring.iter().map(|client| (client, self.waiting(client)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}
