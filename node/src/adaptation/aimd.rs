//! Additive increase, multiplicative decrease: the pure machine.
//!
//! Always true: every limit is within its range; one round moves each limit once, however many
//! watchers saw something.

use super::metrics::Metrics;
use super::watch::Event;
use std::collections::{BTreeSet, HashMap};

/// Rounds without an answer after which a watcher counts as one that saw something.
const TIMEOUTS_MAX: u32 = 5;
/// A limit becomes this part of itself, rounded down.
const DECREASE: usize = 2;

/// How far a limit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: usize,
    pub(super) max: usize,
}

/// A limit that is moved.
pub(super) trait Movable {
    /// How metrics and logs name it.
    fn name(&self) -> &str;
    fn range(&self) -> Range;
    fn current(&self) -> usize;
    fn set(&self, limit: usize);
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

/// What is known from one round to the next.
#[derive(Debug)]
pub(super) struct Machine {
    metrics: Metrics,
    timeouts: HashMap<&'static str, u32>,
    /// Names of the limits that have a series.
    shown: BTreeSet<String>,
}

// === impl Machine ===

impl Machine {
    pub(super) fn new(metrics: Metrics) -> Self {
        // An earlier machine may have told of limits that are gone.
        metrics.forget_all();
        Self { metrics, timeouts: HashMap::new(), shown: BTreeSet::new() }
    }

    /// Tells where the limits are; those that are gone are told no more.
    pub(super) fn show(&mut self, limits: &[impl Movable]) {
        let now: BTreeSet<String> = limits.iter().map(|limit| limit.name().to_owned()).collect();
        for gone in self.shown.difference(&now) {
            self.metrics.forget(gone);
        }
        for limit in limits {
            self.metrics.current(limit.name(), limit.current());
        }
        self.shown = now;
    }

    /// One round: the event that counts, the last one that was seen.
    pub(super) fn judge(&mut self, polls: Vec<(&'static str, Poll)>) -> Option<Event> {
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
                    self.metrics.failed(watcher);
                    tracing::error!(watcher, error, "poll from resource watcher failed");
                    None
                }
                Poll::TimedOut => {
                    self.metrics.failed(watcher);
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
                self.metrics.backed_off(event.watcher);
            }
            last = seen.or(last);
        }
        last
    }

    /// Moves every limit, down if there was an event.
    pub(super) fn calibrate(&mut self, event: Option<&Event>, limits: &[impl Movable]) {
        for limit in limits {
            let (previous_limit, name) = (limit.current(), limit.name());
            let Range { min, max } = limit.range();
            let new_limit = match event {
                None => (previous_limit + 1).min(max),
                Some(_) => (previous_limit / DECREASE).max(min),
            };
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
                limit.set(new_limit);
            }
        }
        self.show(limits);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use prometheus::Registry;
    use std::sync::{Arc, Mutex};

    /// A limit whose values are remembered.
    #[derive(Debug, Clone)]
    pub(in crate::adaptation) struct Told {
        pub(in crate::adaptation) name: &'static str,
        pub(in crate::adaptation) range: Range,
        pub(in crate::adaptation) values: Arc<Mutex<Vec<usize>>>,
    }

    impl Told {
        pub(in crate::adaptation) fn new(name: &'static str, initial: usize, range: Range) -> Self {
            Self { name, range, values: Arc::new(Mutex::new(vec![initial])) }
        }
    }

    impl Movable for Told {
        fn name(&self) -> &str {
            self.name
        }

        fn range(&self) -> Range {
            self.range
        }

        fn current(&self) -> usize {
            *self.values.lock().unwrap().last().unwrap()
        }

        fn set(&self, limit: usize) {
            self.values.lock().unwrap().push(limit);
        }
    }

    fn event() -> Poll {
        Poll::Pressed(Event { watcher: "W", reason: "why".to_owned(), stats: Vec::new() })
    }

    /// A round is a letter: `.` calm, `!` pressed, `e` failed, `t` timed out, `2` two watchers
    /// pressed, `m` one pressed and one calm. Expected are the values after each.
    fn check((min, initial, max): (usize, usize, usize), rounds: &str, expected: &[usize]) {
        let limit = Told::new("one", initial, Range { min, max });
        let mut machine = Machine::new(Metrics::register(&Registry::new()));
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
            let event = machine.judge(polls);
            machine.calibrate(event.as_ref(), std::slice::from_ref(&limit));
            values.push(limit.current());
        }
        assert_eq!(values, expected, "{min} {initial} {max} {rounds}");
        let mut changes = vec![initial];
        changes.extend(values);
        changes.dedup();
        assert_eq!(*limit.values.lock().unwrap(), changes, "only changes are told");
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
    fn limits_move_together_and_come_and_go() {
        let registry = Registry::new();
        let mut machine = Machine::new(Metrics::register(&registry));
        let limit = |name, max| Told::new(name, 10, Range { min: 1, max });
        let limits = [limit("a", 20), limit("b", 10)];
        let values = || limits.each_ref().map(Movable::current);
        machine.calibrate(None, &limits);
        assert_eq!(values(), [11, 10]);
        let event = machine.judge(vec![("W", event())]);
        machine.calibrate(event.as_ref(), &limits);
        assert_eq!(values(), [5, 5]);
        machine.calibrate(None, &limits[1..]);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("current_limit{limit=\"b\"} 6"), "{text}");
        assert!(!text.contains("limit=\"a\""), "{text}");
    }
}
