//! The sketch beside exact sums, and the window beside time.

use super::*;
use crate::spending::sketch::{Sketch, Sums};
use std::collections::BTreeMap;

fn spent(cost_us: u64) -> Spent {
    Spent { cost_us, children_us: cost_us / 2, calls: 1, bytes: 10 }
}

fn named(digest: u64, path: &str) -> Named<'_> {
    Named { digest, storage: "default", path }
}

fn sums(sketch: &Sketch) -> Sums {
    let mut sums = Sums::default();
    sketch.sum_into(&mut sums);
    sums
}

/// Goal: the heavy ones are found among any number of light ones, with little error.
/// Method: 5 heavy among 20,000 light, in an order by a seed; compared with exact sums.
#[test]
fn the_heaviest_are_found_among_many() {
    let mut seed: u64 = 0x5eed_1234;
    let (mut sketch, mut exact) = (Sketch::default(), BTreeMap::<u64, u64>::new());
    let mut all = 0;
    for _ in 0..60_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let random = seed >> 33;
        let (digest, cost) = match random % 10 {
            0..2 => (random / 10 % 5, 1_000),
            _ => (5 + random / 10 % 20_000, 10),
        };
        sketch.add(named(digest, "some.git"), spent(cost));
        *exact.entry(digest).or_default() += cost;
        all += cost;
    }
    let sums = sums(&sketch);
    assert_eq!(sums.len(), 128);
    for heavy in 0..5 {
        let (found, truth) = (sums[&heavy].spent.cost_us, exact[&heavy]);
        assert!((truth..=truth + all / 128).contains(&found), "{heavy}: {found} for {truth}");
    }
}

#[test]
fn a_window_forgets() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut window = Window::new(start, Duration::from_secs(10), 6);
    let mut calls = |seconds, is_charged| {
        if is_charged {
            window.add(at(seconds), named(1, "a.git"), spent(1));
        }
        let mut sums = Sums::default();
        window.sum_into(at(seconds), &mut sums);
        sums.get(&1).map_or(0, |account| account.spent.calls)
    };
    assert_eq!(calls(0, true), 1);
    assert_eq!(calls(35, true), 2);
    assert_eq!(calls(69, false), 2);
    assert_eq!(calls(70, false), 1);
    assert_eq!(calls(100, false), 0);
    assert_eq!(calls(5_000, true), 1);
    assert_eq!(calls(5_059, false), 1);
}

#[test]
fn repositories_are_ordered_by_what_they_cost() {
    let spending = Spending::new();
    let long = "x".repeat(5_000);
    for (path, children_ms, bytes) in
        [("light.git", 0, 0), ("sent.git", 0, 1 << 33), (&*long, 900, 9)]
    {
        let children = Duration::from_millis(children_ms);
        spending.charge(&Charge { storage: "default", path, children, bytes });
    }
    for span in [Span::Minute, Span::Hour] {
        let found = spending.heaviest(span, 2);
        let paths: Vec<&str> = found.iter().map(|account| account.path.as_str()).collect();
        assert_eq!(paths, ["sent.git", &long[..200]], "{span:?}");
        assert_eq!(found[0].spent.cost_us, 8 * 170_000 + 100);
        assert_eq!(found[1].spent.children_us, 900_000);
    }
}
