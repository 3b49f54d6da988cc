//! Values whose drop waits for a disk: locks, quarantines.
//!
//! Always true: wherever such a value is dropped, a writer drops it in fact.
//! Never here: what the values are.

use super::Writing;
use crate::reactor::workers::WorkerError;
use std::ops::Deref;

/// A value that must not be dropped on a reactor.
#[derive(Debug)]
pub struct Held<T: Send + 'static> {
    /// `None` only while it is being taken apart.
    value: Option<T>,
    writing: Writing,
}

// === impl Writing ===

impl Writing {
    /// As [`Self::run`], for what makes such a value.
    ///
    /// # Errors
    /// As there.
    pub async fn make<T: Send + 'static, E: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<Result<Held<T>, E>, WorkerError> {
        let writing = self.clone();
        self.run(move || work().map(|value| Held { value: Some(value), writing })).await
    }
}

// === impl Held ===

impl<T: Send + 'static> Held<T> {
    /// What is left of the value, held in its place.
    pub fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U) -> Held<U> {
        let writing = self.writing.clone();
        Held { value: Some(change(self.into_inner())), writing }
    }

    /// Gives the value up: to work on a thread.
    ///
    /// # Panics
    /// Never: only this and the drop take the value.
    pub fn into_inner(mut self) -> T {
        self.value.take().expect("the value is taken once")
    }
}

impl<T: Send + 'static> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("the value is there until it is taken")
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.writing.drop_later(value);
        }
    }
}
