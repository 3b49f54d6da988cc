//! What readers see.
//!
//! Always true: a reader's candidates only become fewer, and none is left only in a failure.
//! Never here: what producers do.

use super::{Asked, RunId, RunState, State};
use crate::executor::ProcessId;
use gitring_streamcache::{Lookup, ReadError};
use std::time::Duration;

pub(crate) type ReaderId = u64;

/// One reader.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) process: ProcessId,
    lookup: Lookup,
    /// Runs whose bytes are what it saw so far, oldest first.
    candidates: Vec<RunId>,
    pub(crate) position: u64,
    pub(crate) over: bool,
    /// What it had taken when it asked last, and when that became more: asking is taking.
    taken: u64,
    took_at: Duration,
    longest_pause: Duration,
    /// Failures of the disk's reads before it came.
    read_failures: u64,
}

// === impl Attached ===

impl Attached {
    pub(super) fn new(asked: Asked, lookup: Lookup, candidates: Vec<RunId>) -> Self {
        Self {
            process: asked.process,
            lookup,
            candidates,
            position: 0,
            over: false,
            taken: 0,
            took_at: asked.at,
            longest_pause: Duration::ZERO,
            read_failures: asked.read_failures,
        }
    }

    /// The run it most likely reads: the newest that fits.
    pub(crate) fn home(&self) -> RunId {
        self.candidates[self.candidates.len() - 1]
    }

    /// For how long it has taken nothing.
    pub(crate) fn paused(&self, now: Duration) -> Duration {
        now.saturating_sub(self.took_at)
    }
}

// === impl State ===

impl State {
    pub(crate) fn reader_asks(&mut self, id: ReaderId, now: Duration) {
        let reader = self.readers.get_mut(&id).unwrap();
        reader.longest_pause = reader.longest_pause.max(reader.paused(now));
        if reader.position > reader.taken {
            reader.taken = reader.position;
            reader.took_at = now;
        }
    }

    pub(crate) fn reader_got(&mut self, id: ReaderId, bytes: &[u8]) {
        let runs = &mut self.runs;
        let reader = self.readers.get_mut(&id).unwrap();
        let begin = reader.position as usize;
        let end = begin + bytes.len();
        let was: Vec<_> = reader.candidates.clone();
        reader.candidates.retain(|run| {
            let run = &runs[*run];
            end as u64 <= run.visible() && run.content.get(begin..end) == Some(bytes)
        });
        assert!(
            !reader.candidates.is_empty(),
            "reader {id} ({:?}) got bytes {begin}..{end} of no run of {was:?}",
            reader.lookup,
        );
        reader.position = end as u64;
        let run = &mut runs[reader.home()];
        run.fastest = run.fastest.max(reader.position);
    }

    /// Its stream has ended: it must be whole.
    pub(crate) fn reader_ended(&mut self, id: ReaderId) {
        let runs = &self.runs;
        let reader = self.readers.get_mut(&id).unwrap();
        let position = reader.position;
        let whole =
            |run: &RunId| runs[*run].complete && runs[*run].content.len() as u64 == position;
        assert!(
            reader.candidates.iter().any(whole),
            "reader {id} ({:?}) ended at {position}, runs {:?} did not",
            reader.lookup,
            reader.candidates,
        );
        reader.candidates.retain(whole);
        reader.over = true;
        self.seen.whole += 1;
    }

    /// Its stream has failed: there must be a reason.
    pub(crate) fn reader_failed(
        &mut self,
        id: ReaderId,
        error: &ReadError,
        now: Duration,
        read_failures: u64,
    ) {
        let reader = self.readers.get_mut(&id).unwrap();
        reader.over = true;
        let reader = &self.readers[&id];
        let limits = self.processes[&reader.process].limits;
        let reason = match error {
            ReadError::Producer(said) => {
                self.seen.producer_failed += 1;
                reader.candidates.iter().any(|run| match &self.runs[*run].state {
                    RunState::Failed(Some(reason)) => reason == said,
                    RunState::Failed(None) => true,
                    RunState::Writing
                    | RunState::Finishing
                    | RunState::Finished
                    | RunState::Dead => false,
                })
            }
            ReadError::Stalled(_) => {
                self.seen.stalled += 1;
                let run = &self.runs[reader.home()];
                reader.longest_pause.max(reader.paused(now)) >= limits.stall_max
                    && self.unstored_by_disk(run)
            }
            ReadError::Lost(_) => {
                self.seen.lost += 1;
                self.runs[reader.home()].lost = true;
                read_failures > reader.read_failures
            }
        };
        assert!(reason, "reader {id} failed with {error:?} for no reason: {reader:?}");
    }

    pub(crate) fn reader_left(&mut self, id: ReaderId) {
        let Some(reader) = self.readers.remove(&id) else { return };
        let run = reader.home();
        if self.present(run).next().is_none() {
            self.runs[run].left = true;
        }
    }
}
