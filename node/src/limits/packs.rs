//! Who may build packs: `[pack_objects_limiting]` for each address, `[pack_building]` for the node.
//!
//! ```text
//!   queue(crowd) ──► line of the address ──► line of the node ──► PackPermit
//! ```
//!
//! Only whoever has a pack built pays; who reads along, or from the cache, does not. As in Gitaly
//! those without an address, or from this machine, have no limit of their own: they take their turns
//! in the line of the node.
//!
//! Packs that are built in a moment do not wait behind those that take minutes: where the node
//! builds as many as it may, there is a reserve for those that were quick lately. A pack that takes
//! longer than was thought leaves the reserve as soon as there is room elsewhere.
//!
//! Never here: how packs are built; what those who wait are told.

use super::claim::{Name, Reason, Refusal};
use super::costs::{Costs, Work};
use super::crowd::{By, Crowd, Stage, State};
use super::drain::WAIT_MIN;
use super::gate::{Entry, Gate, Permit, Turn};
use super::metrics::{Counted, PackMetrics};
use super::permit::PackPermit;
use super::requester::{NODE, Requester};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The limits of packs, shared by all reactors.
#[derive(Debug, Clone)]
pub struct PackLimits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: ArcSwap<Lines>,
    costs: Mutex<Costs>,
    metrics: Option<PackMetrics>,
}

/// The gates that a pack passes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) address: Option<Arc<Gate>>,
    /// For those who do not say as whom they ask, where that makes a difference.
    pub(super) anonymous: Option<Arc<Gate>>,
    pub(super) node: Option<Arc<Gate>>,
    /// The reserve.
    pub(super) quick: Option<Arc<Gate>>,
}

/// A pack on its way to its permit.
#[derive(Debug)]
pub struct PackTurn {
    limits: PackLimits,
    crowd: Arc<Crowd>,
    work: Work,
    address: Option<Permit>,
    next: Next,
    began: Instant,
    _queued: Option<Counted>,
}

#[derive(Debug)]
enum Next {
    Address(Turn),
    Node(Turn),
    In(Option<Permit>),
}

// === impl PackLimits ===

impl PackLimits {
    /// Everybody may build.
    pub fn none() -> Self {
        Self(Arc::new(Shared { lines: ArcSwap::default(), costs: Mutex::default(), metrics: None }))
    }

    pub(super) fn new(lines: Lines, metrics: PackMetrics) -> Self {
        let (lines, costs) = (ArcSwap::from_pointee(lines), Mutex::default());
        Self(Arc::new(Shared { lines, costs, metrics: Some(metrics) }))
    }

    pub(super) fn set(&self, lines: Lines) {
        self.0.lines.store(Arc::new(lines));
    }

    /// For how long one who asks now may wait until its pack is begun; `None`: as long as it likes.
    pub fn patience(&self, requester: &Requester) -> Option<Duration> {
        let lines = self.0.lines.load();
        // Who has no address waits in no line of one.
        let address = lines.of(requester).filter(|_| requester.address.is_some());
        let gates = [address, lines.node.as_ref()];
        gates.into_iter().flatten().filter_map(|gate| gate.settings().wait_max).min()
    }

    /// Asks for a permit for `work` on behalf of all who wait.
    ///
    /// # Errors
    /// Where too many wait already.
    pub fn queue(&self, crowd: &Arc<Crowd>, work: Work) -> Result<PackTurn, Refusal> {
        let lines = self.0.lines.load_full();
        let mut state = crowd.lock();
        let gate = state.first().and_then(|first| lines.of(first)).cloned();
        let mut address = None;
        let next = match gate {
            None => self.ask_node(&mut state, &work)?,
            Some(gate) => {
                let claims = state.claims(By::Address);
                match gate.ask(&claims).map_err(|refusal| self.refused(own_share(refusal)))? {
                    Entry::In(permit) => {
                        address = Some(permit);
                        self.ask_node(&mut state, &work)?
                    }
                    Entry::Queued(turn) => {
                        let ticket = turn.ticket();
                        state.stage = Stage::Queued { gate, ticket, by: By::Address };
                        Next::Address(turn)
                    }
                }
            }
        };
        drop(state);
        let metrics = self.0.metrics.as_ref();
        let queued = metrics.filter(|_| !matches!(next, Next::In(_)));
        Ok(PackTurn {
            limits: self.clone(),
            crowd: Arc::clone(crowd),
            work,
            address,
            next,
            began: Instant::now(),
            _queued: queued.map(|metrics| Counted::among(std::slice::from_ref(&metrics.queued))),
        })
    }

    /// One has waited for its pack to be begun for as long as it may.
    pub fn too_late(&self, requester: &Requester) -> Refusal {
        let lines = self.0.lines.load();
        let gate = lines.node.as_ref().or(lines.of(requester));
        let refusal = match gate {
            Some(gate) => gate.too_late(&Name::new(NODE)),
            None => {
                let retry_after = WAIT_MIN;
                Refusal { reason: Reason::Time, retry_after, is_own_share: false }
            }
        };
        self.refused(refusal)
    }

    /// In the line of the node, or for quick packs in that of the reserve.
    fn ask_node(&self, state: &mut State, work: &Work) -> Result<Next, Refusal> {
        let lines = self.0.lines.load();
        let Some(node) = lines.node.as_ref() else {
            state.stage = Stage::Begun;
            return Ok(Next::In(None));
        };
        let claims = state.claims(By::Node);
        let gate = match lines.quick.as_ref().filter(|_| self.costs().is_quick(work)) {
            None => Arc::clone(node),
            Some(quick) => {
                if let Some(permit) = claims.first().and_then(|claim| node.try_enter(claim)) {
                    state.stage = Stage::Begun;
                    return Ok(Next::In(Some(permit)));
                }
                Arc::clone(quick)
            }
        };
        let entry = gate.ask(&claims).map_err(|refusal| self.refused(refusal))?;
        Ok(match entry {
            Entry::In(permit) => {
                state.stage = Stage::Begun;
                Next::In(Some(permit))
            }
            Entry::Queued(turn) => {
                let ticket = turn.ticket();
                state.stage = Stage::Queued { gate, ticket, by: By::Node };
                Next::Node(turn)
            }
        })
    }

    /// A pack was built in this time, or given up after it.
    pub(super) fn learn(&self, work: &Work, took: Duration) {
        self.costs().learn(work, took);
    }

    /// The line beside the reserve, if the permit is of the reserve.
    pub(super) fn beside_reserve(&self, permit: &Permit) -> Option<Arc<Gate>> {
        let lines = self.0.lines.load();
        let is_reserve = lines.quick.as_ref().is_some_and(|quick| permit.is_of(quick));
        lines.node.clone().filter(|_| is_reserve)
    }

    pub(super) fn metrics(&self) -> Option<&PackMetrics> {
        self.0.metrics.as_ref()
    }

    fn costs(&self) -> MutexGuard<'_, Costs> {
        self.0.costs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        if let Some(metrics) = &self.0.metrics {
            metrics.dropped(refusal.reason);
        }
        refusal
    }
}

/// The line of an address holds nobody else's requests.
fn own_share(refusal: Refusal) -> Refusal {
    Refusal { is_own_share: true, ..refusal }
}

// === impl Lines ===

impl Lines {
    fn of(&self, requester: &Requester) -> Option<&Arc<Gate>> {
        let anonymous = self.anonymous.as_ref().filter(|_| requester.is_anonymous);
        anonymous.or(self.address.as_ref())
    }
}

// === impl PackTurn ===

impl PackTurn {
    /// Waits until it is this pack's turn. Dropping the future gives it up.
    ///
    /// # Errors
    /// Where others, who have fewer in the line, took its place, or the second line is full.
    pub async fn wait(self) -> Result<PackPermit, Refusal> {
        let Self { limits, crowd, work, mut address, mut next, began, _queued } = self;
        let node = loop {
            next = match next {
                Next::Address(turn) => {
                    let permit = turn.await.map_err(|refusal| limits.refused(refusal))?;
                    address = Some(permit);
                    limits.ask_node(&mut crowd.lock(), &work)?
                }
                Next::Node(turn) => {
                    let permit = turn.await.map_err(|refusal| limits.refused(refusal))?;
                    crowd.lock().stage = Stage::Begun;
                    Next::In(Some(permit))
                }
                Next::In(permit) => break permit,
            };
        };
        if let Some(metrics) = limits.metrics() {
            metrics.acquiring.observe(began.elapsed().as_secs_f64());
        }
        Ok(PackPermit::new(limits, work, (address, node)))
    }
}
