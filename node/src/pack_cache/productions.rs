//! The tasks of one reactor that make packs.
//!
//! Always true: they outlive the client that caused them, and end when nobody reads what they make;
//! a production holds what it works with, so only the end of the reactor's runtime cuts it short.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, ready};
use tokio::task::{AbortHandle, JoinSet};

/// What a reactor makes, and its housekeeping if it is the one that does it.
#[derive(Debug, Default)]
pub(super) struct Productions {
    tasks: RefCell<JoinSet<()>>,
    house: RefCell<Option<House>>,
}

/// Ends the housekeeping when dropped.
#[derive(Debug)]
struct House(AbortHandle);

// === impl Productions ===

impl Productions {
    /// Begins a production.
    pub(super) fn begin(&self, production: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while let Some(ended) = tasks.try_join_next() {
            report(ended);
        }
        tasks.spawn_local(production);
    }

    /// Begins what goes on as long as the reactor does.
    pub(super) fn keep(&self, house: impl Future<Output = ()> + 'static) {
        let task = tokio::task::spawn_local(house);
        *self.house.borrow_mut() = Some(House(task.abort_handle()));
    }

    /// Returns once nothing is made any more.
    pub(super) async fn ended(&self) {
        poll_fn(|context| {
            while let Some(ended) = ready!(self.tasks.borrow_mut().poll_join_next(context)) {
                report(ended);
            }
            Poll::Ready(())
        })
        .await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the making of a pack died of a panic");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.0.abort();
    }
}
