//! One seed: a machine, its users, and what goes wrong.
//!
//! Always true: the seed alone decides everything.
//! Never here: what must hold.

use crate::chaos::Chaos;
use crate::clients::{Effort, Temper};
use crate::executor::{ProcessId, Spawn};
use crate::model::Seen;
use crate::rng::Rng;
use crate::world::World;
use gitring_streamcache::{Key, Limits};
use std::time::Duration;

/// Far more than a seed's virtual time.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// What a seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    pub(crate) keys: u64,
    pub(crate) clients: u64,
    pub(crate) arrive_within: Duration,
    pub(crate) second_process: bool,
    pub(crate) chaos: Chaos,
}

/// What a seed came to: to compare runs and to count what was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) seen: Seen,
    pub(crate) trace: u64,
    pub(crate) steps: u64,
}

pub(crate) fn key(number: u64) -> Key {
    let mut digest = [0; 32];
    let mut rng = Rng::new(number);
    digest.chunks_mut(8).for_each(|word| word.copy_from_slice(&rng.next().to_le_bytes()));
    Key::new(digest)
}

/// Limits under which nothing is ever refused.
pub(crate) fn roomy() -> Limits {
    Limits {
        store: true,
        bytes_max: 1 << 30,
        entries_max: 1_000,
        age_max: FOR_EVER,
        min_occurrences: 0,
        free_bytes_min: 0,
        window_bytes: 1 << 14,
        memory_bytes_max: 1 << 30,
        backpressure: true,
        stall_max: Duration::from_secs(30),
    }
}

/// Runs one seed; panics where something does not hold.
pub(crate) fn run(seed: u64) -> Report {
    let world = World::new(seed);
    let plan = Plan::random(&mut world.rng());
    let guard = Leak(world);
    let world = &guard.0;
    play(world, &plan);
    world.run();
    world.settle();
    if !plan.chaos.tampers() {
        world.check_rest();
    }
    if plan.chaos.tampers() {
        // Who finds a file cut says so, and the next one gets another.
        world.ask_for_everything(&plan, false);
    }
    world.ask_for_everything(&plan, true);
    world.settle();
    world.check_rest();
    world.survives_a_restart(&plan);
    let seen = world.model.state().seen;
    Report { seen, trace: world.executor.trace(), steps: world.executor.steps() }
}

/// After a panic nothing is dropped: what it left half done could panic again.
struct Leak(World);

// === impl Leak ===

impl Drop for Leak {
    fn drop(&mut self) {
        match std::thread::panicking() {
            true => std::mem::forget(self.0.clone()),
            false => self.0.executor.kill_all(),
        }
    }
}

fn play(world: &World, plan: &Plan) {
    let first = world.start(plan.limits);
    let second = plan.second_process.then(|| world.start(plan.limits));
    let mut rng = world.rng();
    for number in 0..plan.clients {
        let process = second.filter(|_| rng.per_mille(400)).unwrap_or(first);
        spawn_client(world, plan, process, number);
    }
    let (chaos, world_of_chaos, plan) = (plan.chaos.clone(), world.clone(), plan.clone());
    let who = Spawn { name: "chaos".to_owned(), process: 0, background: false };
    world.executor.spawn(who, async move { chaos.rage(&world_of_chaos, &plan).await });
}

/// One who comes some time, asks a few times, and goes.
pub(crate) fn spawn_client(world: &World, plan: &Plan, process: ProcessId, number: u64) {
    let (plan, user, mut rng) = (plan.clone(), world.clone(), world.rng());
    let work = async move {
        let arrives = rng.below(plan.arrive_within.as_micros() as u64 + 1);
        user.executor.sleep(Duration::from_micros(arrives)).await;
        for _ in 0..rng.between(1, 3) {
            let key = key(rng.below(plan.keys));
            let (temper, effort) = (Temper::random(&mut rng), Effort::random(&mut rng));
            if let Err(error) = user.get(process, key, &temper, effort).await {
                panic!("nobody is refused: {error}");
            }
        }
    };
    world.spawn_mortal(process, format!("client {number}"), work);
}

// === impl Plan ===

impl Plan {
    fn random(rng: &mut Rng) -> Self {
        let chaos = Chaos::random(rng);
        Self {
            limits: random_limits(rng),
            keys: rng.between(1, 6),
            clients: rng.between(1, 24),
            arrive_within: Duration::from_millis(*rng.pick(&[0, 20, 5_000, 200_000])),
            second_process: rng.per_mille(200),
            chaos,
        }
    }
}

fn random_limits(rng: &mut Rng) -> Limits {
    let window_bytes = *rng.pick(&[100, 1_000, 1 << 12, 1 << 14, 1 << 20]);
    Limits {
        store: !rng.per_mille(100),
        bytes_max: *rng.pick(&[0, 5_000, 40_000, 150_000, 1 << 30, 1 << 30, 1 << 30]),
        entries_max: *rng.pick(&[0, 1, 3, 1_000, 1_000, 1_000]),
        age_max: *rng.pick(&[Duration::from_secs(60), FOR_EVER, FOR_EVER]),
        min_occurrences: *rng.pick(&[0, 0, 0, 1, 2]),
        free_bytes_min: *rng.pick(&[0, 0, 10_000]),
        window_bytes,
        memory_bytes_max: *rng.pick(&[0, 3_000, 100_000, 1 << 30]),
        backpressure: true,
        stall_max: Duration::from_millis(*rng.pick(&[1_000, 10_000, 60_000])),
    }
}

// === impl World ===

impl World {
    /// Once nothing is wrong any more, everybody gets everything.
    fn ask_for_everything(&self, plan: &Plan, all_of_it: bool) {
        self.volume.heal();
        for process in self.processes() {
            for number in 0..plan.keys {
                let (user, key) = (self.clone(), key(number));
                self.spawn_mortal(process, format!("late client of {key}"), async move {
                    let effort = Effort::finish(20_000);
                    let got = user.get(process, key, &Temper::fast(), effort).await;
                    let got = got.expect("nobody is refused");
                    assert!(got.whole || !all_of_it, "{got:?} from a disk that works");
                });
            }
        }
        self.run();
    }

    /// What lies whole on the disk when all processes die is served by the next one.
    fn survives_a_restart(&self, plan: &Plan) {
        self.processes().into_iter().for_each(|process| self.crash(process));
        let process = self.start(plan.limits);
        let survivors = self.survivors();
        self.settle();
        let fits = plan.limits.bytes_max == 1 << 30 && plan.limits.entries_max == 1_000;
        if !fits || !plan.limits.store || plan.limits.age_max != FOR_EVER {
            return;
        }
        for key in survivors {
            let user = self.clone();
            self.spawn_mortal(process, format!("heir of {key}"), async move {
                let got = user.get(process, key, &Temper::fast(), Effort::finish(10)).await;
                let got = got.expect("nobody is refused");
                let hit = got.lookup == gitring_streamcache::Lookup::Hit;
                assert!(hit && got.whole, "{got:?} of {key}, which was whole on disk");
            });
        }
        self.run();
    }
}
