//! One stream: two halves, two windows, and what is still to be said about it.

use super::WINDOW_INITIAL_BYTES;
use super::frame::{ACK, SYN};
use super::unread::Unread;

/// Our half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Open,
    /// FIN follows what is queued.
    Wanted,
    Sent,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// SYN or ACK that has not been sent yet.
    pub(super) greeting: u16,
    /// The peer knows it (its own streams: always).
    pub(super) acknowledged: bool,
    /// Accepted or opened by us: its window may be widened.
    pub(super) owned: bool,
    /// Bytes that the peer may still send.
    pub(super) receive_window: u32,
    /// What `receive_window` and the unread bytes add up to after an update.
    pub(super) receive_window_max: u32,
    pub(super) unread: Unread,
    pub(super) remote_finished: bool,
    /// Bytes that we may still send.
    pub(super) send_window: u32,
    pub(super) unsent: Unread,
    pub(super) finish: Finish,
    /// Ended by the peer's RST.
    pub(super) reset: bool,
    /// Nobody reads or writes it any more.
    pub(super) released: bool,
    /// Its id is in the queue of turns.
    pub(super) scheduled: bool,
}

// === impl Stream ===

impl Stream {
    pub(super) fn opened(window_bytes: u32) -> Self {
        Self {
            greeting: SYN,
            acknowledged: false,
            owned: true,
            receive_window: WINDOW_INITIAL_BYTES,
            receive_window_max: window_bytes,
            unread: Unread::default(),
            remote_finished: false,
            send_window: WINDOW_INITIAL_BYTES,
            unsent: Unread::default(),
            finish: Finish::Open,
            reset: false,
            released: false,
            scheduled: false,
        }
    }

    /// Opened by the peer.
    pub(super) fn incoming() -> Self {
        Self { greeting: 0, acknowledged: true, owned: false, ..Self::opened(WINDOW_INITIAL_BYTES) }
    }

    pub(super) fn accept(&mut self, window_bytes: u32) {
        self.greeting = ACK;
        self.owned = true;
        self.receive_window_max = window_bytes;
    }

    /// Bytes by which the peer's window could be widened.
    pub(super) fn update(&self) -> u32 {
        if self.remote_finished || self.reset || !self.owned {
            return 0;
        }
        // Unread bytes were counted against a window of 32 bits.
        let unread = u32::try_from(self.unread.bytes()).unwrap_or(u32::MAX);
        self.receive_window_max.saturating_sub(unread).saturating_sub(self.receive_window)
    }

    /// Half of the window was read: Go's moment for an update.
    pub(super) fn owes_update(&self) -> bool {
        self.update() >= self.receive_window_max / 2
    }

    pub(super) fn has_something_to_send(&self) -> bool {
        if self.reset {
            return false;
        }
        self.greeting != 0 || self.sendable() > 0 || self.owes_fin() || self.owes_update()
    }

    /// Queued bytes that the window admits.
    pub(super) fn sendable(&self) -> usize {
        self.unsent.bytes().min(self.send_window as usize)
    }

    pub(super) fn owes_fin(&self) -> bool {
        self.finish == Finish::Wanted && self.unsent.bytes() == 0
    }

    /// Both ends know that it is over.
    pub(super) fn over(&self) -> bool {
        self.reset || (self.remote_finished && self.finish == Finish::Sent)
    }
}
