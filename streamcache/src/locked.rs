//! A mutex for short moments.
//!
//! Always true:
//! - what it guards is whole at every unlock, so a panic elsewhere poisons nothing.
//!
//! Never here: waiting with the lock held.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value that several threads use in turn.
#[derive(Debug, Default)]
pub(crate) struct Locked<T>(Mutex<T>);

// === impl Locked ===

impl<T> Locked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
