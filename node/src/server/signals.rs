//! What the process is asked by signals.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGTERM, SIGINT
    End,
    /// SIGHUP
    Reload,
    /// SIGUSR2
    HandOver,
}

/// Signals of this process. None is lost; several of one kind may count as one.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user2: Signal,
    hang_up_hands_over: bool,
}

// === impl Signals ===

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user2: signal(SignalKind::user_defined2())?,
            hang_up_hands_over: is_wrapped(),
        })
    }

    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::End,
            _ = self.interrupt.recv() => Request::End,
            _ = self.hang_up.recv() => match self.hang_up_hands_over {
                true => Request::HandOver,
                false => Request::Reload,
            },
            _ = self.user2.recv() => Request::HandOver,
        }
    }

    /// The next request to end.
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whether `gitaly-wrapper` has started us: it means SIGHUP for an upgrade, which reads the
/// configuration as well.
fn is_wrapped() -> bool {
    // What Go's strconv.ParseBool takes for true.
    let truths = ["1", "t", "T", "true", "TRUE", "True"];
    std::env::var("GITALY_UPGRADES_ENABLED").is_ok_and(|value| truths.contains(&value.as_str()))
}
