//! What goes wrong, and when.
//!
//! Always true: it ends, and then nothing more goes wrong.
//! Never here: errors of a single operation; the disk rolls those.

use crate::checks::{HEADER_BYTES, is_lock};
use crate::disk::Faults;
use crate::executor::ProcessId;
use crate::model::CLOCK_ERROR_MAX;
use crate::rng::Rng;
use crate::scenario::{Plan, spawn_client};
use crate::trace::trace;
use crate::world::{DIRECTORY, World};
use std::path::Path;
use std::time::Duration;

/// What may go wrong in one seed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chaos {
    actions: u64,
    pause_max: Duration,
    /// From the first moment on.
    faults: Faults,
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A client or producer is dropped.
    Kill,
    /// The disk begins to fail, or to work.
    Faults,
    /// The disk becomes full, or empty.
    Capacity,
    /// kill -9 and a new process.
    Crash,
    PowerLoss,
    /// A file is removed by hand.
    Remove,
    /// A file is cut by hand.
    Truncate,
    /// The directory is removed by hand.
    RemoveAll,
    /// All processes die, a file decays, and a new process starts.
    Decay,
    ClockJump,
    /// Packs that leads have adopted lose their names.
    Repack,
}

// === impl Chaos ===

impl Chaos {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        use Kind::{
            Capacity, ClockJump, Crash, Decay, Kill, PowerLoss, Remove, RemoveAll, Repack, Truncate,
        };
        let all = [
            Kind::Faults,
            Kill,
            Capacity,
            Crash,
            PowerLoss,
            Remove,
            Truncate,
            RemoveAll,
            Decay,
            ClockJump,
            Repack,
        ];
        let kinds = match rng.below(8) {
            0 | 1 => Vec::new(),
            2 => vec![Kill, Repack],
            3 => vec![Kill, Crash],
            4 => vec![Kind::Faults, Capacity],
            5 => vec![PowerLoss, Decay],
            6 => (0..3).map(|_| *rng.pick(&all)).collect(),
            _ => all.to_vec(),
        };
        let fails = kinds.contains(&Kind::Faults);
        let faults = match fails && rng.per_mille(300) {
            true => random_faults(rng),
            false => slowness(rng),
        };
        Self {
            actions: if kinds.is_empty() { 0 } else { rng.between(1, 12) },
            pause_max: Duration::from_millis(*rng.pick(&[1, 100, 5_000, 90_000])),
            faults,
            kinds,
        }
    }

    /// Whether somebody changes files of living processes, who hear of it only when they look.
    pub(crate) fn tampers(&self) -> bool {
        let unheard = |kind: &Kind| matches!(kind, Kind::Truncate | Kind::Remove | Kind::RemoveAll);
        self.kinds.iter().any(unheard)
    }

    pub(crate) async fn rage(&self, world: &World, plan: &Plan) {
        let mut rng = world.rng();
        world.volume.set_faults(self.faults.clone());
        for _ in 0..self.actions {
            let micros = rng.skewed(self.pause_max.as_micros() as u64);
            world.executor.sleep(Duration::from_micros(micros)).await;
            let kind = *rng.pick(&self.kinds);
            trace(world.executor.now(), || format!("chaos: {kind:?}"));
            act(kind, world, plan, &mut rng).await;
        }
        world.volume.set_faults(Faults::default());
        world.volume.set_capacity(1 << 40);
    }
}

async fn act(kind: Kind, world: &World, plan: &Plan, rng: &mut Rng) {
    match kind {
        Kind::Kill => world.kill_somebody(),
        Kind::Faults => {
            let faults = if rng.per_mille(500) { random_faults(rng) } else { slowness(rng) };
            world.volume.set_faults(faults);
        }
        Kind::Capacity => {
            let room = *rng.pick(&[0, 100, 10_000, 100_000, 1 << 40]);
            world.volume.set_capacity(world.volume.used_bytes() + room);
        }
        Kind::Crash => {
            let victim = *rng.pick(&world.processes());
            world.crash(victim);
            restart(world, plan, rng).await;
        }
        Kind::PowerLoss => {
            world.lose_power();
            restart(world, plan, rng).await;
        }
        Kind::Decay => {
            world.processes().into_iter().for_each(|process| world.crash(process));
            with_some_file(world, rng, |file, rng| {
                let inode = &world.volume.files()[file];
                if rng.per_mille(500) {
                    world.volume.decay(inode, rng);
                } else {
                    world.volume.truncate(inode, rng);
                }
            });
            restart(world, plan, rng).await;
        }
        Kind::Remove => with_some_file(world, rng, |file, _| world.volume.remove_file(file)),
        Kind::Truncate => with_some_file(world, rng, |file, rng| {
            // One that is being written would grow again, with a hole that nobody can tell from
            // zeros; nobody reads an empty one.
            let stored = file.extension().is_some_and(|extension| extension == "stream");
            let inode = &world.volume.files()[file];
            if stored && inode.bytes().len() > HEADER_BYTES {
                world.volume.truncate(inode, rng);
            }
        }),
        Kind::RemoveAll => world.volume.remove_tree(Path::new(DIRECTORY)),
        Kind::Repack => world.repack(),
        Kind::ClockJump => {
            world.model.state().clock_jumped = true;
            let seconds = rng.skewed(CLOCK_ERROR_MAX.as_secs()) as i64;
            world.volume.set_clock_error(if rng.per_mille(500) { -seconds } else { seconds });
        }
    }
}

/// A new process, and a few who use it.
async fn restart(world: &World, plan: &Plan, rng: &mut Rng) {
    let micros = rng.skewed(60_000_000);
    world.executor.sleep(Duration::from_micros(micros)).await;
    let process: ProcessId = world.start(plan.limits);
    for number in 0..rng.between(1, 6) {
        spawn_client(world, plan, process, 1_000 + number);
    }
}

fn with_some_file(world: &World, rng: &mut Rng, change: impl FnOnce(&Path, &mut Rng)) {
    // Without its lock a directory is anybody's, and that is no accident.
    let files: Vec<_> = world.cache_files().into_iter().filter(|file| !is_lock(file)).collect();
    if !files.is_empty() {
        let file = rng.pick(&files).clone();
        change(&file, rng);
    }
}

fn slowness(rng: &mut Rng) -> Faults {
    Faults {
        slow: *rng.pick(&[0, 20, 300, 1000]),
        slow_max: Duration::from_millis(*rng.pick(&[1, 20, 3_000])),
        ..Faults::default()
    }
}

fn random_faults(rng: &mut Rng) -> Faults {
    let mut chance = || *rng.pick(&[0, 0, 10, 300, 1000]);
    let (write_error, read_error) = (chance(), chance());
    let (open_error, create_error, name_error) = (chance(), chance(), chance());
    Faults {
        write_error,
        write_error_is_full: rng.per_mille(500),
        read_error,
        open_error,
        create_error,
        name_error,
        ..slowness(rng)
    }
}
