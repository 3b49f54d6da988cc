//! What the library says of itself, and whether that can be.
//!
//! Always true: a stream that is not kept has an event that says why.
//! Never here: anything that the library did not say.

use super::{Model, Run, RunState, State};
use crate::executor::{ProcessId, Shown};
use crate::trace::trace;
use gitring_streamcache::{Event, EvictionCause, Key, Observer, Unstored};

/// Hands the events of one process to the model.
pub(crate) struct Watcher {
    pub(crate) model: Model,
    pub(crate) clock: Shown,
    pub(crate) process: ProcessId,
}

// === impl Watcher ===

impl Observer for Watcher {
    fn observe(&self, event: &Event) {
        if !std::thread::panicking() {
            trace(self.clock.get(), || format!("  process {}: {event:?}", self.process));
            self.model.state().happened(self.process, event);
        }
    }
}

// === impl State ===

impl State {
    fn happened(&mut self, process: ProcessId, event: &Event) {
        let Some(known) = self.processes.get_mut(&process) else { return };
        known.events.push(event.clone());
        let events = known.events.len();
        match event {
            Event::Unstored { key, reason, .. } if is_disk(*reason) => {
                for run in &mut self.runs {
                    let same = run.process == process && run.key == *key;
                    if same && run.memory_from.is_none() {
                        run.memory_from = Some(run.written + run.writing);
                        self.seen.in_memory += 1;
                    }
                }
            }
            Event::Finished { key, bytes, kept } => {
                let finishing = |run: &&mut Run| {
                    let same = run.process == process && run.key == *key && run.kept.is_none();
                    same && run.complete && run.content.len() as u64 == *bytes
                };
                let run = self.runs.iter_mut().rev().find(finishing);
                let run = run.unwrap_or_else(|| panic!("{event:?}, but nobody finished it"));
                run.kept = Some(*kept);
                run.finished_event = events;
            }
            Event::Adopted { .. } => self.seen.adopted += 1,
            Event::Evicted { key, bytes, cause, .. } => {
                self.seen.evicted += 1;
                if matches!(cause, EvictionCause::Bytes | EvictionCause::FreeSpace) {
                    self.check_nobody_reads(process, key, *bytes);
                }
            }
            Event::Looked { .. } | Event::Broken { .. } | Event::Unstored { .. } => {}
        }
    }

    /// The bytes of what somebody reads would not come free.
    fn check_nobody_reads(&self, process: ProcessId, key: &Key, bytes: u64) {
        let is_it = |run: &Run| {
            let same = run.process == process && run.key == *key;
            same && run.kept == Some(true) && run.content.len() as u64 == bytes
        };
        if let Some(id) = self.runs.iter().rposition(is_it) {
            assert!(self.present(id).next().is_none(), "run {id} is evicted while it is read");
        }
    }

    /// The library said that the disk does not take a stream, after `run` was asked for.
    pub(crate) fn unstored_by_disk(&self, run: &Run) -> bool {
        let refused = |event: &Event| {
            matches!(event, Event::Unstored { key, reason, .. }
                if *key == run.key && is_disk(*reason))
        };
        self.events(run.process, run.first_event).any(refused)
    }

    /// What an earlier process made of the key was hashed meanwhile, and took the place of `run`.
    pub(crate) fn overtaken(&self, run: &Run) -> bool {
        let of_key = |event: &Event| matches!(event, Event::Adopted { key, .. } if *key == run.key);
        self.events(run.process, run.first_event).any(of_key)
    }

    /// The library said that a stream of this key has gone, after it finished `run`.
    pub(crate) fn evicted(&self, run: &Run) -> bool {
        let of_key = |event: &Event| matches!(event, Event::Evicted { key, .. } if *key == run.key);
        self.events(run.process, run.finished_event).any(of_key)
    }

    /// Lengths of the streams that are kept in somebody else's files: for certain, and perhaps,
    /// where one of the same key and length has gone.
    pub(crate) fn adopted_bytes(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut certain, mut perhaps) = (Vec::new(), Vec::new());
        for run in self.runs.iter().filter(|run| run.adopted && run.kept == Some(true)) {
            let length = run.content.len() as u64;
            let may_be_it = |event: &Event| {
                matches!(event, Event::Evicted { key, bytes, .. }
                    if *key == run.key && *bytes == length)
            };
            if self.events(run.process, run.finished_event).any(may_be_it) {
                perhaps.push(length);
            } else if self.processes.contains_key(&run.process) {
                certain.push(length);
            }
        }
        (certain, perhaps)
    }

    fn events(&self, process: ProcessId, first: usize) -> impl Iterator<Item = &Event> {
        let known = self.processes.get(&process);
        known.into_iter().flat_map(move |known| known.events.iter().skip(first))
    }

    /// Every run that was finished and is not kept: somebody said why.
    pub(crate) fn check_reasons(&self) {
        for (id, run) in self.runs.iter().enumerate() {
            let refused = run.state == RunState::Finished && run.kept == Some(false);
            let said =
                |event: &Event| matches!(event, Event::Unstored { key, .. } if *key == run.key);
            let overtaken = self.runs[id + 1..]
                .iter()
                .any(|newer| newer.process == run.process && newer.key == run.key);
            let reason = overtaken || self.events(run.process, run.first_event).any(said);
            assert!(!refused || reason, "run {id} is not kept: why?");
        }
    }
}

fn is_disk(reason: Unstored) -> bool {
    match reason {
        Unstored::Occurrences | Unstored::Disabled => false,
        Unstored::DiskFull | Unstored::FreeSpace | Unstored::Budget | Unstored::DiskFailed => true,
    }
}
