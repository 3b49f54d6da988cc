//! Pushes that land: they go on to their end, whether or not their clients wait for it.
//!
//! Always true: once a ref of a push may have changed, GitLab and the hooks hear of it; whoever
//! ends the reactor waits for them ([`Landings::ended`]).
//! Never here: what landing is.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, ready};
use tokio::task::{JoinError, JoinSet};

/// The pushes of one reactor that land. Clones share them; dropping the last one cuts them short.
#[derive(Debug, Clone, Default)]
pub struct Landings {
    tasks: Rc<RefCell<JoinSet<()>>>,
}

// === impl Landings ===

impl Landings {
    /// Begins one.
    pub(super) fn begin(&self, landing: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while let Some(ended) = tasks.try_join_next() {
            report(ended);
        }
        tasks.spawn_local(landing);
    }

    /// Returns once none is left.
    pub async fn ended(&self) {
        poll_fn(|context| {
            while let Some(ended) = ready!(self.tasks.borrow_mut().poll_join_next(context)) {
                report(ended);
            }
            Poll::Ready(())
        })
        .await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a push died of a panic while it landed");
    }
}
