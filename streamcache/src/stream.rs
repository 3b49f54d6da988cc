//! One stream as its producer and its readers share it.
//!
//! ```text
//!   Lead ──write──► [ file ][ memory ]        written   published after the bytes are there
//!                      │                      front     what the fastest reader has taken
//!                      ├──► Reader (fast)     written <= front + window_bytes
//!                      └──► Reader (late: from byte 0)
//! ```
//!
//! Always true:
//! - a producing stream becomes finished or broken, once, and stays so;
//! - a broken stream gives nothing more, so it never looks whole;
//! - the last reader to leave a producing stream breaks it.
//!
//! Never here: I/O, and the table of streams.

use crate::budget::Charge;
use crate::instances::Instance;
use crate::locked::Locked;
use crate::memory::{Memory, Pool};
use crate::{Disk, Key, ReadError};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

mod state;

use state::{Phase, State};

/// A place among the streams that are being made, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

/// What the index, a producer and readers share.
pub(crate) struct Stream<D: Disk> {
    pub(crate) key: Key,
    /// Since the Unix epoch.
    pub(crate) begun: Duration,
    pub(crate) charge: Arc<Charge>,
    /// Readers wait here for more, or for the end.
    pub(crate) grown: Notify,
    /// The producer waits here for room.
    pub(crate) drained: Notify,
    /// Whoever watches for the producer waits here for the stream to break.
    pub(crate) broke: Notify,
    /// Whether its producer still means to have it kept.
    wanted: AtomicBool,
    state: Locked<State<D>>,
}

/// An open file with the stream's bytes from an offset on.
pub(crate) struct Source<D: Disk> {
    pub(crate) file: Arc<D::File>,
    pub(crate) offset_bytes: u64,
}

/// Where a finished stream lives while nobody has it open.
pub(crate) enum Home<D: Disk> {
    /// Nowhere: it goes with its last reader.
    None,
    /// In an instance directory, under the name of its key.
    Instance(Arc<Instance<D>>),
    /// In somebody else's file, which has to stay open.
    Adopted,
}

/// What a reader does next.
pub(crate) enum Step<D: Disk> {
    /// Read from the file. `whole`: the stream is finished and all of it lies there.
    File { source: Source<D>, length: u64, whole: bool },
    /// These bytes.
    Memory(Bytes),
    /// Wait for more.
    Wait,
    /// The end of a whole stream, and the file that some of it may have been read from.
    End(Option<Source<D>>),
    /// The end of one that is not.
    Ended(ReadError),
    /// The reader was sent away.
    Stalled,
}

/// Whether a producer may go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Yes,
    NotYet,
    Broken,
}

/// What a reader's leaving came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Others read on, or it had been sent away before.
    Others,
    /// It was the last, and the stream is not finished: it broke off after so many bytes.
    Broke(u64),
    /// It was the last one of a stream that had ended before.
    Unread,
}

// === impl Stream ===

impl<D: Disk> Stream<D> {
    /// A stream of which nothing was made yet.
    pub(crate) fn producing(
        key: Key,
        begun: Duration,
        charge: Arc<Charge>,
        wanted: bool,
        seat: Seat,
    ) -> Self {
        let mut state = State::new(Phase::Producing, 0, Home::None);
        state.seat = Some(seat);
        Self::new(key, begun, charge, state, wanted)
    }

    /// A finished stream that lies in `instance`.
    pub(crate) fn stored(
        key: Key,
        begun: Duration,
        charge: Arc<Charge>,
        length_bytes: u64,
        instance: Arc<Instance<D>>,
    ) -> Self {
        let state = State::new(Phase::Finished, length_bytes, Home::Instance(instance));
        Self::new(key, begun, charge, state, false)
    }

    fn new(key: Key, begun: Duration, charge: Arc<Charge>, state: State<D>, wanted: bool) -> Self {
        let [grown, drained, broke] = [(); 3].map(|()| Notify::new());
        let (wanted, state) = (AtomicBool::new(wanted), Locked::new(state));
        Self { key, begun, charge, grown, drained, broke, wanted, state }
    }

    /// Whether it is to be kept once it is finished, as far as anybody knows.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// It goes with its last reader.
    pub(crate) fn give_up_keeping(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn written(&self) -> u64 {
        self.state.lock().written
    }

    pub(crate) fn readers(&self) -> usize {
        self.state.lock().readers.len()
    }

    /// The length of a finished stream.
    pub(crate) fn finished_bytes(&self) -> Option<u64> {
        let state = self.state.lock();
        matches!(state.phase, Phase::Finished).then_some(state.written)
    }

    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Broken(_))
    }

    /// Adds a reader, unless the stream is broken: its number, and whether the stream is finished.
    pub(crate) fn attach(&self) -> Option<(u64, bool)> {
        let mut state = self.state.lock();
        let finished = match state.phase {
            Phase::Producing => false,
            Phase::Finished => true,
            Phase::Broken(_) => return None,
        };
        let reader = state.readers_ever;
        state.readers_ever += 1;
        state.readers.insert(reader, 0);
        Some((reader, finished))
    }

    /// Removes a reader.
    pub(crate) fn leave(&self, reader: u64) -> Left {
        let mut state = self.state.lock();
        if state.readers.remove(&reader).is_none() {
            return Left::Others;
        }
        let left = state.after_leaving();
        drop(state);
        self.after_leaving(left)
    }

    fn after_leaving(&self, left: Left) -> Left {
        self.drained.notify_waiters();
        if matches!(left, Left::Broke(_)) {
            self.broke.notify_waiters();
        }
        left
    }

    /// Ends a producing stream with an error; whether it was one, and how long.
    pub(crate) fn fail(&self, reason: ReadError) -> Option<u64> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Producing) {
            return None;
        }
        let written = state.written;
        state.break_off(reason);
        drop(state);
        self.grown.notify_waiters();
        self.drained.notify_waiters();
        self.broke.notify_waiters();
        Some(written)
    }

    /// Ends a producing stream well; whether it was one.
    pub(crate) fn finish(&self) -> bool {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Producing) {
            return false;
        }
        state.phase = Phase::Finished;
        // Whoever was not quick enough may take for ever.
        state.fresh.clear();
        drop(state);
        self.grown.notify_waiters();
        true
    }

    /// What `reader`, which has taken `position` bytes, does next.
    pub(crate) fn next(&self, reader: u64, position: u64, bytes_max: usize) -> Step<D> {
        let mut state = self.state.lock();
        let step = state.next(reader, position, bytes_max);
        let producing = matches!(state.phase, Phase::Producing);
        drop(state);
        if producing {
            self.drained.notify_waiters();
        }
        step
    }
}

/// The producer's side.
impl<D: Disk> Stream<D> {
    /// Whether `more` bytes may be made now.
    pub(crate) fn room(&self, more: usize, window_bytes: usize) -> Room {
        let state = self.state.lock();
        if !matches!(state.phase, Phase::Producing) {
            return Room::Broken;
        }
        let ahead = state.written - state.front + more as u64;
        let held = state.memory.as_ref();
        let fits = ahead <= window_bytes as u64
            && held.is_none_or(|memory| memory.has_room(more, window_bytes));
        if fits { Room::Yes } else { Room::NotYet }
    }

    /// `piece` lies in the file, behind what was there.
    pub(crate) fn publish(&self, piece: Bytes) {
        let mut state = self.state.lock();
        let (start, front) = (state.written, state.front);
        state.written += piece.len() as u64;
        state.fresh.push(start, piece, front);
        drop(state);
        self.grown.notify_waiters();
    }

    /// Appends a chunk that lives in memory, in an allocation of its own: it may be a slice of a
    /// buffer many times its size.
    pub(crate) fn publish_in_memory(&self, chunk: &[u8]) {
        let chunk = Bytes::copy_from_slice(chunk);
        let mut state = self.state.lock();
        state.written += chunk.len() as u64;
        // Where there is none the stream has broken meanwhile.
        if let Some(memory) = &mut state.memory {
            memory.push(chunk);
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// What is made from now on lives in memory.
    pub(crate) fn leave_disk(&self, pool: &Arc<Pool>) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Producing) {
            state.memory = Some(Memory::new(state.written, pool));
        }
    }

    /// Nobody makes it any more.
    pub(crate) fn leave_seat(&self) {
        self.state.lock().leave_seat();
    }

    /// The stream is these bytes of a file, all of them.
    pub(crate) fn adopt(&self, source: Source<D>, length_bytes: u64) {
        let mut state = self.state.lock();
        state.source = Some(source);
        state.home = Home::Adopted;
        state.written = length_bytes;
    }

    /// Who keeps bytes in memory while another reader has taken all there is and waits for more:
    /// readers, and what each has taken. Nobody is held up by one who reads alone.
    pub(crate) fn holders(&self) -> Vec<(u64, u64)> {
        let state = self.state.lock();
        let Some(memory) = &state.memory else { return Vec::new() };
        if !state.readers.values().any(|taken| *taken == state.written) {
            return Vec::new();
        }
        let readers = state.readers.iter().map(|(reader, taken)| (*reader, *taken));
        readers.filter(|(_, taken)| memory.is_held_by(*taken)).collect()
    }

    /// Sends readers away, as if they had left.
    pub(crate) fn end_stalled(&self, readers: &[u64]) -> Left {
        let mut state = self.state.lock();
        for reader in readers {
            state.readers.remove(reader);
        }
        let left = state.after_leaving();
        drop(state);
        self.after_leaving(left)
    }
}

/// The file's side.
impl<D: Disk> Stream<D> {
    pub(crate) fn source(&self) -> Option<Source<D>> {
        self.state.lock().source.clone()
    }

    pub(crate) fn set_source(&self, source: Source<D>) {
        self.state.lock().source = Some(source);
    }

    /// The stream has its name.
    pub(crate) fn settle(&self, instance: Arc<Instance<D>>) {
        self.state.lock().home = Home::Instance(instance);
    }

    /// The instance directory that it is stored in.
    pub(crate) fn instance(&self) -> Option<Arc<Instance<D>>> {
        match &self.state.lock().home {
            Home::Instance(instance) => Some(instance.clone()),
            Home::None | Home::Adopted => None,
        }
    }

    /// Whether it lies in somebody else's file.
    pub(crate) fn is_adopted(&self) -> bool {
        matches!(self.state.lock().home, Home::Adopted)
    }

    /// The file of a stored stream that nobody reads; it is closed when that is dropped.
    pub(crate) fn close_unread(&self) -> Option<Source<D>> {
        let mut state = self.state.lock();
        let stored = matches!(state.home, Home::Instance(_));
        if stored && state.readers.is_empty() { state.source.take() } else { None }
    }
}

// === impl Seat ===

impl Seat {
    /// One of `seats_max`, if there is a free one.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, seats_max: usize) -> Option<Self> {
        let more = |taken| (taken < seats_max).then_some(taken + 1);
        let got = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        got.is_ok().then(|| Self(taken.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Source ===

impl<D: Disk> Clone for Source<D> {
    fn clone(&self) -> Self {
        Self { file: self.file.clone(), offset_bytes: self.offset_bytes }
    }
}
