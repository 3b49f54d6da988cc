//! The ledger, played by letters.

use super::*;

/// Plays `steps` on a ledger of `children` and 800 bytes, of which questions have 100.
///
/// `q`, `t`, `f` ask for a question, a transfer, a further question, each of one byte; `s`, `m`,
/// `T` for transfers of 40, 100 and 400 bytes, of which the first is small, `B` for one of more than
/// there is, which is counted as 525. A digit gives back what the caller of
/// this number got, or takes it out of its queue; callers are numbered from 0. Expected is who was
/// served, in order.
fn check(children_max: usize, steps: &str, expected: &str) {
    let mut ledger = Ledger::new(Budget { children_max, memory_bytes_max: 800 });
    let mut callers: Vec<(Seat, Option<u64>, bool)> = Vec::new();
    let mut served = String::new();
    for step in steps.chars().filter(|step| *step != ' ') {
        if let Some(caller) = step.to_digit(10) {
            let (seat, number, is_served) = callers[caller as usize];
            match is_served {
                true => ledger.give_back(seat),
                false => ledger.leave(seat.lane, number.unwrap()),
            }
        } else {
            let (lane, bytes) = match step {
                'q' => (Lane::Questions, 1),
                'f' => (Lane::Further, 1),
                't' => (Lane::Transfers, 1),
                's' => (Lane::Transfers, 40),
                'm' => (Lane::Transfers, 100),
                'T' => (Lane::Transfers, 400),
                _ => (Lane::Transfers, 5_000),
            };
            let (caller, seat) = (callers.len(), ledger.seat(lane, bytes));
            match ledger.ask(seat, || caller) {
                Asked::Granted(seat) => {
                    served += &caller.to_string();
                    callers.push((seat, None, true));
                }
                Asked::Waits(number) => callers.push((seat, Some(number), false)),
                Asked::Full => panic!("{steps}: full"),
            }
        }
        while let Some((seat, caller)) = ledger.next() {
            callers[caller] = (seat, None, true);
            served += &caller.to_string();
        }
        let running = ledger.taken(Share::Questions).0 + ledger.taken(Share::Transfers).0;
        assert!(running <= children_max, "{steps}: {running} children");
        assert!(ledger.taken(Share::Transfers).1 <= 700, "{steps}: too much memory");
    }
    assert_eq!(served, expected, "{children_max} children: {steps}");
}

#[test]
fn who_is_served_and_who_waits() {
    // One child: whoever comes first.
    check(1, "qtf 0 2 1", "021");
    // Of two, one for each share; a further question takes what is free.
    check(2, "ttq 0 1", "021");
    check(2, "qf", "01");
    // Of four, one is for further questions, and one for whichever share the other two are not.
    check(4, "ttt q f 0", "01342");
    check(4, "qqq t f 0", "01342");
    // Turn by turn between the shares, in order within each.
    check(4, "ttq tqtq 0 1 2 3", "0124365");
    // Memory is counted: the second large one waits, and those who are not small wait behind it.
    check(9, "TTm q 0", "0312");
    // What is larger than everything leaves a quarter; the second of its kind waits for the first.
    check(9, "sBm B 1", "0123");
    // Whoever leaves makes room for those behind.
    check(9, "TBm 1", "02");
}

#[test]
fn small_ones_pass_a_front_that_does_not_fit() {
    check(9, "TTt q 0", "0231");
    check(9, "BBs 0", "021");
    // No more of them than leave the front its room: it is served while they all run.
    check(20, "BBsssss 0", "023451");
    check(20, "TTsssss 0", "0234516");
    // In order among themselves, as they come and as they go.
    check(20, "TTsssss t 2", "0234567");
    // Where it is a place that the front lacks, nobody passes.
    check(2, "tsq s 0", "021");
    // The front comes first, also before those who would pass it.
    check(9, "TTmss 0 s", "034125");
}

/// Goal: a front is served after those who ran before it, however many small ones keep coming.
#[test]
fn a_front_gets_its_turn_among_small_ones() {
    let mut ledger = Ledger::new(Budget { children_max: 40, memory_bytes_max: 800 });
    let (large, small) = (ledger.seat(Lane::Transfers, 5_000), ledger.seat(Lane::Transfers, 40));
    let Asked::Granted(first) = ledger.ask(large, || "first") else { panic!("no room at first") };
    assert!(matches!(ledger.ask(large, || "front"), Asked::Waits(_)));
    let mut passing = VecDeque::new();
    for round in 0..1_000 {
        match ledger.ask(small, || "small") {
            Asked::Granted(seat) => passing.push_back(seat),
            Asked::Waits(_) | Asked::Full => panic!("round {round}: a small one waits"),
        }
        if passing.len() == 4 {
            ledger.give_back(passing.pop_front().unwrap());
            assert_eq!(ledger.next(), None, "round {round}");
        }
    }
    ledger.give_back(first);
    assert_eq!(ledger.next().map(|(_, caller)| caller), Some("front"));
}

#[test]
fn queues_are_bounded_each_for_itself() {
    let mut ledger = Ledger::new(Budget { children_max: 1, memory_bytes_max: 800 });
    let transfer = ledger.seat(Lane::Transfers, 1);
    assert!(matches!(ledger.ask(transfer, || ()), Asked::Granted(_)));
    for _ in 0..LANE_CALLERS_MAX {
        assert!(matches!(ledger.ask(transfer, || ()), Asked::Waits(_)));
    }
    assert_eq!(ledger.ask(transfer, || ()), Asked::Full);
    let question = ledger.seat(Lane::Questions, 1);
    assert!(matches!(ledger.ask(question, || ()), Asked::Waits(_)));
}

/// Goal: no order of events loses a place, takes too much, or leaves somebody waiting for nothing.
#[test]
fn random_lives() {
    let seed: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut state = seed;
    let mut below = |most: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    for round in 0..300 {
        let budget =
            Budget { children_max: 1 + below(20) as usize, memory_bytes_max: 8 + below(2_000) };
        let mut ledger = Ledger::new(budget);
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            let lane = [Lane::Further, Lane::Questions, Lane::Transfers][below(3) as usize];
            match below(5) {
                0..=2 => {
                    let seat = ledger.seat(lane, below(1_500));
                    match ledger.ask(seat, || seat) {
                        Asked::Granted(seat) => running.push(seat),
                        Asked::Waits(number) => waiting.push((lane, number)),
                        Asked::Full => {}
                    }
                }
                3 if !running.is_empty() => {
                    let at = below(running.len() as u64) as usize;
                    ledger.give_back(running.swap_remove(at));
                }
                _ if !waiting.is_empty() => {
                    let (lane, number) = waiting.swap_remove(below(waiting.len() as u64) as usize);
                    ledger.leave(lane, number);
                }
                _ => {}
            }
            while let Some((seat, _)) = ledger.next() {
                running.push(seat);
            }
            let what = format!("seed {seed} round {round} {budget:?}");
            assert!(running.len() <= budget.children_max, "{what}");
            let counted: usize = [Share::Questions, Share::Transfers]
                .iter()
                .map(|share| ledger.taken(*share).0)
                .sum();
            assert_eq!(counted, running.len(), "{what}");
            let bytes = ledger.taken(Share::Transfers).1;
            let share = budget.memory_bytes_of(Share::Transfers);
            assert!(bytes <= share, "{what}");
            let passing = running
                .iter()
                .filter(|seat: &&Seat| seat.lane == Lane::Transfers && seat.has_overtaken);
            let passing: u64 = passing.map(|seat| seat.memory_bytes).sum();
            let front = ledger.lane(Lane::Transfers).waiting.front();
            let front = front.map_or(0, |waiting| waiting.seat.memory_bytes);
            assert!(passing + front <= share, "{what}: {passing} stand in the way of {front}");
        }
        while let Some(seat) = running.pop() {
            ledger.give_back(seat);
            while let Some((seat, _)) = ledger.next() {
                running.push(seat);
            }
        }
        let left = ledger.lanes.iter().map(|lane| lane.waiting.len()).sum::<usize>();
        assert!(
            ledger.is_idle() && left == 0,
            "seed {seed} round {round}: {left} wait for nothing"
        );
    }
}
