//! Visits to repositories: who asks for one that is being looked at shares the next look with all
//! others that do.
//!
//! A look costs a dozen `stat` calls and a trip to a worker, which is most of what a small question
//! costs; so under load it is paid once for many.
//!
//! Always true:
//! - a visit is made with a look that began after it was asked for;
//! - at most one look at a repository is under way; at most [`WAITING_MAX`] visits wait for the next;
//! - every visit is made or dropped, also where a look or another visit panics.
//!
//! Never here: how a repository is looked at.

use super::cache::Key;
use super::{OpenError, Opened};
use crate::reactor::workers::WorkerError;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Visits that wait for one look.
const WAITING_MAX: usize = 4096;
/// After this the rest of the visits lets other work pass.
const SLICE: Duration = Duration::from_millis(5);

/// What somebody wants to do with a repository, or hear why it cannot be opened.
pub(super) type Visit = Box<dyn FnOnce(Result<&Opened, OpenError>) + Send>;

/// Who waits for which repository.
#[derive(Default)]
pub(super) struct Visits {
    /// A repository is here while a look at it is begun or under way.
    lanes: Mutex<HashMap<Key, Vec<Visit>>>,
}

/// A look under way. Its end, however it comes, lets the next one begin.
pub(super) struct Look<'v, N: FnOnce() -> Result<(), WorkerError>> {
    visits: &'v Visits,
    key: &'v Key,
    next: Option<N>,
}

// === impl Visits ===

impl Visits {
    /// Lets `visit` wait for the next look. Whether it is the first that does: then the caller must
    /// see to it that there is one.
    pub(super) fn join(&self, key: &Key, visit: Visit) -> Result<bool, WorkerError> {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get_mut(key) {
            if lane.len() >= WAITING_MAX {
                return Err(WorkerError::Full);
            }
            lane.push(visit);
            return Ok(false);
        }
        lanes.insert(key.clone(), vec![visit]);
        Ok(true)
    }

    /// There will be no look: those who wait hear that no worker could be had.
    pub(super) fn give_up(&self, key: &Key) {
        let left = self.lock().remove(key).unwrap_or_default();
        refuse(left);
    }

    /// Begins a look: the visits that it is for, and what to drop once it has ended. `next` begins
    /// another one for those who came meanwhile.
    pub(super) fn look<'v, N: FnOnce() -> Result<(), WorkerError>>(
        &'v self,
        key: &'v Key,
        next: N,
    ) -> (Vec<Visit>, Look<'v, N>) {
        let waiting = self.lock().get_mut(key).map(std::mem::take).unwrap_or_default();
        (waiting, Look { visits: self, key, next: Some(next) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Visit>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<N: FnOnce() -> Result<(), WorkerError>> Drop for Look<'_, N> {
    fn drop(&mut self) {
        let mut lanes = self.visits.lock();
        let somebody_waits = lanes.get(self.key).is_some_and(|lane| !lane.is_empty());
        if let Some(next) = self.next.take().filter(|_| somebody_waits)
            && next().is_ok()
        {
            return;
        }
        // Under one lock with the question who waits: nobody can join in between.
        let left = lanes.remove(self.key).unwrap_or_default();
        drop(lanes);
        refuse(left);
    }
}

fn refuse(visits: Vec<Visit>) {
    for visit in visits {
        visit(Err(WorkerError::Full.into()));
    }
}

/// Makes visits for the time of a slice; returns those that are left.
pub(super) fn make(opened: &Opened, visits: Vec<Visit>) -> Vec<Visit> {
    let began = Instant::now();
    let mut left = visits.into_iter();
    while began.elapsed() < SLICE {
        let Some(visit) = left.next() else { break };
        // What it owns goes with it; the others are not its fault.
        if catch_unwind(AssertUnwindSafe(|| visit(Ok(opened)))).is_err() {
            tracing::error!("work on a repository panicked");
        }
    }
    left.collect()
}

impl fmt::Debug for Visits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Visits").field("lanes", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{RelativePath, StorageName};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn key() -> Key {
        let storage = StorageName::parse("default").unwrap();
        Key::new(&storage, &RelativePath::parse("a.git").unwrap())
    }

    /// Goal: visits that come during a look wait for the next one, which is begun once for all;
    /// where it cannot be begun, they hear of it.
    #[test]
    fn those_who_come_during_a_look_share_the_next() {
        let (visits, key) = (Visits::default(), key());
        let (begun, failed) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let begin = || {
            begun.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let visit = || -> Visit {
            let failed = Arc::clone(&failed);
            Box::new(move |opened| {
                assert!(opened.is_err());
                failed.fetch_add(1, Ordering::Relaxed);
            })
        };
        for first in [true, false, false] {
            assert_eq!(visits.join(&key, visit()), Ok(first));
        }
        let (first, look) = visits.look(&key, begin);
        assert_eq!(first.len(), 3);
        for _ in 0..2 {
            assert_eq!(visits.join(&key, visit()), Ok(false), "the look begins the next");
        }
        drop(look);
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        let (second, look) = visits.look(&key, || Err(WorkerError::Full));
        assert_eq!(second.len(), 2);
        assert_eq!(visits.join(&key, visit()), Ok(false));
        drop(look);
        assert_eq!(failed.load(Ordering::Relaxed), 1);
        assert!(visits.lock().is_empty(), "a lane goes with its last visit");
        assert_eq!(visits.join(&key, visit()), Ok(true));
    }

    #[test]
    fn a_lane_has_an_end() {
        let (visits, key) = (Visits::default(), key());
        for _ in 0..WAITING_MAX {
            visits.join(&key, Box::new(|_| {})).unwrap();
        }
        assert_eq!(visits.join(&key, Box::new(|_| {})), Err(WorkerError::Full));
    }
}
