//! Turns, and the ends of streams.

use super::{Event, Session, frame};

/// Streams that we are done with while the peer is not: further ones reset the oldest.
const ORPHANS_MAX: usize = 256;

// === impl Session ===

impl Session {
    /// Gives a stream a turn unless it has one already.
    pub(super) fn schedule(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.scheduled
            && stream.has_something_to_send()
        {
            stream.scheduled = true;
            self.ready.push_back(id);
        }
    }

    /// Keeps a stream that only the peer has still to finish.
    pub(super) fn orphan(&mut self, id: u32) {
        if self.orphans.len() >= ORPHANS_MAX {
            let streams = &self.streams;
            self.orphans.retain(|id| streams.contains_key(id));
        }
        if self.orphans.len() >= ORPHANS_MAX
            && let Some(oldest) = self.orphans.pop_front()
        {
            self.reset(oldest);
        }
        self.orphans.push_back(id);
    }

    /// Ends a released stream with an RST, if the peer has heard of it.
    pub(super) fn reset(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(|stream| stream.greeting != frame::SYN) {
            self.control.reset(id);
        }
        self.remove(id);
    }

    pub(super) fn remove(&mut self, id: u32) {
        let Some(stream) = self.streams.remove(&id) else { return };
        if stream.scheduled {
            self.ready.retain(|other| *other != id);
        }
        // What the peer was allowed to send may be on its way.
        self.allowance.discard(stream.receive_window);
        if frame::opened_by(self.role, id) {
            self.opened -= 1;
            if !stream.acknowledged {
                self.unacknowledged -= 1;
            }
            self.event(Event::Openable);
        }
    }
}
