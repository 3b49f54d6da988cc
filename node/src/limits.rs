//! Limits: who may do how much at once, who waits for it in which order, who is refused.
//!
//! ```text
//!   a call ──► MethodLimit   (each method and repository: rate, then concurrency)
//!   a Lead ──► PackLimits    (packs of an address, packs of the node)
//!                 └──► Gate: a lock around ──► Limiter, Turns: the rules, without time and I/O
//! ```
//!
//! Always true:
//! - every queue is bounded, and fair: round robin over clients, first come first served within one;
//! - whoever waits costs nothing but its place;
//! - all limits can be changed while calls are in and wait.
//!
//! Never here: what refusals look like on the wire; which calls wait for their turn (`rpc`).

mod buckets;
mod claim;
mod costs;
mod crowd;
mod drain;
mod gate;
mod gates;
mod limiter;
mod methods;
mod metrics;
mod packs;
mod permit;
mod requester;
mod settings;
mod turns;

pub use self::buckets::Rate;
pub use self::claim::{Claim, Name, Reason, Refusal};
pub use self::costs::Work;
pub use self::crowd::{Crowd, Member, Place};
pub use self::gate::Load;
pub use self::gates::{Adjustable, Queue};
pub use self::limiter::ClientLoad;
pub use self::methods::{Admission, Caller, MethodLimit, Passage, Rejection, repository_key};
pub use self::packs::{PackLimits, PackTurn};
pub use self::permit::PackPermit;
pub use self::requester::{Known, Requester};
pub use self::settings::{
    BUILDING_QUEUE_DEFAULT, BUILDING_WAIT_DEFAULT, Concurrency, Limit, LimitsConfig,
    MethodConcurrency, MethodRate, PACKS_OF_ADDRESS_DEFAULT, PACKS_QUEUE_OF_ADDRESS_DEFAULT,
    QUEUE_DEFAULT,
};

use self::buckets::Buckets;
use self::gate::Gate;
use self::gates::Gates;
use self::methods::{ByPath, Parts};
use self::metrics::{MethodMetrics, PackMetrics};
use self::packs::Lines;
use arc_swap::ArcSwap;
use prometheus::Registry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Clients of each limit that a snapshot names.
const TOP_CLIENTS: usize = 10;
/// What Gitaly calls the limit of packs of an address.
const PACKS: &str = "packObjects";
/// And ours, of the node, and of packs that are quickly built.
const BUILDING: &str = "packBuilding";
const QUICK: &str = "packBuildingQuick";

/// All limits of a process. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gates: Gates,
    methods: ArcSwap<ByPath>,
    packs: PackLimits,
    buckets: Mutex<HashMap<String, Arc<Mutex<Buckets>>>>,
    metrics: MethodMetrics,
}

// === impl Limits ===

impl Limits {
    /// The limits that `config` wants.
    pub fn new(config: &LimitsConfig, registry: &Registry) -> Self {
        let packs = PackLimits::new(Lines::default(), PackMetrics::register(registry));
        let this = Self(Arc::new(Shared {
            gates: Gates::default(),
            methods: ArcSwap::default(),
            packs,
            buckets: Mutex::default(),
            metrics: MethodMetrics::register(registry),
        }));
        this.reload(config);
        this
    }

    /// Other limits from now on. Whoever is in stays in, whoever waits keeps its place; there is
    /// no moment without limits.
    pub fn reload(&self, config: &LimitsConfig) {
        let shared = &self.0;
        // Held throughout: of two changes at once one comes after the other.
        let mut buckets = shared.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = vec![
            (BUILDING.to_owned(), config.building),
            (QUICK.to_owned(), config.building.for_quick_packs()),
        ];
        let mut want = |name: String, concurrency: Option<Concurrency>| {
            concurrency.map(|concurrency| {
                wanted.push((name, concurrency));
                wanted.len() - 1
            })
        };
        let packs = want(PACKS.to_owned(), config.packs_of_address);
        let anonymous = format!("{PACKS}-unauthenticated");
        let anonymous = want(anonymous, config.packs_of_address_anonymous);
        let tables: Vec<_> = config
            .concurrency
            .iter()
            .map(|table| {
                let name = format!("perRPC{}", table.rpc);
                let anonymous = want(format!("{name}-unauthenticated"), table.anonymous);
                (want(name, table.limit), anonymous)
            })
            .collect();
        let set = shared.gates.set(&wanted);
        let gate = |at: Option<usize>| -> Option<Arc<Gate>> { set.get(at?).cloned() };
        let (node, quick) = (gate(Some(0)), gate(Some(1)));
        let (address, anonymous) = (gate(packs), gate(anonymous));
        shared.packs.set(Lines { address, anonymous, node, quick });
        let gates: Vec<_> =
            tables.into_iter().map(|(named, nameless)| (gate(named), gate(nameless))).collect();
        let parts = Parts { metrics: &shared.metrics, gates: &gates, buckets: &mut buckets };
        shared.methods.store(Arc::new(methods::by_path(config, parts)));
    }

    /// The limits of the method with this path, if it has any.
    pub fn method(&self, path: &str) -> Option<Arc<MethodLimit>> {
        self.0.methods.load().get(path).cloned()
    }

    /// Those of packs.
    pub fn packs(&self) -> &PackLimits {
        &self.0.packs
    }

    /// Those that move with the load of the machine, as they are now. After a [`Self::reload`] there
    /// may be others.
    pub fn adjustable(&self) -> Vec<Adjustable> {
        self.0.gates.adjustable()
    }

    /// How every limit is used, for people to look at.
    pub fn snapshot(&self) -> Vec<Queue> {
        self.0.gates.loads(TOP_CLIENTS)
    }
}

#[cfg(test)]
mod tests;
