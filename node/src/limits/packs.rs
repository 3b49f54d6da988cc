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
//! A permit is for building. While all readers of a pack are behind, its builder sleeps, and a
//! builder that sleeps for [`IDLE_MAX`] lends its permit to others; it goes on as soon as a reader
//! does, and no new pack is begun until there is room again. So slow clients hold up nobody, and a
//! client that has a part of its pack never waits behind those that have none.
//!
//! Never here: how packs are built; what those who wait are told.

use super::claim::{Name, Reason, Refusal};
use super::crowd::{By, Crowd, Requester, Stage, State};
use super::gate::{Entry, Gate, Permit, Turn};
use super::metrics::{Counted, PackMetrics};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A builder that could not go on for so long is idle.
pub const IDLE_MAX: Duration = Duration::from_secs(1);

/// The limits of packs, shared by all reactors.
#[derive(Debug, Clone)]
pub struct PackLimits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: ArcSwap<Lines>,
    metrics: Option<PackMetrics>,
}

/// The gates that a pack passes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) address: Option<Arc<Gate>>,
    /// For those who do not say as whom they ask, where that makes a difference.
    pub(super) anonymous: Option<Arc<Gate>>,
    pub(super) node: Option<Arc<Gate>>,
}

/// A pack on its way to its permit.
#[derive(Debug)]
pub struct PackTurn {
    limits: PackLimits,
    crowd: Arc<Crowd>,
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

/// Whoever holds it may build a pack.
#[derive(Debug)]
pub struct PackPermit {
    _address: Option<Permit>,
    node: Option<Permit>,
    running: Option<Counted>,
    metrics: Option<PackMetrics>,
    /// How long it was waited for.
    pub waited: Duration,
}

// === impl PackLimits ===

impl PackLimits {
    /// Everybody may build.
    pub fn none() -> Self {
        Self(Arc::new(Shared { lines: ArcSwap::default(), metrics: None }))
    }

    pub(super) fn new(lines: Lines, metrics: PackMetrics) -> Self {
        Self(Arc::new(Shared { lines: ArcSwap::from_pointee(lines), metrics: Some(metrics) }))
    }

    pub(super) fn set(&self, lines: Lines) {
        self.0.lines.store(Arc::new(lines));
    }

    /// For how long one who asks now may wait until its pack is begun; `None`: as long as it likes.
    pub fn patience(&self, requester: &Requester) -> Option<Duration> {
        let lines = self.0.lines.load();
        let gates = [lines.of(requester), lines.node.as_ref()];
        gates.into_iter().flatten().filter_map(|gate| gate.settings().wait_max).min()
    }

    /// Asks for a permit on behalf of all who wait.
    ///
    /// # Errors
    /// Where too many wait already.
    pub fn queue(&self, crowd: &Arc<Crowd>) -> Result<PackTurn, Refusal> {
        let lines = self.0.lines.load_full();
        let mut state = crowd.lock();
        let gate = state.first().and_then(|first| lines.of(first)).cloned();
        let mut address = None;
        let next = match gate {
            None => self.ask_node(&mut state)?,
            Some(gate) => {
                let claims = state.claims(By::Address);
                match gate.ask(&claims).map_err(|refusal| self.refused(own_share(refusal)))? {
                    Entry::In(permit) => {
                        address = Some(permit);
                        self.ask_node(&mut state)?
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
            Some(gate) => gate.too_late(&Name::new("node")),
            None => {
                let retry_after = IDLE_MAX;
                Refusal { reason: Reason::Time, retry_after, is_own_share: false }
            }
        };
        self.refused(refusal)
    }

    /// In the line of the node.
    fn ask_node(&self, state: &mut State) -> Result<Next, Refusal> {
        let Some(gate) = self.0.lines.load().node.clone() else {
            state.stage = Stage::Begun;
            return Ok(Next::In(None));
        };
        let entry = gate.ask(&state.claims(By::Node)).map_err(|refusal| self.refused(refusal))?;
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
        let Self { limits, crowd, mut address, mut next, began, _queued } = self;
        let node = loop {
            next = match next {
                Next::Address(turn) => {
                    let permit = turn.await.map_err(|refusal| limits.refused(refusal))?;
                    address = Some(permit);
                    limits.ask_node(&mut crowd.lock())?
                }
                Next::Node(turn) => {
                    let permit = turn.await.map_err(|refusal| limits.refused(refusal))?;
                    crowd.lock().stage = Stage::Begun;
                    Next::In(Some(permit))
                }
                Next::In(permit) => break permit,
            };
        };
        let (waited, metrics) = (began.elapsed(), limits.0.metrics.clone());
        if let Some(metrics) = &metrics {
            metrics.acquiring.observe(waited.as_secs_f64());
        }
        let mut permit = PackPermit { _address: address, node, running: None, metrics, waited };
        permit.count();
        Ok(permit)
    }
}

// === impl PackPermit ===

impl PackPermit {
    /// Lends its place in the node to others, for as long as nothing can be done with it.
    pub fn pause(&mut self) {
        self.running = None;
        if let Some(permit) = &mut self.node {
            permit.pause();
        }
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.count();
        if let Some(permit) = &mut self.node {
            permit.resume();
        }
    }

    fn count(&mut self) {
        let metrics = self.metrics.as_ref();
        self.running =
            metrics.map(|metrics| Counted::among(std::slice::from_ref(&metrics.in_progress)));
    }
}
