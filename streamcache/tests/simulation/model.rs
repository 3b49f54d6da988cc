//! What must hold, whatever happens.
//!
//! Every run of a producer has a content of its own, so that two streams of one key cannot be
//! mistaken for each other, as two runs of a real producer differ.
//!
//! Always true, or the simulation fails:
//! - a reader sees a prefix of exactly one run, and an end only where that run was finished;
//! - a reader fails with its producer, its disk or its own idleness, and never for another reason;
//! - a producer is a window ahead of its fastest reader at most (of its slowest in memory);
//! - nobody leads where a stream can be had.
//!
//! Never here: who does what when.

mod events;
mod reader;
mod run;

pub(crate) use events::Watcher;
pub(crate) use reader::{Attached, ReaderId};
pub(crate) use run::{Run, RunId, RunState};

use crate::executor::ProcessId;
use gitring_streamcache::{Event, Key, Limits, Lookup};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// So far the wall clock jumps, at most.
pub(crate) const CLOCK_ERROR_MAX: Duration = Duration::from_secs(1 << 20);

#[derive(Clone, Default)]
pub(crate) struct Model(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) runs: Vec<Run>,
    pub(crate) readers: BTreeMap<ReaderId, Attached>,
    pub(crate) processes: BTreeMap<ProcessId, Process>,
    reader_ids: ReaderId,
    /// The wall clock was changed: nothing is said about ages.
    pub(crate) clock_jumped: bool,
    pub(crate) seen: Seen,
}

/// What the model knows of a process.
pub(crate) struct Process {
    pub(crate) limits: Limits,
    pub(crate) events: Vec<Event>,
}

/// What a seed came to, to see that the seeds reach what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) hits: u64,
    pub(crate) joins: u64,
    pub(crate) leads: u64,
    pub(crate) whole: u64,
    pub(crate) producer_failed: u64,
    pub(crate) lost: u64,
    pub(crate) stalled: u64,
    pub(crate) in_memory: u64,
    pub(crate) adopted: u64,
    pub(crate) evicted: u64,
    pub(crate) crashes: u64,
}

/// A fetch that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) process: ProcessId,
    pub(crate) key: Key,
    pub(crate) at: Duration,
    runs: usize,
    pub(crate) events: usize,
    /// Reads of the disk that had failed.
    pub(crate) read_failures: u64,
}

// === impl Model ===

impl Model {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

// === impl State ===

impl State {
    pub(crate) fn process_started(&mut self, process: ProcessId, limits: Limits) {
        self.processes.insert(process, Process { limits, events: Vec::new() });
    }

    /// Its streams and readers are no more; what it finished may be on disk.
    pub(crate) fn process_died(&mut self, process: ProcessId) {
        self.seen.crashes += 1;
        self.processes.remove(&process);
        self.readers.retain(|_, reader| reader.process != process);
        for run in self.runs.iter_mut().filter(|run| run.process == process) {
            run.state = RunState::Dead;
        }
    }

    pub(crate) fn asks(&self, who: (ProcessId, Key), at: Duration, read_failures: u64) -> Asked {
        let (process, key) = who;
        let events = self.processes.get(&process).map_or(0, |known| known.events.len());
        Asked { process, key, at, runs: self.runs.len(), events, read_failures }
    }

    /// A fetch came to `lookup`: the reader that it gave, and for a lead the run that begins.
    pub(crate) fn found(
        &mut self,
        asked: Asked,
        lookup: Lookup,
        new: Option<Run>,
    ) -> (ReaderId, Option<RunId>) {
        match lookup {
            Lookup::Hit => self.seen.hits += 1,
            Lookup::Join => self.seen.joins += 1,
            Lookup::Lead => {
                self.seen.leads += 1;
                self.check_no_stream_was_there(asked);
            }
        }
        let run = new.map(|run| {
            self.runs.push(run);
            self.runs.len() - 1
        });
        let candidates = self.candidates(asked, lookup, run);
        assert!(!candidates.is_empty(), "{lookup:?} of {asked:?}, but no run can be meant");
        self.reader_ids += 1;
        let reader = Attached::new(asked, lookup, candidates);
        self.readers.insert(self.reader_ids, reader);
        (self.reader_ids, run)
    }

    /// Runs that a reader may read, newest last.
    fn candidates(&self, asked: Asked, lookup: Lookup, new: Option<RunId>) -> Vec<RunId> {
        let may_be_meant = |(_, run): &(RunId, &Run)| match lookup {
            Lookup::Lead => false,
            Lookup::Join => run.process == asked.process,
            Lookup::Hit => run.complete && !self.too_old(run, asked),
        };
        let same_key = self.runs.iter().enumerate().filter(|(_, run)| run.key == asked.key);
        let mut meant: Vec<_> =
            same_key.filter(may_be_meant).map(|(id, _)| id).chain(new).collect();
        // Most likely one of its own process.
        meant.sort_by_key(|id| self.runs[*id].process == asked.process);
        meant
    }

    fn too_old(&self, run: &Run, asked: Asked) -> bool {
        let age_max = self.processes[&asked.process].limits.age_max;
        !self.clock_jumped && run.begun + age_max < asked.at
    }

    fn may_be_too_old(&self, run: &Run, asked: Asked) -> bool {
        let jump = if self.clock_jumped { CLOCK_ERROR_MAX } else { Duration::ZERO };
        run.begun + self.processes[&asked.process].limits.age_max < asked.at + jump
    }

    /// A lead although a stream was there all the time since somebody asked.
    fn check_no_stream_was_there(&self, asked: Asked) {
        for (id, run) in self.runs.iter().enumerate().take(asked.runs) {
            let same = run.process == asked.process && run.key == asked.key;
            let forgotten = run.lost || self.may_be_too_old(run, asked) || self.overtaken(run);
            if !same || forgotten || self.unstored_by_disk(run) {
                continue;
            }
            let present = self.present(id).next().is_some();
            let there = match (&run.state, run.kept) {
                (RunState::Writing, _) => present && !run.left,
                (RunState::Finishing, _) => present && !run.left,
                (RunState::Finished, Some(false)) => present && !run.left,
                (RunState::Finished, Some(true)) => !self.evicted(run),
                _ => false,
            };
            assert!(
                !there,
                "{asked:?} leads while run {id} is {:?}, kept {:?}",
                run.state, run.kept
            );
        }
    }

    /// Those who hold a run in its own process, if only after an error.
    pub(crate) fn attached(&self, run: RunId) -> impl Iterator<Item = &Attached> {
        let process = self.runs[run].process;
        let holds = move |reader: &&Attached| reader.process == process && reader.home() == run;
        self.readers.values().filter(holds)
    }

    /// Those who read a run in its own process, and have not ended.
    pub(crate) fn present(&self, run: RunId) -> impl Iterator<Item = &Attached> {
        self.attached(run).filter(|reader| !reader.over)
    }
}
