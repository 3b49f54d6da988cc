//! What producers do.
//!
//! Always true: a run's content never changes; `complete` never becomes false again.
//! Never here: readers' errors.

use super::{Asked, State};
use crate::executor::ProcessId;
use bytes::Bytes;
use gitring_streamcache::Key;
use std::sync::Arc;
use std::time::Duration;

pub(crate) type RunId = usize;

/// One producer at work.
pub(crate) struct Run {
    pub(crate) process: ProcessId,
    pub(crate) key: Key,
    pub(crate) content: Bytes,
    pub(crate) state: RunState,
    /// All was given, and the end was said: others may see the whole.
    pub(crate) complete: bool,
    /// What the library said when it was finished.
    pub(crate) kept: Option<bool>,
    /// How many events its process had had when that was said.
    pub(crate) finished_event: usize,
    /// When somebody asked for what became this run.
    pub(crate) begun: Duration,
    /// Events of its process before that, and failed reads of the disk.
    pub(crate) first_event: usize,
    read_failures: u64,
    /// Its last reader left.
    pub(crate) left: bool,
    pub(crate) written: u64,
    pub(crate) writing: u64,
    /// Somebody could not read it.
    pub(crate) lost: bool,
    /// It lies in somebody else's file.
    pub(crate) adopted: bool,
    /// Largest position of a reader who was there during the present write.
    pub(crate) fastest: u64,
    /// What was written when the disk failed it.
    pub(crate) memory_from: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunState {
    Writing,
    Finishing,
    Finished,
    /// With a reason, or dropped.
    Failed(Option<Arc<str>>),
    /// With its process.
    Dead,
}

// === impl Run ===

impl Run {
    pub(crate) fn new(asked: Asked, content: Bytes) -> Self {
        Self {
            process: asked.process,
            key: asked.key,
            content,
            state: RunState::Writing,
            complete: false,
            kept: None,
            finished_event: 0,
            begun: asked.at,
            first_event: asked.events,
            read_failures: asked.read_failures,
            left: false,
            written: 0,
            writing: 0,
            lost: false,
            adopted: false,
            fastest: 0,
            memory_from: None,
        }
    }

    /// Bytes that a reader can have seen.
    pub(crate) fn visible(&self) -> u64 {
        if self.complete { self.content.len() as u64 } else { self.written + self.writing }
    }
}

// === impl State ===

impl State {
    pub(crate) fn write_begins(&mut self, id: RunId, length: u64) {
        // One that has failed holds its place until it is dropped.
        let fastest = self.attached(id).map(|reader| reader.position).max();
        let run = &mut self.runs[id];
        run.writing = length;
        run.fastest = fastest.unwrap_or(0).max(if run.left { u64::MAX } else { 0 });
    }

    /// A write has returned; the room that it found is checked.
    pub(crate) fn write_ended(&mut self, id: RunId, now: Duration, read_failures: u64) {
        let run = &self.runs[id];
        let limits = self.processes[&run.process].limits;
        let window = limits.window_bytes as u64;
        let before = run.written;
        assert!(
            before <= run.fastest.saturating_add(window),
            "run {id} writes at {before}, its fastest reader is at {}, window {window}",
            run.fastest,
        );
        let active = self.present(id).filter(|reader| reader.paused(now) < limits.stall_max);
        let slowest = active.map(|reader| reader.position).min();
        // A reader's failure is told as a writer's is, but does not move the stream to memory.
        let of_writes = run.memory_from.filter(|_| read_failures == run.read_failures);
        if let (Some(from), Some(slowest)) = (of_writes, slowest) {
            let held = slowest.max(from);
            assert!(
                before <= held + window,
                "run {id} in memory writes at {before}, its slowest reader is at {slowest}, \
                 the file ended at {from}, window {window}",
            );
        }
        let run = &mut self.runs[id];
        run.written += std::mem::take(&mut run.writing);
    }

    /// The library says that nobody reads.
    pub(crate) fn said_abandoned(&self, id: RunId, now: Duration) {
        let run = &self.runs[id];
        let Some(process) = self.processes.get(&run.process) else { return };
        let stalls = |idle| run.memory_from.is_some() && idle >= process.limits.stall_max;
        let present = self.present(id).find(|reader| !stalls(reader.paused(now)));
        assert!(present.is_none(), "run {id} is said to be abandoned, but {present:?} reads it");
    }

    pub(crate) fn finish_begins(&mut self, id: RunId) {
        self.runs[id].state = RunState::Finishing;
        self.runs[id].complete = true;
    }

    pub(crate) fn finish_ended(&mut self, id: RunId) {
        if self.runs[id].state == RunState::Finishing {
            self.runs[id].state = RunState::Finished;
        }
    }

    /// Failed, or dropped before its end. One that was dropped within `finish` may be whole.
    pub(crate) fn run_failed(&mut self, id: RunId, reason: Option<Arc<str>>) {
        let run = &mut self.runs[id];
        if matches!(run.state, RunState::Writing | RunState::Finishing) {
            run.state = RunState::Failed(reason);
        }
    }
}
