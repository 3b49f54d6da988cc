//! What the cache was made for, one case a test, in the simulated world.
//!
//! Always true: each case holds for many seeds of scheduler and disk.
//! Never here: accidents that a case does not name.

use crate::clients::{Effort, Ending, Outcome, Temper};
use crate::disk::Faults;
use crate::executor::ProcessId;
use crate::scenario::{key, roomy};
use crate::world::World;
use gitring_streamcache::{Index, Limits, Lookup};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Outcomes = Rc<RefCell<Vec<Outcome>>>;

fn each_seed(seeds: u64, case: impl Fn(&World)) {
    for seed in 0..seeds {
        println!("seed {seed}");
        let world = World::new(seed);
        case(&world);
        world.executor.kill_all();
    }
}

/// One client a temper, all at once; what they come away with.
fn herd(world: &World, process: ProcessId, tempers: &[Temper], effort: &Effort) -> Outcomes {
    let outcomes = Outcomes::default();
    for (number, temper) in tempers.iter().cloned().enumerate() {
        let (user, effort, outcomes) = (world.clone(), effort.clone(), Rc::clone(&outcomes));
        world.spawn_mortal(process, format!("client {number}"), async move {
            let outcome = user.get(process, key(0), &temper, effort).await;
            outcomes.borrow_mut().push(outcome.expect("nobody is refused"));
        });
    }
    outcomes
}

fn slow_disk(max: Duration) -> Faults {
    Faults { slow: 500, slow_max: max, ..Faults::default() }
}

/// Goal: a burst of 500 on an empty cache makes one pack, kept or not.
#[test]
fn a_burst_runs_one_producer() {
    fn check(limits: Limits, kept: usize) {
        each_seed(4, |world| {
            world.volume.set_faults(slow_disk(Duration::from_millis(5)));
            let process = world.start(limits);
            let got = herd(world, process, &vec![Temper::fast(); 500], &Effort::finish(50_000));
            world.run();
            assert!(got.borrow().iter().all(|outcome| outcome.whole));
            assert_eq!(world.model.state().seen.leads, 1);
            world.settle();
            assert_eq!(world.index(process).entries(), kept);
            world.check_rest();
        });
    }
    check(roomy(), 1);
    check(Limits { store: false, ..roomy() }, 0);
    check(Limits { min_occurrences: 1, ..roomy() }, 0);
    check(Limits { window_bytes: 1_000, ..roomy() }, 1);
}

/// Goal: a disk that becomes full in the middle of a herd fails nobody, and keeps nothing.
#[test]
fn a_full_disk_fails_nobody() {
    each_seed(40, |world| {
        world.volume.set_faults(slow_disk(Duration::from_millis(5)));
        world.volume.set_capacity(30_000);
        let process = world.start(roomy());
        let got = herd(world, process, &vec![Temper::fast(); 30], &Effort::finish(60_000));
        world.run();
        assert!(got.borrow().iter().all(|outcome| outcome.whole));
        assert!(world.model.state().seen.in_memory >= 1, "the disk was full");
        world.settle();
        world.check_rest();
        assert_eq!(world.index(process).entries(), 0);
    });
}

/// Goal: who holds up a stream in memory is sent away in time; the others get all of it.
#[test]
fn who_holds_up_memory_is_sent_away() {
    each_seed(20, |world| {
        let limits = Limits { stall_max: 10 * SECOND, window_bytes: 5_000, ..roomy() };
        world.volume.set_faults(Faults { write_error: 1000, ..Faults::default() });
        let process = world.start(limits);
        let stuck = Temper {
            pauses: 1000,
            pause_max: Duration::from_secs(1 << 10),
            read_bytes_max: 500,
            ..Temper::fast()
        };
        let mut tempers = vec![Temper::fast(); 10];
        tempers.push(stuck);
        let got = herd(world, process, &tempers, &Effort::finish(40_000));
        let (clock, state) = (world.executor.clone(), Rc::clone(&got));
        world.spawn_mortal(process, "judge".to_owned(), async move {
            clock.sleep(200 * SECOND).await;
            let whole = state.borrow().iter().filter(|outcome| outcome.whole).count();
            assert!(whole >= 10, "{whole} of 10 are through");
        });
        world.run();
    });
}

/// Goal: kill -9 in the middle of one stream loses that one and nothing else.
#[test]
fn a_crash_keeps_what_was_finished() {
    each_seed(40, |world| {
        world.volume.set_faults(slow_disk(Duration::from_millis(5)));
        let process = world.start(roomy());
        herd(world, process, &[Temper::fast()], &Effort::finish(30_000));
        world.run();
        let slow = Effort { pauses: 1000, pause_max: SECOND, ..Effort::finish(1 << 20) };
        let user = world.clone();
        world.spawn_mortal(process, "half-way".to_owned(), async move {
            let _ = user.get(process, key(1), &Temper::fast(), slow).await;
        });
        let (user, outcomes) = (world.clone(), Outcomes::default());
        let seen = Rc::clone(&outcomes);
        let name = "reaper".to_owned();
        world.spawn_mortal(0, name, async move {
            user.executor.sleep(Duration::from_millis(1 + user.rng().below(10_000))).await;
            user.crash(process);
            let heir = user.start(roomy());
            user.executor.sleep(60 * SECOND).await;
            for number in 0..2 {
                let effort = Effort::finish(20_000);
                let outcome = user.get(heir, key(number), &Temper::fast(), effort).await;
                seen.borrow_mut().push(outcome.expect("nobody is refused"));
            }
        });
        world.run();
        let looks: Vec<_> = outcomes.borrow().iter().map(|got| (got.lookup, got.whole)).collect();
        assert_eq!(looks, [(Lookup::Hit, true), (Lookup::Lead, true)]);
        world.settle();
        world.check_rest();
    });
}

/// Goal: two processes over one directory do not disturb each other, and the living inherits.
#[test]
fn the_living_process_inherits() {
    each_seed(40, |world| {
        world.volume.set_faults(slow_disk(Duration::from_millis(5)));
        let (first, second) = (world.start(roomy()), world.start(roomy()));
        for process in [first, second] {
            herd(world, process, &vec![Temper::fast(); 5], &Effort::finish(30_000));
        }
        let user = world.clone();
        world.spawn_mortal(first, "another key".to_owned(), async move {
            let got = user.get(first, key(1), &Temper::fast(), Effort::finish(9_000)).await;
            assert!(got.expect("nobody is refused").whole);
        });
        world.run();
        assert_eq!(world.model.state().seen.leads, 3, "each makes its own");
        world.settle();
        world.check_rest();
        world.crash(first);
        world.settle();
        world.check_rest();
        let user = world.clone();
        world.spawn_mortal(second, "heir".to_owned(), async move {
            for number in 0..2 {
                let effort = Effort::finish(1);
                let got = user.get(second, key(number), &Temper::fast(), effort).await;
                let got = got.expect("nobody is refused");
                assert_eq!((got.lookup, got.whole), (Lookup::Hit, true), "key {number}");
            }
        });
        world.run();
    });
}

/// Goal: torn files are never served. Method: power is lost right after streams were finished.
#[test]
fn torn_streams_are_made_again() {
    let (mut hits, mut leads) = (0, 0);
    let sums = RefCell::new((&mut hits, &mut leads));
    each_seed(150, |world| {
        let process = world.start(roomy());
        let got = herd(world, process, &[Temper::fast()], &Effort::finish(30_000));
        world.run();
        assert!(got.borrow()[0].whole);
        world.lose_power();
        let heir = world.start(roomy());
        world.settle();
        let got = herd(world, heir, &[Temper::fast()], &Effort::finish(30_000));
        world.run();
        let outcome = got.borrow()[0];
        assert!(outcome.whole);
        let mut sums = sums.borrow_mut();
        *(if outcome.lookup == Lookup::Hit { &mut *sums.0 } else { &mut *sums.1 }) += 1;
    });
    assert!(hits > 10 && leads > 10, "{hits} survived, {leads} did not");
}

/// Goal: slow readers slow nobody. Method: the same herd with and without them, every operation
/// taking the same time; the fast ones need as long.
#[test]
fn slow_readers_slow_nobody() {
    fn fast_took(slow: usize, hit: bool) -> Duration {
        let world = World::new(7);
        let process = world.start(roomy());
        let effort = Effort { pauses: 1000, pause_max: SECOND, ..Effort::finish(100_000) };
        if hit {
            herd(&world, process, &[Temper::fast()], &effort);
            world.run();
        }
        world.volume.set_faults(Faults::default());
        let slowly = Temper { pauses: 1000, pause_max: 600 * SECOND, ..Temper::fast() };
        let fast = herd(&world, process, &vec![Temper::fast(); 3], &effort);
        herd(&world, process, &vec![slowly; slow], &effort);
        world.run();
        world.executor.kill_all();
        assert!(fast.borrow().iter().all(|outcome| outcome.whole));
        fast.borrow().iter().map(|outcome| outcome.took).max().unwrap_or_default()
    }
    // Who leads may differ, and with it the producer's pauses: a second each, some 60 of them.
    let (alone, among_slow) = (fast_took(0, false), fast_took(20, false));
    assert!(among_slow <= 2 * alone + 10 * SECOND, "{alone:?} alone, {among_slow:?} among slow");
    assert_eq!(fast_took(20, true), Duration::ZERO, "a hit waits for nobody");
}

/// Goal: the last reader to leave stops the producer, whatever it waits for.
#[test]
fn the_last_reader_stops_the_producer() {
    each_seed(20, |world| {
        world.volume.set_faults(slow_disk(Duration::from_millis(5)));
        let process = world.start(roomy());
        let begun = world.executor.now();
        let effort = Effort { ending: Ending::Hang(10_000), ..Effort::finish(20_000) };
        let leaves = Temper { leaves_after: Some(10_000), ..Temper::fast() };
        herd(world, process, &vec![leaves; 5], &effort);
        world.run();
        let took = world.executor.now() - begun;
        assert!(took < 10 * SECOND, "the producer was held for {took:?}");
        world.settle();
        world.check_rest();
    });
}

/// Goal: unread bytes are booked until they are gone. Method: evict what somebody still reads.
#[test]
fn evicted_bytes_count_until_their_readers_leave() {
    each_seed(20, |world| {
        let limits = Limits { entries_max: 1, ..roomy() };
        let process = world.start(limits);
        let index: Arc<Index<_>> = world.index(process);
        let lingers = Temper { lingers: 100 * SECOND, ..Temper::fast() };
        herd(world, process, &[lingers], &Effort::finish(50_000));
        let user = world.clone();
        world.spawn_mortal(process, "evictor".to_owned(), async move {
            user.executor.sleep(10 * SECOND).await;
            let got = user.get(process, key(1), &Temper::fast(), Effort::finish(1_000)).await;
            assert!(got.expect("nobody is refused").whole);
            user.executor.sleep(30 * SECOND).await;
            assert!(index.bytes() > 51_000, "{} bytes while it is read", index.bytes());
            user.executor.sleep(100 * SECOND).await;
            assert!(index.bytes() < 10_000, "{} bytes later", index.bytes());
        });
        world.run();
        world.settle();
        world.check_rest();
    });
}
