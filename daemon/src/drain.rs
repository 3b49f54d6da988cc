//! How a service ends: it stops accepting, lets what runs finish, then cancels the rest.
//!
//! ```text
//!   Serving --leave--> Leaving --begin--> Draining --cancel--> Cancelled
//! ```
//!
//! Always true:
//! - phases only go forward, and may be skipped;
//! - [`Control::finished`] returns when every [`Drain`] was dropped, so whoever still works holds
//!   one.
//!
//! Never here: signals, and how long draining may take; the service decides both.

use tokio::sync::watch;

/// Where in its life a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Another process accepts; connections that we have are served as before.
    Leaving,
    Draining,
    Cancelled,
}

/// Held by whoever ends the service.
#[derive(Debug)]
pub struct Control {
    phase: watch::Sender<Phase>,
}

/// Held by everything that must notice the end, and must be waited for.
#[derive(Debug, Clone)]
pub struct Drain {
    phase: watch::Receiver<Phase>,
}

/// A service that serves, and the two ends of its end.
pub fn channel() -> (Control, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Control { phase: sender }, Drain { phase: receiver })
}

// === impl Control ===

impl Control {
    /// No new connections from now on. Those that are open notice nothing yet: a client that has
    /// connected and not spoken yet may still do so.
    pub fn leave(&self) {
        self.advance(Phase::Leaving);
    }

    /// No new work from now on; what runs may finish.
    pub fn begin(&self) {
        self.advance(Phase::Draining);
    }

    /// What still runs is dropped.
    pub fn cancel(&self) {
        self.advance(Phase::Cancelled);
    }

    /// Waits until nobody holds a [`Drain`] any more.
    pub async fn finished(&self) {
        self.phase.closed().await;
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            if forward {
                *phase = to;
            }
            forward
        });
    }
}

// === impl Drain ===

impl Drain {
    /// Returns once the service no longer accepts connections.
    pub async fn leaving(&mut self) {
        self.reached(Phase::Leaving).await;
    }

    /// Returns once the service no longer takes new work.
    pub async fn draining(&mut self) {
        self.reached(Phase::Draining).await;
    }

    /// Returns once work must be dropped.
    pub async fn cancelled(&mut self) {
        self.reached(Phase::Cancelled).await;
    }

    /// Whether the service no longer takes new work.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Whether work must be dropped.
    pub fn is_cancelled(&self) -> bool {
        *self.phase.borrow() >= Phase::Cancelled
    }

    async fn reached(&mut self, wanted: Phase) {
        // A control that is gone can never ask for anything gentler than an immediate end.
        let _ = self.phase.wait_for(|phase| *phase >= wanted).await;
    }
}
