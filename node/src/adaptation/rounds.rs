//! The clock: asks every source once a round, and moves the limits by what they said.
//!
//! Always true: dropping a [`Rounds`] ends its threads, one that hangs in the kernel as soon as it
//! hangs no more; at most one question is on its way to the reading thread.

use super::aimd::{Machine, Movable, Poll};
use super::watch::{Reading, Source, Watcher};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// Runs until dropped.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Closed by the drop.
    _stop: Sender<()>,
}

/// One round's answer of one source.
struct Answer {
    round: u64,
    watcher: usize,
    at: Instant,
    reading: io::Result<Reading>,
}

/// What the deciding thread keeps between rounds.
struct State {
    watchers: Vec<Watcher>,
    last: Vec<Option<(Instant, Reading)>>,
    questions: SyncSender<u64>,
    answers: Receiver<Answer>,
    round: u64,
}

// === impl Rounds ===

impl Rounds {
    /// Starts both threads; a round begins every `every`, the first one after as long.
    pub(super) fn start<M: Movable>(
        every: Duration,
        watchers: Vec<Watcher>,
        mut machine: Machine,
        limits: impl Fn() -> Vec<M> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let (questions, asked) = sync_channel::<u64>(1);
        let (answering, answers) = channel();
        let sources: Vec<Source> = watchers.iter().map(|watcher| watcher.source.clone()).collect();
        std::thread::Builder::new()
            .name("adapt-read".to_owned())
            .spawn(move || read(&sources, &asked, &answering))?;
        let last = vec![None; watchers.len()];
        let mut state = State { watchers, last, questions, answers, round: 0 };
        std::thread::Builder::new().name("adapt".to_owned()).spawn(move || {
            machine.show(&limits());
            // Closed: dropped.
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let event = machine.judge(state.poll(every));
                machine.calibrate(event.as_ref(), &limits());
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// Answers questions until nobody asks any more.
fn read(sources: &[Source], asked: &Receiver<u64>, answers: &Sender<Answer>) {
    while let Ok(round) = asked.recv() {
        for (watcher, source) in sources.iter().enumerate() {
            let reading = source.read();
            let answer = Answer { round, watcher, at: Instant::now(), reading };
            if answers.send(answer).is_err() {
                return;
            }
        }
    }
}

// === impl State ===

impl State {
    /// Asks all sources and waits for at most a round.
    fn poll(&mut self, wait_max: Duration) -> Vec<(&'static str, Poll)> {
        self.round += 1;
        let mut polls: Vec<_> =
            self.watchers.iter().map(|watcher| (watcher.name, Poll::TimedOut)).collect();
        let until = Instant::now() + wait_max;
        // A question that lies there already is answered late: that answer is nobody's.
        let mut missing = match self.questions.try_send(self.round) {
            Ok(()) => polls.len(),
            Err(_) => 0,
        };
        while missing > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(answer) = self.answers.recv_timeout(left) else { break };
            if answer.round == self.round {
                missing -= 1;
                let watcher = answer.watcher;
                polls[watcher].1 = self.judge(answer);
            }
        }
        polls
    }

    fn judge(&mut self, answer: Answer) -> Poll {
        let Answer { watcher, at, reading, .. } = answer;
        let now = match reading {
            Ok(now) => now,
            Err(error) => return Poll::Failed(error.to_string()),
        };
        let before = self.last[watcher].replace((at, now));
        let between = before.map_or(Duration::ZERO, |(before, _)| at - before);
        let before = before.as_ref().map(|(_, reading)| reading);
        let seen = self.watchers[watcher].judge(before, &now, between);
        seen.map_or(Poll::Calm, Poll::Pressed)
    }
}

#[cfg(test)]
mod tests;
