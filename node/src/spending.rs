//! Which repositories cost what, lately: the heaviest of the last minute and of the last hour.
//!
//! ```text
//!   a call ends ──► its thread's shard ──► the present slot of each window
//!   somebody looks ──► slots and shards summed, the heaviest first
//! ```
//!
//! What a call costs is estimated as CPU time: what its git children took, and for what the node
//! does itself a price a call and a price a byte.
//!
//! Always true:
//! - memory has an end, whatever clients call their repositories;
//! - a call takes one short lock, which threads share by eighths.
//!
//! Never here: who asked.

mod sketch;
mod window;

pub use self::sketch::Spent;

use self::sketch::Named;
use self::window::Window;
use std::cmp::Reverse;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks that threads are spread over.
const SHARDS: usize = 8;
/// What a call costs the node besides children and bytes; perf/results has 0.02 to 0.4 ms.
const CALL_COST: Duration = Duration::from_micros(100);
/// What sending a GiB costs; perf/results has 0.15 to 0.19 CPU s.
const GIB_COST: Duration = Duration::from_millis(170);

/// The accounts of a node; clones share them.
#[derive(Debug, Clone)]
pub struct Spending {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shards: [Mutex<Shard>; SHARDS],
    /// Seeded, so that nobody can choose names that collide.
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard {
    minute: Window,
    hour: Window,
}

/// How far back a question looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The last 60 to 70 seconds.
    Minute,
    /// The last 60 to 65 minutes.
    Hour,
}

/// One call that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// Where the repository is.
    pub storage: &'a str,
    /// The repository.
    pub path: &'a str,
    /// CPU time of git children.
    pub children: Duration,
    /// Sent to the client.
    pub bytes: u64,
}

/// A repository and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Where it is.
    pub storage: String,
    /// Its path there, cut where it is very long.
    pub path: String,
    /// What it cost.
    pub spent: Spent,
}

// === impl Spending ===

impl Spending {
    /// Nothing was spent yet.
    pub fn new() -> Self {
        let now = Instant::now();
        let shard = |_| {
            let minute = Window::new(now, Duration::from_secs(10), 6);
            let hour = Window::new(now, Duration::from_secs(300), 12);
            Mutex::new(Shard { minute, hour })
        };
        let hasher = RandomState::new();
        Self { shared: Arc::new(Shared { shards: std::array::from_fn(shard), hasher }) }
    }

    /// Charges a repository with a call.
    pub fn charge(&self, charge: &Charge<'_>) {
        let now = Instant::now();
        let bytes_cost = (GIB_COST.as_nanos() * u128::from(charge.bytes)) >> 30;
        let bytes_cost = Duration::from_nanos(u64::try_from(bytes_cost).unwrap_or(u64::MAX));
        let cost = CALL_COST + bytes_cost + charge.children;
        let spent = Spent {
            cost_us: u64::try_from(cost.as_micros()).unwrap_or(u64::MAX),
            children_us: u64::try_from(charge.children.as_micros()).unwrap_or(u64::MAX),
            calls: 1,
            bytes: charge.bytes,
        };
        let digest = self.shared.hasher.hash_one((charge.storage, charge.path));
        let named = Named { digest, storage: charge.storage, path: charge.path };
        let mut shard = self.shared.lock(shard_of_this_thread());
        shard.minute.add(now, named, spent);
        shard.hour.add(now, named, spent);
    }

    /// The `count` heaviest repositories, the heaviest first.
    pub fn heaviest(&self, span: Span, count: usize) -> Vec<Account> {
        let now = Instant::now();
        let mut all = sketch::Sums::default();
        for at in 0..SHARDS {
            let mut shard = self.shared.lock(at);
            let Shard { minute, hour } = &mut *shard;
            match span {
                Span::Minute => minute.sum_into(now, &mut all),
                Span::Hour => hour.sum_into(now, &mut all),
            }
        }
        let mut all: Vec<Account> = all.into_values().collect();
        all.sort_by_key(|account| Reverse(account.spent.cost_us));
        all.truncate(count);
        all
    }
}

impl Default for Spending {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self, at: usize) -> MutexGuard<'_, Shard> {
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads are numbered as they first ask.
fn shard_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

#[cfg(test)]
mod tests;
