//! Which connections have earned their end: those that ask for nothing and those that take
//! nothing.
//!
//! hyper's own timers cover the headers of HTTP/1.1 only.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// What one connection does.
#[derive(Debug)]
pub(super) struct Watch {
    requests: Cell<usize>,
    idle_since: Cell<Instant>,
    bodies: RefCell<Vec<Weak<Progress>>>,
}

/// Since when one answer has waited for its client; not at all while the client waits for it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stalled_since: Cell<Option<Instant>>,
}

/// Held while a request is served.
#[derive(Debug)]
pub(super) struct Active {
    watch: Rc<Watch>,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            bodies: RefCell::new(Vec::new()),
        }
    }

    pub(super) fn begin(self: &Rc<Self>) -> Active {
        self.requests.set(self.requests.get() + 1);
        Active { watch: Rc::clone(self) }
    }

    pub(super) fn body(&self) -> Rc<Progress> {
        let progress = Rc::new(Progress::default());
        let mut bodies = self.bodies.borrow_mut();
        bodies.retain(|body| body.strong_count() > 0);
        bodies.push(Rc::downgrade(&progress));
        progress
    }

    /// Returns when the connection has been idle for `idle_max`, or one of its answers stalled
    /// for `stall_max`; at most a quarter of the shorter one too late.
    pub(super) async fn expired(&self, idle_max: Duration, stall_max: Duration) {
        let pause = idle_max.min(stall_max) / 4;
        loop {
            tokio::time::sleep(pause).await;
            let idle = self.requests.get() == 0 && self.idle_since.get().elapsed() >= idle_max;
            let stalled = self.bodies.borrow().iter().filter_map(Weak::upgrade).any(|body| {
                body.stalled_since.get().is_some_and(|since| since.elapsed() >= stall_max)
            });
            if idle || stalled {
                return;
            }
        }
    }
}

// === impl Progress ===

impl Progress {
    /// A chunk was given: from now on it is the client's turn.
    pub(super) fn gave(&self) {
        self.stalled_since.set(Some(Instant::now()));
    }

    /// The client wants more: from now on it is ours.
    pub(super) fn asked(&self) {
        self.stalled_since.set(None);
    }
}

// === impl Active ===

impl Drop for Active {
    fn drop(&mut self) {
        self.watch.requests.set(self.watch.requests.get().saturating_sub(1));
        self.watch.idle_since.set(Instant::now());
    }
}
