//! `[[concurrency]]`, `[[rate_limiting]]`, `[pack_objects_limiting]`, `[pack_building]`: what they say.
//!
//! Always true: no queue is without end, whatever the file says or does not say.

use super::buckets::Rate;
use super::limiter::Settings;
use std::time::Duration;

/// Gitaly's default of `max_queue_size` since 18: 0 and nothing mean this, as there.
pub const QUEUE_DEFAULT: usize = 500;
/// Gitaly's default of `[pack_objects_limiting] max_concurrency`.
pub const PACKS_OF_ADDRESS_DEFAULT: usize = 200;
/// Gitaly's default of `[pack_objects_limiting] max_queue_size` since 18.
pub const PACKS_QUEUE_OF_ADDRESS_DEFAULT: usize = 200;
/// Packs of the node that wait to be built. What one costs while it waits is a connection.
pub const BUILDING_QUEUE_DEFAULT: usize = 1024;
/// For so long. Jobs are tried again, and people give up, at about this time.
pub const BUILDING_WAIT_DEFAULT: Duration = Duration::from_secs(300);
/// Packs built at once for each core: a builder often waits for its disk or its client.
const BUILDING_PER_CORE: usize = 2;
/// And on a machine with few cores.
const BUILDING_MIN: usize = 4;

/// What is limited, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// `[[concurrency]]`.
    pub concurrency: Vec<MethodConcurrency>,
    /// `[[rate_limiting]]`.
    pub rates: Vec<MethodRate>,
    /// `[pack_objects_limiting]`: packs built at once for one address.
    pub packs_of_address: Option<Concurrency>,
    /// The same for those who do not say as whom they ask.
    pub packs_of_address_anonymous: Option<Concurrency>,
    /// `[pack_building]`: packs that the whole node builds at once.
    pub building: Concurrency,
}

/// One table of `[[concurrency]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodConcurrency {
    /// Full name of the method: `/gitaly.SSHService/SSHUploadPack`.
    pub rpc: String,
    /// Of each repository; `None`: not limited.
    pub limit: Option<Concurrency>,
    /// `unauthenticated`: of calls without `username`, which then have a limit of their own.
    pub anonymous: Option<Concurrency>,
}

/// One table of `[[rate_limiting]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodRate {
    /// Full name of the method.
    pub rpc: String,
    /// Of each repository.
    pub rate: Rate,
}

/// How many at once, how many wait, for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// At once.
    pub limit: Limit,
    /// That wait at once.
    pub queue_max: usize,
    /// For so long; `None`: as long as the client does.
    pub wait_max: Option<Duration>,
}

/// A number at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Always the same.
    Fixed(usize),
    /// Moved with the load of the machine, from `initial`, within `min` and `max`.
    Adaptive {
        /// `initial_limit`.
        initial: usize,
        /// `min_limit`.
        min: usize,
        /// `max_limit`.
        max: usize,
    },
}

// === impl LimitsConfig ===

impl LimitsConfig {
    /// What holds without any table, on a machine with so many cores.
    pub fn protective(cores: usize) -> Self {
        let limit = (cores * BUILDING_PER_CORE).max(BUILDING_MIN);
        Self {
            concurrency: Vec::new(),
            rates: Vec::new(),
            packs_of_address: Some(Concurrency {
                limit: Limit::Fixed(PACKS_OF_ADDRESS_DEFAULT),
                queue_max: PACKS_QUEUE_OF_ADDRESS_DEFAULT,
                wait_max: None,
            }),
            packs_of_address_anonymous: None,
            building: Concurrency {
                limit: Limit::Adaptive { initial: limit, min: 1, max: limit },
                queue_max: BUILDING_QUEUE_DEFAULT,
                wait_max: Some(BUILDING_WAIT_DEFAULT),
            },
        }
    }
}

// === impl Concurrency ===

impl Concurrency {
    /// Of packs that are quickly built: a reserve beside this one, half as large.
    pub(super) fn for_quick_packs(self) -> Self {
        let (Limit::Fixed(limit) | Limit::Adaptive { max: limit, .. }) = self.limit;
        Self { limit: Limit::Fixed((limit / 2).max(1)), ..self }
    }

    /// At the beginning.
    pub(super) fn settings(&self) -> Settings {
        let limit = match self.limit {
            Limit::Fixed(limit) | Limit::Adaptive { initial: limit, .. } => limit,
        };
        Settings { limit, queue_max: self.queue_max, wait_max: self.wait_max }
    }
}
