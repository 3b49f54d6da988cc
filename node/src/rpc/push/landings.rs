//! Pushes that land: they go on to their end, whether or not their clients wait for it.
//!
//! Always true: once a ref of a push may have changed, GitLab and the hooks hear of it; whoever
//! ends the reactor waits for them ([`Landings::ended`]). A push of many refs that is not atomic
//! stops between two of them when the service ends, or after [`LANDING_TIME_MAX`].
//! Never here: what landing is.

use gitring_daemon::drain::Drain;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinSet};

/// A push of many refs, from the first on.
const LANDING_TIME_MAX: Duration = Duration::from_secs(3600);
/// The same, once the service takes no new work: so that its client hears of what was done.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// The pushes of one reactor that land. Clones share them; dropping the last one cuts them short.
#[derive(Debug, Clone, Default)]
pub struct Landings {
    tasks: Rc<RefCell<JoinSet<()>>>,
    drain: Rc<RefCell<Option<Drain>>>,
    /// Since when the service was seen to take no new work.
    draining_since: Rc<Cell<Option<Instant>>>,
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

    /// Lets pushes see the end of the service.
    pub fn heed(&self, drain: &Drain) {
        self.drain.borrow_mut().get_or_insert_with(|| drain.clone());
    }

    /// Why a push that began to land at `began` may change no further refs.
    pub(super) fn stop(&self, began: Instant) -> Option<&'static str> {
        if began.elapsed() > LANDING_TIME_MAX {
            return Some("not done within an hour");
        }
        let drain = self.drain.borrow();
        let drain = drain.as_ref().filter(|drain| drain.is_draining())?;
        let since = self.draining_since.get().unwrap_or_else(Instant::now);
        self.draining_since.set(Some(since));
        let is_over = drain.is_cancelled() || since.elapsed() > DRAIN_TIME_MAX;
        is_over.then_some("the server is shutting down")
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
        // Whoever ends the service waits for all who heed it.
        self.drain.borrow_mut().take();
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a push died of a panic while it landed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_daemon::drain;

    #[test]
    fn a_push_of_many_refs_stops_when_the_service_ends() {
        let landings = Landings::default();
        let (control, drain) = drain::channel();
        landings.heed(&drain);
        let began = Instant::now();
        assert_eq!(landings.stop(began), None);
        control.begin();
        assert_eq!(landings.stop(began), None, "its client may still hear of it");
        landings.draining_since.set(Instant::now().checked_sub(DRAIN_TIME_MAX * 2));
        assert_eq!(landings.stop(began), Some("the server is shutting down"));
        landings.draining_since.set(Some(Instant::now()));
        control.cancel();
        assert_eq!(landings.stop(began), Some("the server is shutting down"));
        let long_ago = Instant::now().checked_sub(LANDING_TIME_MAX * 2).unwrap();
        assert_eq!(Landings::default().stop(long_ago), Some("not done within an hour"));
    }
}
