//! How many frames without use a peer may send.
//!
//! A bucket of control frames: every ping, window update, frame without payload and frame for an
//! unknown stream takes one; moving data, opening streams and time give some back. Data for closed
//! streams has an account in bytes: what their windows allowed may arrive late, no more.
//!
//! Always true: an honest peer never runs dry. Go sends one update per half window (128 KiB or
//! more), and about four control frames in the life of a stream.

use super::{SessionError, WINDOW_INITIAL_BYTES};
use std::time::Duration;

/// Control frames at once.
const FRAMES_MAX: u64 = 4096;
/// Control frames that come back with time.
const FRAMES_PER_SECOND: u64 = 256;
/// Control frames that come back with every stream opened by us or accepted.
const FRAMES_PER_STREAM: u64 = 8;
/// Bytes moved in either direction that give one control frame back.
const BYTES_PER_FRAME: u64 = 4096;

#[derive(Debug)]
pub(super) struct Allowance {
    frames: u64,
    /// Bytes moved that have not made up a frame yet.
    bytes: u64,
    /// Since the session began.
    filled_at: Duration,
    discard_bytes: u64,
}

// === impl Allowance ===

impl Default for Allowance {
    fn default() -> Self {
        Self {
            frames: FRAMES_MAX,
            bytes: 0,
            filled_at: Duration::ZERO,
            discard_bytes: u64::from(WINDOW_INITIAL_BYTES),
        }
    }
}

impl Allowance {
    /// `now` is the time since the session began.
    pub(super) fn time(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.filled_at);
        // Fractions of a second wait until they are worth a whole number of frames.
        if elapsed >= Duration::from_millis(250) {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            self.give(millis.saturating_mul(FRAMES_PER_SECOND) / 1000);
            self.filled_at = now;
        }
    }

    pub(super) fn stream(&mut self) {
        self.give(FRAMES_PER_STREAM);
    }

    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.give(self.bytes / BYTES_PER_FRAME);
        self.bytes %= BYTES_PER_FRAME;
    }

    /// A frame that carried nothing.
    pub(super) fn frame(&mut self) -> Result<(), SessionError> {
        self.frames = self.frames.checked_sub(1).ok_or(SessionError::ControlFlood)?;
        Ok(())
    }

    /// A closed stream's window: so many bytes may still arrive.
    pub(super) fn discard(&mut self, window_bytes: u32) {
        self.discard_bytes = self.discard_bytes.saturating_add(u64::from(window_bytes));
    }

    /// Bytes that nobody wants.
    pub(super) fn discarded(&mut self, bytes: u32) -> Result<(), SessionError> {
        self.discard_bytes =
            self.discard_bytes.checked_sub(u64::from(bytes)).ok_or(SessionError::DiscardFlood)?;
        Ok(())
    }

    fn give(&mut self, frames: u64) {
        self.frames = self.frames.saturating_add(frames).min(FRAMES_MAX);
    }
}
