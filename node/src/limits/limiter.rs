//! The rules of a limit: who is let in, who waits, who is refused.
//!
//! ```text
//!   ask ──► granted                       at most `limit` in at once under each key
//!       ├─► queued ──(release)──► granted  round robin over clients, FIFO within one
//!       └─► refused                       more than `queue_max` under a key
//! ```
//!
//! The empty key is none: nothing is limited under it. A ticket may wait under several claims, of several keys and clients: it has its turn as soon as
//! any of them has.
//!
//! Always true:
//! - nobody waits under a key that has room;
//! - where a queue is full, whoever has fewer in it than another takes the place of that one's last;
//! - a key is known only while somebody is in or waits.
//!
//! Never here: threads, clocks, wakers: the time is given, and what became of those who wait is
//! fetched with [`Limiter::take_outcomes`].

mod load;

pub use self::load::ClientLoad;

use super::claim::{Claim, Name, Reason, Refusal};
use super::drain::{self, Pace};
use super::turns::Turns;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Those who wait under all keys of one limit.
const TICKETS_MAX: usize = 65_536;

/// What a limit allows under each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// So many are in at once; 0: any number.
    pub(super) limit: usize,
    /// So many wait at once.
    pub(super) queue_max: usize,
    /// For so long; `None`: as long as they like.
    pub(super) wait_max: Option<Duration>,
}

/// One who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Let in, under this claim.
    Granted(Claim),
    Queued(Ticket),
    Refused(Refusal),
}

/// What became of one who waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Let in, under this claim.
    Granted(Claim),
    Refused(Refusal),
}

/// What goes on under one key.
#[derive(Debug)]
struct Lane {
    /// How many are in.
    running: usize,
    /// Of these, by client.
    by_client: HashMap<Name, usize>,
    turns: Turns,
    /// Those who wait, each counted once.
    tickets: usize,
    pace: Pace,
    /// When the last one left, or the first began to wait.
    left_at: Instant,
}

/// One limit, for any number of keys.
#[derive(Debug)]
pub(super) struct Limiter {
    settings: Settings,
    lanes: HashMap<Name, Lane>,
    /// Those who wait, with their claims, each as often as it was made.
    tickets: HashMap<Ticket, Vec<(Claim, usize)>>,
    next_ticket: u64,
    /// Of all lanes.
    pace: Pace,
    outcomes: Vec<(Ticket, Outcome)>,
}

// === impl Limiter ===

impl Limiter {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            lanes: HashMap::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            pace: Pace::default(),
            outcomes: Vec::new(),
        }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// Other settings from now on. Who is in stays in; who waits is let in if there is room now.
    pub(super) fn set(&mut self, settings: Settings) {
        self.settings = settings;
        let waiting = self.lanes.iter().filter(|(_, lane)| !lane.turns.is_empty());
        let mut keys: Vec<Name> = waiting.map(|(key, _)| key.clone()).collect();
        // The same each time, whatever the map's order is.
        keys.sort_unstable();
        for key in keys {
            self.let_in(&key);
        }
    }

    /// One asks to be let in under any of `claims`.
    pub(super) fn ask(&mut self, claims: &[Claim], now: Instant) -> Asked {
        if let Some(claim) = claims.iter().find(|claim| self.has_room(&claim.key)) {
            self.enter(claim, now);
            return Asked::Granted(claim.clone());
        }
        let mut refusal = None;
        for claim in claims {
            match self.make_room(claim, now) {
                Ok(()) => {
                    let ticket = Ticket(self.next_ticket);
                    self.next_ticket += 1;
                    self.tickets.insert(ticket, Vec::new());
                    for claim in claims {
                        self.join(ticket, claim, now);
                    }
                    return Asked::Queued(ticket);
                }
                Err(why) => refusal = Some(why),
            }
        }
        Asked::Refused(refusal.unwrap_or_else(|| self.refusal(Reason::Size, None, now)))
    }

    /// A ticket waits under another claim as well. This is always allowed: it adds nothing to what
    /// there is to do.
    pub(super) fn join(&mut self, ticket: Ticket, claim: &Claim, now: Instant) {
        let has_room = self.has_room(&claim.key);
        let Some(claims) = self.tickets.get_mut(&ticket) else { return };
        if has_room {
            self.forget(ticket);
            self.enter(claim, now);
            self.outcomes.push((ticket, Outcome::Granted(claim.clone())));
            return;
        }
        if let Some((_, times)) = claims.iter_mut().find(|(own, _)| own == claim) {
            *times += 1;
            return;
        }
        let is_new_to_key = claims.iter().all(|(own, _)| own.key != claim.key);
        claims.push((claim.clone(), 1));
        let lane = self.lanes.entry(claim.key.clone()).or_insert_with(|| Lane::new(now));
        if lane.turns.is_empty() {
            lane.left_at = now;
        }
        lane.tickets += usize::from(is_new_to_key);
        lane.turns.push(&claim.client, ticket);
    }

    /// A claim of a ticket is given up, and the ticket with its last one.
    pub(super) fn leave(&mut self, ticket: Ticket, claim: &Claim) {
        let Some(claims) = self.tickets.get_mut(&ticket) else { return };
        let Some(at) = claims.iter().position(|(own, _)| own == claim) else { return };
        claims[at].1 -= 1;
        if claims[at].1 > 0 {
            return;
        }
        claims.swap_remove(at);
        let leaves_key = claims.iter().all(|(own, _)| own.key != claim.key);
        if claims.is_empty() {
            self.tickets.remove(&ticket);
        }
        self.step_out(ticket, claim, leaves_key);
    }

    /// A ticket is given up.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.forget(ticket);
    }

    /// One who was let in under `claim` has ended.
    pub(super) fn release(&mut self, claim: &Claim, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&claim.key) else { return };
        if !lane.turns.is_empty() {
            let interval = now.saturating_duration_since(lane.left_at);
            lane.pace.left(interval);
            self.pace.left(interval);
            lane.left_at = now;
        }
        self.vacate(claim);
    }

    /// One who was let in pauses: others may use its place.
    pub(super) fn vacate(&mut self, claim: &Claim) {
        let Some(lane) = self.lanes.get_mut(&claim.key) else { return };
        lane.exit(&claim.client);
        self.let_in(&claim.key);
    }

    /// One is let in if there is room now; it does not wait.
    pub(super) fn try_enter(&mut self, claim: &Claim, now: Instant) -> bool {
        let has_room = self.has_room(&claim.key);
        if has_room {
            self.enter(claim, now);
        }
        has_room
    }

    /// One is in, whether or not there is room.
    pub(super) fn enter(&mut self, claim: &Claim, now: Instant) {
        let lane = self.lanes.entry(claim.key.clone()).or_insert_with(|| Lane::new(now));
        lane.enter(&claim.client);
    }

    /// Why one who has waited under `key` for too long is sent away.
    pub(super) fn too_late(&self, key: &Name, now: Instant) -> Refusal {
        self.refusal(Reason::Time, Some(key), now)
    }

    /// How many have their turn before this ticket; `None` if it waits no more.
    pub(super) fn before(&self, ticket: Ticket) -> Option<usize> {
        let claims = self.tickets.get(&ticket)?;
        let lanes = claims.iter().filter_map(|(claim, _)| self.lanes.get(&claim.key));
        lanes.map(|lane| lane.turns.before(ticket)).min()
    }

    /// What became of those who waited, since the last time.
    pub(super) fn take_outcomes(&mut self) -> Vec<(Ticket, Outcome)> {
        std::mem::take(&mut self.outcomes)
    }

    fn has_room(&self, key: &Name) -> bool {
        let limit = self.settings.limit;
        limit == 0
            || key.as_str().is_empty()
            || self.lanes.get(key).is_none_or(|lane| lane.running < limit)
    }

    /// Lets in as many as there is room for.
    fn let_in(&mut self, key: &Name) {
        while self.has_room(key) {
            let Some(lane) = self.lanes.get_mut(key) else { return };
            let Some((client, ticket)) = lane.turns.pop() else { break };
            lane.enter(&client);
            let claim = Claim { key: key.clone(), client };
            self.forget(ticket);
            self.outcomes.push((ticket, Outcome::Granted(claim)));
        }
        self.drop_idle(key);
    }

    /// Sees to it that one more may wait under the claim's key.
    fn make_room(&mut self, claim: &Claim, now: Instant) -> Result<(), Refusal> {
        let queued = self.lanes.get(&claim.key).map_or(0, |lane| lane.tickets);
        if queued < self.settings.queue_max && self.tickets.len() < TICKETS_MAX {
            return Ok(());
        }
        let Some((client, ticket)) = self.last_of_greediest(claim) else {
            let is_own_share = self
                .lanes
                .get(&claim.key)
                .is_some_and(|lane| lane.turns.waiting(&claim.client) > 0);
            let refusal = self.refusal(Reason::Size, Some(&claim.key), now);
            return Err(Refusal { is_own_share, ..refusal });
        };
        let refusal = self.refusal(Reason::Size, Some(&claim.key), now);
        let evicted = Claim { key: claim.key.clone(), client };
        self.leave(ticket, &evicted);
        let refusal = Refusal { is_own_share: true, ..refusal };
        self.outcomes.push((ticket, Outcome::Refused(refusal)));
        Ok(())
    }

    /// Of the client that most wait for, the last that waits for nobody else; if that client has
    /// more than the one who asks would have.
    fn last_of_greediest(&self, claim: &Claim) -> Option<(Name, Ticket)> {
        let turns = &self.lanes.get(&claim.key)?.turns;
        let (client, line) = turns.longest()?;
        if line.len() <= turns.waiting(&claim.client) + 1 {
            return None;
        }
        let is_alone = |ticket: &&Ticket| {
            matches!(self.tickets.get(ticket).map(Vec::as_slice), Some([(_, 1)]))
        };
        let last = line.iter().rev().find(is_alone)?;
        Some((client.clone(), *last))
    }

    fn refusal(&self, reason: Reason, key: Option<&Name>, now: Instant) -> Refusal {
        let lane = key.and_then(|key| self.lanes.get(key));
        let retry_after = match lane {
            Some(lane) => drain::wait(lane.tickets, lane.pace, self.pace, (lane.left_at, now)),
            None => drain::wait(1, self.pace, self.pace, (now, now)),
        };
        Refusal { reason, retry_after, is_own_share: false }
    }

    /// A ticket waits nowhere any more.
    fn forget(&mut self, ticket: Ticket) {
        let mut claims = self.tickets.remove(&ticket).unwrap_or_default();
        while let Some((claim, _)) = claims.pop() {
            let leaves_key = claims.iter().all(|(own, _)| own.key != claim.key);
            self.step_out(ticket, &claim, leaves_key);
        }
    }

    fn step_out(&mut self, ticket: Ticket, claim: &Claim, leaves_key: bool) {
        if let Some(lane) = self.lanes.get_mut(&claim.key) {
            lane.turns.remove(&claim.client, ticket);
            lane.tickets -= usize::from(leaves_key);
        }
        self.drop_idle(&claim.key);
    }

    fn drop_idle(&mut self, key: &Name) {
        let is_idle = |lane: &Lane| lane.running == 0 && lane.turns.is_empty();
        if self.lanes.get(key).is_some_and(is_idle) {
            self.lanes.remove(key);
        }
    }
}

// === impl Lane ===

impl Lane {
    fn new(now: Instant) -> Self {
        Self {
            running: 0,
            by_client: HashMap::new(),
            turns: Turns::default(),
            tickets: 0,
            pace: Pace::default(),
            left_at: now,
        }
    }

    fn enter(&mut self, client: &Name) {
        self.running += 1;
        *self.by_client.entry(client.clone()).or_default() += 1;
    }

    fn exit(&mut self, client: &Name) {
        let Some(running) = self.by_client.get_mut(client) else { return };
        *running -= 1;
        if *running == 0 {
            self.by_client.remove(client);
        }
        self.running -= 1;
    }
}

#[cfg(test)]
mod tests;
