//! What children may take together, and who is next: a machine without clocks or threads.
//!
//! ```text
//!   ask ──► granted ──► give_back ─┐
//!     └──► a lane: waits ◄─────────┘ next
//! ```
//!
//! Always true:
//! - children that run, and what they are expected to take, stay within the budget; a child that
//!   is expected to take more than three quarters of its share is counted as these;
//! - neither share can take the other's last places: packs never starve questions, nor the other
//!   way round;
//! - a call that has a child and asks for another finds a place that no first child may take, so
//!   calls that need two cannot lock each other out;
//! - each lane is served in order, but that small seats overtake a front for which there is not
//!   enough memory; it holds at most `LANE_CALLERS_MAX`;
//! - no front starves: those who overtook hold at most the quarter of a share that no seat can
//!   claim, so it fits once those have ended who were served before it came, whoever passed it;
//!   and what becomes free is offered to it first.

use std::collections::VecDeque;

/// Callers that wait in one lane.
pub(super) const LANE_CALLERS_MAX: usize = 1024;
/// Of the children, the part that the other share leaves alone.
const RESERVED_PART: usize = 4;
/// Of the children, the part that further children of calls find free.
const FURTHER_PART: usize = 16;
/// Of the memory, the part that is for questions.
const QUESTIONS_PART: u64 = 8;
/// Of a share's memory, the part that one seat leaves, and that those who overtake may hold.
const PASSING_PART: u64 = 4;
/// Of a share's memory, what a seat may be that overtakes: four of them at least pass together.
const SMALL_PART: u64 = 16;

/// What children may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Processes, at least one.
    pub children_max: usize,
    /// Memory that they are expected to take.
    pub memory_bytes_max: u64,
}

/// Kinds of children that do not take each other's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// What answers a call: short, many.
    Questions,
    /// What moves or makes packs, and hooks: long, and with much memory.
    Transfers,
}

/// In whose place a caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A call that has a question running already.
    Further,
    Questions,
    Transfers,
}

/// A place, and the memory that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) lane: Lane,
    pub(super) memory_bytes: u64,
    /// It was served before one that came earlier.
    pub(super) has_overtaken: bool,
}

/// What became of a caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Granted(Seat),
    /// Known by this number from now on.
    Waits(u64),
    Full,
}

/// Who runs and who waits. `W` is how a caller is told.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    budget: Budget,
    lanes: [LaneState<W>; 3],
    last_number: u64,
    /// The lane of first children that is looked at first, in turn.
    turn: Lane,
}

#[derive(Debug)]
struct LaneState<W> {
    running: usize,
    memory_bytes: u64,
    /// Of `memory_bytes`, what is held by those who overtook.
    passing_bytes: u64,
    waiting: VecDeque<Waiting<W>>,
}

#[derive(Debug)]
struct Waiting<W> {
    number: u64,
    seat: Seat,
    caller: W,
}

// === impl Share ===

impl Share {
    /// How metrics name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Questions => "questions",
            Self::Transfers => "transfers",
        }
    }
}

// === impl Lane ===

impl Lane {
    pub(super) fn share(self) -> Share {
        match self {
            Self::Further | Self::Questions => Share::Questions,
            Self::Transfers => Share::Transfers,
        }
    }
}

// === impl Budget ===

impl Budget {
    /// Memory of one share.
    pub(super) fn memory_bytes_of(&self, share: Share) -> u64 {
        let questions = self.memory_bytes_max / QUESTIONS_PART;
        match share {
            Share::Questions => questions,
            Share::Transfers => self.memory_bytes_max - questions,
        }
    }

    /// Memory that those of a share hold at most who overtook.
    pub(super) fn passing_bytes_of(&self, share: Share) -> u64 {
        self.memory_bytes_of(share) / PASSING_PART
    }

    /// Places that the other share never takes.
    fn reserved(&self) -> usize {
        if self.children_max < 2 { 0 } else { (self.children_max / RESERVED_PART).max(1) }
    }

    /// Places that first children never take.
    fn further(&self) -> usize {
        if self.children_max < 3 { 0 } else { (self.children_max / FURTHER_PART).max(1) }
    }
}

// === impl Ledger ===

impl<W> Ledger<W> {
    pub(super) fn new(budget: Budget) -> Self {
        let lane = || LaneState {
            running: 0,
            memory_bytes: 0,
            passing_bytes: 0,
            waiting: VecDeque::new(),
        };
        Self { budget, lanes: [lane(), lane(), lane()], last_number: 0, turn: Lane::Questions }
    }

    /// What a child of `lane` is counted as: never more than three quarters of its share, so that
    /// whatever one call wants, small ones find room beside it.
    pub(super) fn seat(&self, lane: Lane, memory_bytes: u64) -> Seat {
        let share = lane.share();
        let most = self.budget.memory_bytes_of(share) - self.budget.passing_bytes_of(share);
        Seat { lane, memory_bytes: memory_bytes.min(most), has_overtaken: false }
    }

    /// Takes the seat, or a place in its lane behind those who wait already.
    pub(super) fn ask(&mut self, seat: Seat, caller: impl FnOnce() -> W) -> Asked {
        let waiting = &self.lane(seat.lane).waiting;
        let is_next = match waiting.front() {
            None => self.fits(seat),
            Some(front) => {
                !self.fits(front.seat)
                    && waiting.iter().all(|waiting| !self.is_small(waiting.seat))
                    && self.may_overtake(seat)
            }
        };
        if is_next {
            let has_overtaken = !waiting.is_empty();
            return Asked::Granted(self.take(Seat { has_overtaken, ..seat }));
        }
        if self.lane(seat.lane).waiting.len() >= LANE_CALLERS_MAX {
            return Asked::Full;
        }
        self.last_number += 1;
        let number = self.last_number;
        let waiting = Waiting { number, seat, caller: caller() };
        self.lane_mut(seat.lane).waiting.push_back(waiting);
        Asked::Waits(number)
    }

    /// A caller that waits no longer; nothing if it was served.
    pub(super) fn leave(&mut self, lane: Lane, number: u64) {
        self.lane_mut(lane).waiting.retain(|waiting| waiting.number != number);
    }

    /// A child was reaped, or never came to be.
    pub(super) fn give_back(&mut self, seat: Seat) {
        let lane = self.lane_mut(seat.lane);
        lane.running -= 1;
        lane.memory_bytes -= seat.memory_bytes;
        if seat.has_overtaken {
            lane.passing_bytes -= seat.memory_bytes;
        }
    }

    /// The next caller that is served, and what it got. To be asked until there is none.
    pub(super) fn next(&mut self) -> Option<(Seat, W)> {
        let other = match self.turn {
            Lane::Transfers => Lane::Questions,
            Lane::Further | Lane::Questions => Lane::Transfers,
        };
        let lanes = [Lane::Further, self.turn, other];
        let (lane, at) =
            lanes.into_iter().find_map(|lane| self.next_of(lane).map(|at| (lane, at)))?;
        if lane == self.turn {
            self.turn = other;
        }
        let Waiting { seat, caller, .. } = self.lane_mut(lane).waiting.remove(at)?;
        let seat = self.take(Seat { has_overtaken: at > 0, ..seat });
        Some((seat, caller))
    }

    /// Who of a lane is served next: its front, or the first small one behind it.
    fn next_of(&self, lane: Lane) -> Option<usize> {
        let waiting = &self.lane(lane).waiting;
        if self.fits(waiting.front()?.seat) {
            return Some(0);
        }
        let at = waiting.iter().position(|waiting| self.is_small(waiting.seat))?;
        self.may_overtake(waiting[at].seat).then_some(at)
    }

    fn is_small(&self, seat: Seat) -> bool {
        seat.memory_bytes <= self.budget.memory_bytes_of(seat.lane.share()) / SMALL_PART
    }

    /// Whether a front that does not fit could still be served if this one went before it.
    fn may_overtake(&self, seat: Seat) -> bool {
        let passing = self.lane(seat.lane).passing_bytes + seat.memory_bytes;
        let most = self.budget.passing_bytes_of(seat.lane.share());
        self.is_small(seat) && passing <= most && self.fits(seat)
    }

    /// Whether no child is left.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.running == 0)
    }

    /// Children of a share that run, and the memory that is counted for them.
    pub(super) fn taken(&self, share: Share) -> (usize, u64) {
        let lanes = [Lane::Further, Lane::Questions, Lane::Transfers].into_iter();
        let lanes = lanes.filter(|lane| lane.share() == share).map(|lane| self.lane(lane));
        lanes.fold((0, 0), |(running, bytes), lane| {
            (running + lane.running, bytes + lane.memory_bytes)
        })
    }

    fn fits(&self, seat: Seat) -> bool {
        let most = self.budget.children_max;
        let share = seat.lane.share();
        let (questions, _) = self.taken(Share::Questions);
        let (transfers, _) = self.taken(Share::Transfers);
        let firsts = self.lane(Lane::Questions).running;
        let for_firsts = most - self.budget.further();
        let for_one_share = for_firsts - self.budget.reserved();
        let is_left = questions + transfers < most;
        let has_place = match seat.lane {
            Lane::Further => true,
            Lane::Questions => firsts < for_one_share && firsts + transfers < for_firsts,
            Lane::Transfers => transfers < for_one_share && firsts + transfers < for_firsts,
        };
        let (_, taken) = self.taken(share);
        // A further child ends a call, and with it the memory of the first one.
        let has_memory = seat.lane == Lane::Further
            || taken + seat.memory_bytes <= self.budget.memory_bytes_of(share);
        is_left && has_place && has_memory
    }

    fn take(&mut self, seat: Seat) -> Seat {
        let lane = self.lane_mut(seat.lane);
        lane.running += 1;
        lane.memory_bytes += seat.memory_bytes;
        if seat.has_overtaken {
            lane.passing_bytes += seat.memory_bytes;
        }
        seat
    }

    fn lane(&self, lane: Lane) -> &LaneState<W> {
        &self.lanes[lane as usize]
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneState<W> {
        &mut self.lanes[lane as usize]
    }
}

#[cfg(test)]
mod tests;
