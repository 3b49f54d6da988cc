//! What the making of packs cost, and what was saved by making them once.
//!
//! Always true: a pack that is kept and was made by this process has its cost here until it is
//! evicted, up to `COSTS_MAX` of them. Packs of earlier runs have none: what they save is not
//! counted.
//! Never here: what sending costs.

use gitring_streamcache::Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// As many as packs are kept; 60 bytes each.
const COSTS_MAX: usize = 100_000;

/// What making a pack cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Who made it: `child` is `git pack-objects`.
    pub builder: &'static str,
    /// CPU time of the builder.
    pub cpu: Duration,
}

/// What a pack cost, or saved, whoever was served it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bill {
    /// It was made for this client.
    Spent(Cost),
    /// It was made for somebody else.
    Saved(Cost),
}

/// Costs by key; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Costs {
    known: Arc<Mutex<HashMap<Key, Cost>>>,
}

// === impl Bill ===

impl Bill {
    /// What making the pack cost, for whomever.
    pub fn cost(&self) -> Cost {
        match self {
            Self::Spent(cost) | Self::Saved(cost) => *cost,
        }
    }

    /// CPU time that was taken for this client.
    pub fn spent(&self) -> Option<Duration> {
        match self {
            Self::Spent(cost) => Some(cost.cpu),
            Self::Saved(_) => None,
        }
    }

    /// CPU time that this client would have taken.
    pub fn saved(&self) -> Option<Duration> {
        match self {
            Self::Saved(cost) => Some(cost.cpu),
            Self::Spent(_) => None,
        }
    }
}

// === impl Costs ===

impl Costs {
    pub(super) fn put(&self, key: Key, cost: Cost) {
        let mut known = self.lock();
        if known.len() < COSTS_MAX {
            known.insert(key, cost);
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Cost> {
        self.lock().get(key).copied()
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Cost>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
