//! What each watcher sees in two readings.

use super::*;
use crate::cgroups::stats::{Cpu, Memory, Stall};

const SECOND: Duration = Duration::from_secs(1);

/// Thirty seconds lie between; expected is the reason, if it is too much.
fn check(kind: Kind, threshold: f64, before: Option<Reading>, now: Reading, expected: &str) {
    let watcher = Watcher { name: "W", source: Source::Group(PathBuf::new()), kind, threshold };
    let seen = watcher.judge(before.as_ref(), &now, 30 * SECOND);
    let reason = seen.map_or(String::new(), |event| event.reason);
    assert_eq!(reason, expected, "{kind:?} over {threshold}: {before:?}, {now:?}");
}

fn throttled(time: Duration) -> Reading {
    Reading::Group(Stats { cpu: Cpu { throttled: time, ..Cpu::default() }, ..Stats::default() })
}

fn memory(used: u64, inactive_file_bytes: u64, memory_bytes_max: Option<u64>) -> Reading {
    let memory = Memory { inactive_file_bytes, ..Memory::default() };
    Reading::Group(Stats { memory_bytes: used, memory_bytes_max, memory, ..Stats::default() })
}

fn stalled(some: Duration, full: Duration) -> Reading {
    let stall = |total| Stall { total, ..Stall::default() };
    Reading::Pressure(Pressure { some: stall(some), full: stall(full) })
}

#[test]
fn what_is_too_much() {
    let reason = "cgroup CPU throttled too much";
    let began = Some(throttled(100 * SECOND));
    // More than half of 30 s.
    check(Kind::Throttled, 0.5, began, throttled(116 * SECOND), reason);
    check(Kind::Throttled, 0.5, began, throttled(115 * SECOND), "");
    // The first reading, and one after the counter began anew.
    check(Kind::Throttled, 0.5, None, throttled(116 * SECOND), "");
    check(Kind::Throttled, 0.5, began, throttled(20 * SECOND), "");

    let reason = "cgroup memory exceeds threshold";
    check(Kind::Memory, 0.9, None, memory(90, 0, Some(100)), reason);
    check(Kind::Memory, 0.9, None, memory(89, 0, Some(100)), "");
    check(Kind::Memory, 0.9, None, memory(99, 10, Some(100)), "");
    check(Kind::Memory, 0.9, None, memory(99, 0, None), "");
    check(Kind::Memory, 0.9, None, memory(5, 9, Some(1)), "");

    let zero = Some(stalled(Duration::ZERO, Duration::ZERO));
    let some = "some tasks stalled too long";
    check(Kind::SomeStalled, 0.1, zero, stalled(4 * SECOND, Duration::ZERO), some);
    check(Kind::SomeStalled, 0.1, zero, stalled(3 * SECOND, Duration::ZERO), "");
    check(Kind::SomeStalled, 1.0, zero, stalled(30 * SECOND, Duration::ZERO), "");
    let all = "all tasks stalled too long";
    check(Kind::AllStalled, 0.5, zero, stalled(30 * SECOND, 16 * SECOND), all);
    check(Kind::AllStalled, 0.5, zero, stalled(30 * SECOND, 15 * SECOND), "");

    let reason = "children were waited for too long";
    let began = Some(Reading::Waits(7 * SECOND, 100));
    check(Kind::Waits, 1.0, began, Reading::Waits(18 * SECOND, 110), reason);
    check(Kind::Waits, 1.0, began, Reading::Waits(17 * SECOND, 110), "");
    // Too few to say anything, or none.
    check(Kind::Waits, 1.0, began, Reading::Waits(60 * SECOND, 104), "");
    check(Kind::Waits, 1.0, began, Reading::Waits(7 * SECOND, 100), "");
    // Nothing that belongs together.
    check(Kind::Waits, 1.0, began, throttled(SECOND), "");
}
