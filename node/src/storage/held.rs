//! Values that have to come to an end on a thread that waits for disks: locks, quarantines.
//!
//! Always true: wherever such a value is dropped, a writer drops it in fact; its end, of either
//! kind, is never refused, since its place among the writers was taken before it was made.
//! Never here: what the values are.

use super::Writing;
use crate::reactor::workers::{Place, WorkerError};
use std::ops::Deref;

/// A value that must not be dropped on a reactor.
#[derive(Debug)]
pub struct Held<T: Send + 'static> {
    /// `None` only while it is being taken apart.
    value: Option<(T, Place)>,
}

// === impl Writing ===

impl Writing {
    /// As [`Self::run`], for what makes such a value.
    ///
    /// # Errors
    /// As there, and where too many are held.
    pub async fn make<T: Send + 'static, E: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<Result<Held<T>, E>, WorkerError> {
        let place = self.reserve()?;
        self.run(move || work().map(|value| Held::new(value, place))).await
    }

    /// A place for a value that will have to be held.
    ///
    /// # Errors
    /// Where too many are held.
    pub fn reserve(&self) -> Result<Place, WorkerError> {
        self.threads.reserve()
    }
}

// === impl Held ===

impl<T: Send + 'static> Held<T> {
    /// Holds `value`, which has its end in `place`.
    pub fn new(value: T, place: Place) -> Self {
        Self { value: Some((value, place)) }
    }

    /// What is left of the value, held in its place.
    pub fn map<U: Send + 'static>(mut self, change: impl FnOnce(T) -> U) -> Held<U> {
        let (value, place) = self.take();
        Held::new(change(value), place)
    }

    /// Ends the value on a writer. Once the future was polled, `work` is done whether or not it is
    /// dropped; before, the value is dropped there.
    ///
    /// # Errors
    /// The work panicked.
    pub async fn finish<R: Send + 'static>(
        mut self,
        work: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, WorkerError> {
        let (value, place) = self.take();
        place.run(move || work(value)).await
    }

    /// Gives the value up: to work on a thread.
    pub fn into_inner(mut self) -> T {
        self.take().0
    }

    fn take(&mut self) -> (T, Place) {
        self.value.take().expect("the value is taken once")
    }
}

impl<T: Send + 'static> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let held = self.value.as_ref().map(|(value, _)| value);
        held.expect("the value is there until it is taken")
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some((value, place)) = self.value.take() {
            place.submit(move || drop(value));
        }
    }
}
