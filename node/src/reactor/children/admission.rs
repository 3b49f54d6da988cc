//! Permits for children: the budget's ledger between threads.
//!
//! Always true: a permit that nobody takes any more goes to the next; whoever stops waiting leaves
//! nothing in the queue.

use super::account::Account;
use super::budget::{Asked, Budget, Ledger, Seat};
use super::metrics::Metrics;
use super::need::Need;
use super::{SpawnError, WAIT_MAX};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// Hands out permits.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger<oneshot::Sender<Permit>>>,
    idle: Notify,
    metrics: Metrics,
}

/// A place for one child, and its memory. Given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    seat: Seat,
    /// Whose question it is, if it is one.
    account: Option<Arc<Account>>,
}

/// A caller in the queue.
struct Queued<'a> {
    shared: &'a Arc<Shared>,
    seat: Seat,
    number: u64,
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(budget: Budget, metrics: Metrics) -> Self {
        let ledger = Mutex::new(Ledger::new(budget));
        Self { shared: Arc::new(Shared { ledger, idle: Notify::new(), metrics }) }
    }

    /// Waits for a place. Dropping the future leaves the queue.
    pub(super) async fn permit(
        &self,
        need: Need,
        account: &Arc<Account>,
    ) -> Result<Permit, SpawnError> {
        let shared = &self.shared;
        let (sender, receiver) = oneshot::channel();
        let (seat, asked) = {
            let mut ledger = shared.lock();
            let seat = ledger.seat(need.lane(account.questions()), need.memory_bytes);
            (seat, ledger.ask(seat, || sender))
        };
        let mut permit = match asked {
            Asked::Granted(seat) => Permit::new(shared, seat),
            Asked::Full => {
                shared.metrics.refused(need.share, "full");
                return Err(SpawnError::Full);
            }
            Asked::Waits(number) => {
                shared.metrics.waiting.inc();
                let _queued = Queued { shared, seat, number };
                match tokio::time::timeout(WAIT_MAX, receiver).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) | Err(_) => {
                        shared.metrics.timeouts.inc();
                        shared.metrics.refused(need.share, "timeout");
                        return Err(SpawnError::Timeout);
                    }
                }
            }
        };
        permit.belongs_to(need, account);
        Ok(permit)
    }

    /// Returns when no permit is out.
    pub(super) async fn idle(&self) {
        loop {
            let mut changed = std::pin::pin!(self.shared.idle.notified());
            changed.as_mut().enable();
            if self.shared.lock().is_idle() {
                return;
            }
            changed.await;
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ledger<oneshot::Sender<Permit>>> {
        // The ledger panics nowhere between two consistent states.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves who can be served now.
    fn serve(self: &Arc<Self>) {
        loop {
            let Some((seat, caller)) = self.lock().next() else { return };
            // A caller that has just left drops it, which serves the next.
            let _ = caller.send(Permit::new(self, seat));
        }
    }
}

// === impl Permit ===

impl Permit {
    fn new(shared: &Arc<Shared>, seat: Seat) -> Self {
        shared.metrics.taken(seat.lane.share(), 1, seat.memory_bytes);
        Self { shared: Arc::clone(shared), seat, account: None }
    }

    fn belongs_to(&mut self, need: Need, account: &Arc<Account>) {
        if need.share == super::Share::Questions {
            account.question_begins();
            self.account = Some(Arc::clone(account));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.question_ends();
        }
        self.shared.metrics.given_back(self.seat.lane.share(), self.seat.memory_bytes);
        let is_idle = {
            let mut ledger = self.shared.lock();
            ledger.give_back(self.seat);
            ledger.is_idle()
        };
        self.shared.serve();
        if is_idle {
            self.shared.idle.notify_waiters();
        }
    }
}

// === impl Queued ===

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.shared.metrics.waiting.dec();
        self.shared.lock().leave(self.seat.lane, self.number);
        // Who stood behind it may fit where it did not.
        self.shared.serve();
    }
}
