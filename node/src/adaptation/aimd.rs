//! Additive increase, multiplicative decrease: the pure machine.
//!
//! Always true: every limit is within its range; one round moves each limit once, however many
//! watchers saw something.

use super::Adaptive;
use super::metrics::Metrics;
use super::watch::Event;
use std::collections::HashMap;

/// Rounds without an answer after which a watcher counts as one that saw something.
const TIMEOUTS_MAX: u32 = 5;
/// A limit becomes this part of itself, rounded down.
const DECREASE: usize = 2;

/// Where a limit begins and how far it goes: `min <= initial <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// At the start.
    pub initial: usize,
    /// It never falls below.
    pub min: usize,
    /// It never rises above.
    pub max: usize,
}

/// What a watcher had to say in one round.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Poll {
    Calm,
    Pressed(Event),
    /// It could not tell. Whether that is because of pressure is not known.
    Failed(String),
    TimedOut,
}

/// The limits and where they are.
#[derive(Debug, Default)]
pub(super) struct Machine {
    limits: Vec<(Adaptive, usize)>,
    timeouts: HashMap<&'static str, u32>,
}

// === impl Machine ===

impl Machine {
    /// Takes other limits; those that stay the same keep their value.
    pub(super) fn replace(&mut self, limits: Vec<Adaptive>, metrics: &Metrics) {
        let before = std::mem::take(&mut self.limits);
        for (gone, _) in &before {
            metrics.forget(&gone.name);
        }
        for limit in limits {
            let same =
                |(old, _): &&(Adaptive, usize)| old.name == limit.name && old.range == limit.range;
            let kept = before.iter().find(same).map(|(_, current)| *current);
            let current = kept.unwrap_or(limit.range.initial);
            (limit.set)(current);
            metrics.current(&limit.name, current);
            self.limits.push((limit, current));
        }
    }

    /// One round: the event that counts, the last one that was seen.
    pub(super) fn judge(
        &mut self,
        polls: Vec<(&'static str, Poll)>,
        metrics: &Metrics,
    ) -> Option<Event> {
        let mut last = None;
        for (watcher, poll) in polls {
            let timeouts = self.timeouts.entry(watcher).or_default();
            let seen = match poll {
                Poll::Calm => {
                    *timeouts = 0;
                    None
                }
                Poll::Pressed(event) => {
                    *timeouts = 0;
                    Some(event)
                }
                Poll::Failed(error) => {
                    metrics.failed(watcher);
                    tracing::error!(watcher, error, "poll from resource watcher failed");
                    None
                }
                Poll::TimedOut => {
                    metrics.failed(watcher);
                    tracing::error!(watcher, "poll from resource watcher timed out");
                    *timeouts += 1;
                    (*timeouts >= TIMEOUTS_MAX).then(|| {
                        let reason = format!("{timeouts} consecutive polling timeout errors");
                        *timeouts = 0;
                        Event { watcher, reason, stats: Vec::new() }
                    })
                }
            };
            if let Some(event) = &seen {
                metrics.backed_off(event.watcher);
            }
            last = seen.or(last);
        }
        last
    }

    /// Moves every limit, down if there was an event.
    pub(super) fn calibrate(&mut self, event: Option<&Event>, metrics: &Metrics) {
        for (limit, current) in &mut self.limits {
            let Range { min, max, .. } = limit.range;
            let (previous_limit, name) = (*current, limit.name.as_str());
            *current = match event {
                None => (previous_limit + 1).min(max),
                Some(_) => (previous_limit / DECREASE).max(min),
            };
            let new_limit = *current;
            match event {
                None => {
                    tracing::debug!(
                        limit_rpc = name,
                        previous_limit,
                        new_limit,
                        "Additive increase"
                    );
                }
                Some(event) => event.tell(name, previous_limit, new_limit),
            }
            if new_limit != previous_limit {
                (limit.set)(new_limit);
            }
            metrics.current(name, new_limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;
    use std::sync::{Arc, Mutex};

    fn event() -> Poll {
        Poll::Pressed(Event { watcher: "W", reason: "why".to_owned(), stats: Vec::new() })
    }

    /// A round is a letter: `.` calm, `!` pressed, `e` failed, `t` timed out, `2` two watchers
    /// pressed, `m` one pressed and one calm. Expected are the values after each.
    fn check(range: (usize, usize, usize), rounds: &str, expected: &[usize]) {
        let metrics = Metrics::register(&Registry::new());
        let told = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&told);
        let (min, initial, max) = range;
        let limit = Adaptive {
            name: "one".to_owned(),
            range: Range { initial, min, max },
            set: Arc::new(move |value| hear.lock().unwrap().push(value)),
        };
        let mut machine = Machine::default();
        machine.replace(vec![limit], &metrics);
        assert_eq!(told.lock().unwrap().as_slice(), [initial]);
        let mut values = Vec::new();
        for round in rounds.chars() {
            let polls = match round {
                '.' => vec![("W", Poll::Calm)],
                '!' => vec![("W", event())],
                'e' => vec![("W", Poll::Failed("no file".to_owned()))],
                't' => vec![("W", Poll::TimedOut)],
                '2' => vec![("W", event()), ("V", event())],
                _ => vec![("W", event()), ("V", Poll::Calm)],
            };
            let event = machine.judge(polls, &metrics);
            machine.calibrate(event.as_ref(), &metrics);
            values.push(machine.limits[0].1);
        }
        assert_eq!(values, expected, "{range:?} {rounds}");
        let mut changes = vec![initial];
        changes.extend(values);
        changes.dedup();
        assert_eq!(*told.lock().unwrap(), changes, "only changes are told");
    }

    #[test]
    fn limits_rise_by_one_and_fall_by_half() {
        check((1, 5, 7), "....", &[6, 7, 7, 7]);
        check((2, 9, 20), "!!!!.", &[4, 2, 2, 2, 3]);
        check((1, 1, 1), ".!.", &[1, 1, 1]);
        // Several events count once; a calm watcher does not outvote one that is pressed.
        check((1, 16, 20), "2m.", &[8, 4, 5]);
        // A watcher that fails tells nothing, however often.
        check((1, 5, 99), "eeeeeeee", &[6, 7, 8, 9, 10, 11, 12, 13]);
        // Five that time out in a row are an event, and are counted anew then.
        check((1, 16, 99), "tttt.ttttt", &[17, 18, 19, 20, 21, 22, 23, 24, 25, 12]);
        check((1, 16, 99), "tttttttttt", &[17, 18, 19, 20, 10, 11, 12, 13, 14, 7]);
        // A failure between timeouts is no answer.
        check((1, 16, 99), "ttettt", &[17, 18, 19, 20, 21, 10]);
    }

    #[test]
    fn limits_move_together_and_a_reload_keeps_them() {
        let metrics = Metrics::register(&Registry::new());
        let limit = |name: &str, max| Adaptive {
            name: name.to_owned(),
            range: Range { initial: 10, min: 1, max },
            set: Arc::new(|_| {}),
        };
        let mut machine = Machine::default();
        machine.replace(vec![limit("a", 20), limit("b", 10)], &metrics);
        let values = |machine: &Machine| -> Vec<usize> {
            machine.limits.iter().map(|(_, current)| *current).collect()
        };
        machine.calibrate(None, &metrics);
        assert_eq!(values(&machine), [11, 10]);
        let event = machine.judge(vec![("W", event())], &metrics);
        machine.calibrate(event.as_ref(), &metrics);
        assert_eq!(values(&machine), [5, 5]);
        machine.replace(vec![limit("b", 10), limit("a", 30), limit("c", 20)], &metrics);
        assert_eq!(values(&machine), [5, 10, 10], "the range of a is another one");
    }
}
