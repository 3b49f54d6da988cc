//! Single flight: callers that come while one is at work share the next piece of work.
//!
//! Always true: a caller gets a result whose making began after it called; at most one is made
//! at a time; a failure is given to the caller that met it, and the next one tries again.
//! Never here: what is made.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The latest result and who is making the next.
#[derive(Debug)]
pub(super) struct Flight<T> {
    state: Mutex<State<T>>,
    ended: Condvar,
}

#[derive(Debug)]
struct State<T> {
    latest: Option<Arc<T>>,
    /// Number of the flight that made `latest`; 0 before the first.
    latest_number: u64,
    /// Flights begun so far.
    begun: u64,
    is_flying: bool,
}

/// Ends a flight even if it panics, so that nobody waits for it for ever.
struct Landing<'a, T>(&'a Flight<T>);

// === impl Flight ===

impl<T> Flight<T> {
    /// A result that was begun after this call. `make` gets the latest one there is.
    pub(super) fn join<E>(
        &self,
        make: impl FnOnce(Option<&Arc<T>>) -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        let mut state = self.lock();
        let needed = state.begun + 1;
        while state.is_flying {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            if let Some(latest) = state.latest.as_ref().filter(|_| state.latest_number >= needed) {
                return Ok(Arc::clone(latest));
            }
        }
        state.is_flying = true;
        state.begun += 1;
        let number = state.begun;
        let previous = state.latest.clone();
        drop(state);
        let landing = Landing(self);
        let made = make(previous.as_ref())?;
        let mut state = self.lock();
        state.latest = Some(Arc::clone(&made));
        state.latest_number = number;
        drop(state);
        drop(landing);
        Ok(made)
    }

    /// The latest result, unless somebody is just looking at it. Never waits.
    pub(super) fn latest(&self) -> Option<Arc<T>> {
        self.state.try_lock().ok()?.latest.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        let state = State { latest: None, latest_number: 0, begun: 0, is_flying: false };
        Self { state: Mutex::new(state), ended: Condvar::new() }
    }
}

impl<T> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        self.0.lock().is_flying = false;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[test]
    fn concurrent_callers_share_what_began_after_they_called() {
        let flight = Flight::<u64>::default();
        let (clock, made) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let called = clock.fetch_add(1, Ordering::SeqCst);
                        let began = flight.join(|_| {
                            made.fetch_add(1, Ordering::SeqCst);
                            let began = clock.fetch_add(1, Ordering::SeqCst);
                            std::thread::sleep(Duration::from_micros(200));
                            Ok::<_, ()>(Arc::new(began))
                        });
                        assert!(*began.unwrap() > called);
                    }
                });
            }
        });
        assert!(made.load(Ordering::SeqCst) < 300, "flights are shared");
    }

    #[test]
    fn a_failed_flight_leaves_the_next_one_free() {
        let flight = Flight::<u64>::default();
        assert_eq!(flight.join(|_| Err("broken")), Err("broken"));
        assert_eq!(
            flight.join(|latest| Ok::<_, ()>(Arc::new(latest.map_or(1, |_| 2)))).as_deref(),
            Ok(&1)
        );
        assert_eq!(
            flight.join(|latest| Ok::<_, ()>(Arc::new(latest.map_or(1, |_| 2)))).as_deref(),
            Ok(&2)
        );
    }
}
