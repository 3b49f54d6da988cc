//! One request under way: when it began, what came, and where its client leaves.
//!
//! Always true: a client leaves at one step of one request, at most.
//!
//! Never here: the request itself.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gitring_tests::random::Random;
use tokio::sync::Notify;

use super::figures::Figures;

/// After the step a client goes on for a moment, so that it leaves between any two steps.
const LINGER_MAX: Duration = Duration::from_millis(5);

/// How many pieces a client has read at most before it leaves.
const PIECES_MAX: usize = 64;

/// Where a client may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Connected, and nothing said.
    Connected,
    /// The call is made.
    Called,
    /// The sidechannel is there.
    Accepted,
    /// Half of what is said there is said.
    HalfAsked,
    /// All of it is said.
    Asked,
    /// So many pieces have come, at least one.
    Read(usize),
}

/// A moment at which a client leaves.
#[derive(Debug)]
pub(super) struct Leave {
    at: Step,
    linger: Duration,
    left: Notify,
}

/// What is told of a request.
#[derive(Debug)]
pub(super) struct Watch {
    figures: Rc<RefCell<Figures>>,
    began: Instant,
    pieces: Cell<usize>,
    leave: Option<Rc<Leave>>,
}

// === impl Step ===

impl Step {
    pub(super) fn random(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Connected,
            1 => Self::Called,
            2 => Self::Accepted,
            3 => Self::HalfAsked,
            4 => Self::Asked,
            _ => Self::Read(1 + random.below(PIECES_MAX)),
        }
    }
}

// === impl Leave ===

impl Leave {
    pub(super) fn random(random: &mut Random) -> Self {
        let at = Step::random(random);
        let linger = LINGER_MAX.mul_f64(random.below(1000) as f64 / 1000.0);
        Self { at, linger, left: Notify::new() }
    }

    /// Waits for the moment.
    pub(super) async fn left(&self) {
        self.left.notified().await;
        tokio::time::sleep(self.linger).await;
    }
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(figures: &Rc<RefCell<Figures>>, leave: Option<Rc<Leave>>) -> Self {
        let figures = Rc::clone(figures);
        Self { figures, began: Instant::now(), pieces: Cell::new(0), leave }
    }

    /// A step is reached. Whoever leaves here waits for it, and makes no further one.
    pub(super) async fn reach(&self, step: Step) {
        if let Some(leave) = self.leave.as_ref().filter(|leave| leave.at == step) {
            leave.left.notify_one();
            pending().await
        }
    }

    /// Whether the client does not stay to the end.
    pub(super) fn is_cut(&self) -> bool {
        self.leave.is_some()
    }

    /// Whether the client leaves at this step.
    pub(super) fn leaves_at(&self, step: Step) -> bool {
        self.leave.as_ref().is_some_and(|leave| leave.at == step)
    }

    /// A piece of the answer came.
    pub(super) async fn piece(&self, bytes: usize) {
        let pieces = self.pieces.get() + 1;
        self.pieces.set(pieces);
        {
            let mut figures = self.figures.borrow_mut();
            figures.bytes += bytes as u64;
            if pieces == 1 {
                figures.first_bytes.add(self.began.elapsed());
            }
        }
        self.reach(Step::Read(pieces)).await;
    }

    /// Whether the answer has content so far.
    pub(super) fn has_pieces(&self) -> bool {
        self.pieces.get() > 0
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
