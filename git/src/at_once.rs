//! Work on a thread that must not wait for the file system.
//!
//! Always true: what is done under [`attempt`] opens no file of an object or a ref, and looks into
//! no map, whose pages might have to be read from disk; if it would have needed one, all that it
//! made is thrown away.
//! Never here: what can be told from memory.

use std::cell::Cell;
use std::io;

/// What the work on this thread may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bounds {
    /// Whatever it wants.
    None,
    /// Nothing that could wait.
    Memory,
    /// The same, and it would have waited.
    Overstepped,
}

/// Restores what was allowed before, also where the work panics.
struct Attempt(Bounds);

thread_local! {
    static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds::None) };
}

/// Does `work` from memory alone. `None` if that is not enough: then nothing was done that counts.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _attempt = Attempt(BOUNDS.replace(Bounds::Memory));
    let made = work();
    (BOUNDS.get() == Bounds::Memory).then_some(made)
}

/// Whether this thread is inside an attempt.
pub(crate) fn is_attempt() -> bool {
    BOUNDS.get() != Bounds::None
}

/// Asked before anything that could wait. An attempt fails by asking, whatever becomes of the
/// error.
pub(crate) fn may_wait() -> io::Result<()> {
    if is_attempt() {
        BOUNDS.set(Bounds::Overstepped);
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(())
}

impl Drop for Attempt {
    fn drop(&mut self) {
        BOUNDS.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_would_wait_comes_to_nothing() {
        assert_eq!(attempt(|| 1), Some(1));
        assert_eq!(attempt(|| may_wait().is_ok()), None);
        assert!(std::panic::catch_unwind(|| attempt(|| panic!("on purpose"))).is_err());
        assert!(may_wait().is_ok() && !is_attempt());
    }
}
