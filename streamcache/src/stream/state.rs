//! What a stream's lock guards.
//!
//! Always true:
//! - `front <= written`, and `front` is what the fastest of the present readers has taken;
//! - a position below the end of the file is read from it, unless it is fresh, one behind from
//!   memory;
//! - a stream in memory holds what its slowest reader has yet to take, and no more.
//!
//! Never here: waking anybody.

use super::{Home, Left, Seat, Source, Step};
use crate::fresh::Fresh;
use crate::memory::Memory;
use crate::{Disk, ReadError};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct State<D: Disk> {
    pub(super) phase: Phase,
    pub(super) written: u64,
    pub(super) front: u64,
    pub(super) source: Option<Source<D>>,
    pub(super) home: Home<D>,
    pub(super) memory: Option<Memory>,
    /// The end of what lies in the file.
    pub(super) fresh: Fresh,
    /// What each reader has taken.
    pub(super) readers: BTreeMap<u64, u64>,
    pub(super) readers_ever: u64,
    /// Its place among those being made.
    pub(super) seat: Option<Seat>,
    /// Somebody makes it. Once nobody does, the seat is free when nothing is held in memory.
    pub(super) led: bool,
}

#[derive(Clone)]
pub(super) enum Phase {
    Producing,
    Finished,
    Broken(ReadError),
}

// === impl State ===

impl<D: Disk> State<D> {
    pub(super) fn new(phase: Phase, written: u64, home: Home<D>) -> Self {
        let (readers, source, memory) = (BTreeMap::new(), None, None);
        let (front, readers_ever, seat, led) = (0, 0, None, true);
        let fresh = Fresh::default();
        Self {
            phase,
            written,
            front,
            source,
            home,
            memory,
            fresh,
            readers,
            readers_ever,
            seat,
            led,
        }
    }

    pub(super) fn break_off(&mut self, reason: ReadError) {
        self.phase = Phase::Broken(reason);
        // Nobody is given any of it again; who reads from the file holds it for that long.
        self.memory = None;
        self.fresh.clear();
        self.source = None;
    }

    pub(super) fn after_leaving(&mut self) -> Left {
        // Those who stay set the pace, not the one who was ahead of them.
        self.front = self.readers.values().copied().max().unwrap_or(self.front);
        self.release();
        match (self.readers.is_empty(), &self.phase) {
            (false, _) => Left::Others,
            (true, Phase::Producing) => {
                self.break_off(ReadError::Producer(Arc::from("every reader has left")));
                Left::Broke(self.written)
            }
            (true, Phase::Finished | Phase::Broken(_)) => Left::Unread,
        }
    }

    /// Nobody makes it any more.
    pub(super) fn leave_seat(&mut self) {
        self.led = false;
        self.release();
    }

    fn release(&mut self) {
        self.fresh.release(self.front);
        if let Some(memory) = &mut self.memory {
            memory.release(self.readers.values().copied().min().unwrap_or(self.written));
        }
        if !self.led && self.memory.as_ref().is_none_or(Memory::is_empty) {
            self.seat = None;
        }
    }

    pub(super) fn next(&mut self, reader: u64, position: u64, bytes_max: usize) -> Step<D> {
        // Asked first: one who was sent away hears that, whatever the stream came to afterwards.
        let Some(taken) = self.readers.get_mut(&reader) else {
            return Step::Stalled;
        };
        if let Phase::Broken(reason) = &self.phase {
            return Step::Ended(reason.clone());
        }
        *taken = position;
        self.front = self.front.max(position);
        self.release();
        if position == self.written {
            return match self.phase {
                Phase::Finished => Step::End(self.source.clone()),
                Phase::Producing | Phase::Broken(_) => Step::Wait,
            };
        }
        let memory = self.memory.as_ref();
        let file_end = memory.map_or(self.written, Memory::file_end);
        if let Some(bytes) = self.fresh.get(position, bytes_max) {
            return Step::Memory(bytes);
        }
        if position < file_end {
            let length = (file_end - position).min(bytes_max as u64);
            let whole = matches!(self.phase, Phase::Finished) && file_end == self.written;
            return match self.source.clone() {
                Some(source) => Step::File { source, length, whole },
                None => Step::Ended(ReadError::Lost(Arc::from("it is not open"))),
            };
        }
        match memory.and_then(|memory| memory.get(position, bytes_max)) {
            Some(bytes) => Step::Memory(bytes),
            None => Step::Ended(ReadError::Lost(Arc::from("it is not in memory"))),
        }
    }
}
