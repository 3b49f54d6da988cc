//! The limits of a process by name, so that they outlive a change of settings.
//!
//! Always true: a limit that is taken away lets in everybody who waits under it.
//! Never here: what is limited.

use super::gate::{Gate, Load};
use super::limiter::Settings;
use super::settings::{Concurrency, Limit};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A limit that moves with the load of the machine.
#[derive(Clone)]
pub struct Adjustable {
    /// As Gitaly's label `limit` names it: `perRPC/gitaly.SSHService/SSHUploadPack`, `packObjects`.
    pub name: String,
    /// Where it begins.
    pub initial: usize,
    /// The least it may be.
    pub min: usize,
    /// The most it may be.
    pub max: usize,
    gate: Arc<Gate>,
}

/// One limit and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// As [`Adjustable::name`].
    pub name: String,
    /// That may wait under each key.
    pub queue_max: usize,
    /// How it is used.
    pub load: Load,
}

/// The limits there are.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: Mutex<HashMap<String, (Concurrency, Arc<Gate>)>>,
}

// === impl Gates ===

impl Gates {
    /// The gates of `wanted`, in that order; those of other names are opened and forgotten.
    pub(super) fn set(&self, wanted: &[(String, Concurrency)]) -> Vec<Arc<Gate>> {
        let mut gates = self.lock();
        let before = std::mem::take(&mut *gates);
        let mut set = Vec::with_capacity(wanted.len());
        for (name, concurrency) in wanted {
            let gate = match before.get(name) {
                None => Gate::new(concurrency.settings()),
                Some((earlier, gate)) => {
                    gate.set(changed(*earlier, *concurrency, gate.settings()));
                    Arc::clone(gate)
                }
            };
            gates.insert(name.clone(), (*concurrency, Arc::clone(&gate)));
            set.push(gate);
        }
        for (_, gate) in
            before.iter().filter(|(name, _)| !gates.contains_key(*name)).map(|(_, it)| it)
        {
            gate.set_limit(0);
        }
        set
    }

    /// Those that move with the load, by name.
    pub(super) fn adjustable(&self) -> Vec<Adjustable> {
        let gates = self.lock();
        let mut found: Vec<Adjustable> = gates
            .iter()
            .filter_map(|(name, (concurrency, gate))| match concurrency.limit {
                Limit::Fixed(_) => None,
                Limit::Adaptive { initial, min, max } => Some(Adjustable {
                    name: name.clone(),
                    initial,
                    min,
                    max,
                    gate: Arc::clone(gate),
                }),
            })
            .collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }

    /// All of them by name, each with at most `clients_max` clients.
    pub(super) fn loads(&self, clients_max: usize) -> Vec<Queue> {
        let gates = self.lock();
        let queue = |(name, (concurrency, gate)): (&String, &(Concurrency, Arc<Gate>))| Queue {
            name: name.clone(),
            queue_max: concurrency.queue_max,
            load: gate.load(clients_max),
        };
        let mut loads: Vec<Queue> = gates.iter().map(queue).collect();
        loads.sort_by(|one, other| one.name.cmp(&other.name));
        loads
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Concurrency, Arc<Gate>)>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a limit becomes. Where the file says the same as before, it stays where the load has moved
/// it.
fn changed(earlier: Concurrency, wanted: Concurrency, now: Settings) -> Settings {
    let limit = match (earlier.limit == wanted.limit, wanted.limit) {
        (true, _) => now.limit,
        (false, Limit::Adaptive { min, max, .. }) => now.limit.clamp(min, max),
        (false, Limit::Fixed(limit)) => limit,
    };
    Settings { limit, ..wanted.settings() }
}

// === impl Adjustable ===

impl Adjustable {
    /// What it is now.
    pub fn current(&self) -> usize {
        self.gate.settings().limit
    }

    /// Moves it, within its bounds. Who is in stays in.
    pub fn set_limit(&self, limit: usize) {
        self.gate.set_limit(limit.clamp(self.min, self.max));
    }

    /// How it is used.
    pub fn load(&self) -> Load {
        self.gate.load(0)
    }
}

impl fmt::Debug for Adjustable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, min, max, .. } = self;
        out.debug_struct("Adjustable")
            .field("name", name)
            .field("min", min)
            .field("max", max)
            .finish_non_exhaustive()
    }
}
