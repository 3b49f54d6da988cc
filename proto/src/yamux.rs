//! yamux: many streams over one connection, both roles. A state machine without I/O.
//!
//! ```text
//!   socket --bytes--> receive --events--> read, accept      (a driver moves the bytes)
//!   socket <--bytes-- transmit <---------- open, send, finish, reset
//! ```
//!
//! Source: hashicorp/yamux, `spec.md`, and the behaviour of its Go implementation where that
//! decides what a stock peer accepts.
//!
//! Always true:
//! - a stream's unread bytes never exceed the window that was announced for it, and pin at most
//!   eight times as much memory (see `unread`);
//! - bytes that wait to be sent on a stream never exceed [`Limits::send_queue_bytes_max`];
//! - control frames that wait to be sent are a flag of their stream or sit in a bounded queue;
//! - a frame is sent only within the peer's window, and streams that are ready take turns;
//! - FIN travels in a frame of its own: Go's reader may take a FIN on a data frame for the end
//!   before it has seen the data.
//!
//! Never here: sockets, timers, pings of our own (gRPC keeps connections alive).

mod error;
mod flood;
mod frame;
mod lifetime;
mod receive;
mod stream;
mod transmit;
mod unread;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use flood::Allowance;
use std::collections::{HashMap, VecDeque};
use stream::{Finish, Stream};

pub use error::{OpenError, SessionError, StreamError};
pub use frame::HEADER_BYTES;
pub use transmit::Outgoing;
pub use unread::READ_BUFFER_BYTES_MAX;

/// Window of every stream before the first update, both directions.
pub const WINDOW_INITIAL_BYTES: u32 = 256 * 1024;
/// The last id that Go hands out; ids are never used twice.
const ID_MAX: u32 = u32::MAX - 2;

/// Which end of the connection a session is. It decides the parity of the ids it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Dialled: opens 1, 3, 5, …
    Client,
    /// Was dialled: opens 2, 4, 6, …
    Server,
}

/// What a session admits and announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Window announced for streams that the peer opens, once accepted. At least 256 KiB.
    pub accepted_window_bytes: u32,
    /// Window announced for streams that we open. At least 256 KiB.
    pub opened_window_bytes: u32,
    /// Streams of the peer that wait to be accepted; further ones are reset. Each may hold
    /// 256 KiB meanwhile.
    pub backlog_max: usize,
    /// Streams of the peer that live at once; further ones are reset.
    pub accepted_streams_max: usize,
    /// Streams of ours that live at once; further opens wait.
    pub opened_streams_max: usize,
    /// Streams of ours that the peer has not acknowledged. Go resets what exceeds its backlog, 256
    /// by default.
    pub unacknowledged_max: usize,
    /// Bytes of one stream that wait for its window or for the socket.
    pub send_queue_bytes_max: usize,
}

/// Names a stream of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

/// What changed for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// [`Session::read`] has something new to say: bytes, the end, or an error.
    Readable(StreamId),
    /// [`Session::send`] takes bytes again, or has an error, or a FIN has left.
    Writable(StreamId),
    /// [`Session::accept`] has a stream.
    Incoming,
    /// [`Session::open`] is worth another try.
    Openable,
}

/// What a stream has for its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The next bytes, never empty.
    Data(Bytes),
    /// Nothing yet.
    Pending,
    /// The peer finished its half.
    End,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Session {
    role: Role,
    limits: Limits,
    streams: HashMap<u32, Stream>,
    /// Opened by us and still in `streams`.
    opened: usize,
    /// Of them, those without an ACK.
    unacknowledged: usize,
    next_id: u32,
    /// The peer's streams that nobody accepted yet.
    backlog: VecDeque<u32>,
    /// Streams with something to send, each once, in the order of their turns.
    ready: VecDeque<u32>,
    orphans: VecDeque<u32>,
    control: transmit::Control,
    allowance: Allowance,
    /// What remains of the data frame that is being received.
    payload: receive::Payload,
    events: VecDeque<Event>,
    peer_goes_away: bool,
    ended: bool,
}

// === impl StreamId ===

impl StreamId {
    /// The number on the wire, by which recordings of other implementations name streams.
    pub fn get(self) -> u32 {
        self.0
    }
}

// === impl Session ===

impl Session {
    /// A session over a connection that has just been made.
    pub fn new(role: Role, limits: Limits) -> Self {
        debug_assert!(limits.accepted_window_bytes >= WINDOW_INITIAL_BYTES);
        debug_assert!(limits.opened_window_bytes >= WINDOW_INITIAL_BYTES);
        Self {
            role,
            limits,
            streams: HashMap::new(),
            opened: 0,
            unacknowledged: 0,
            next_id: if role == Role::Client { 1 } else { 2 },
            backlog: VecDeque::new(),
            ready: VecDeque::new(),
            orphans: VecDeque::new(),
            control: transmit::Control::default(),
            allowance: Allowance::default(),
            payload: receive::Payload::default(),
            events: VecDeque::new(),
            peer_goes_away: false,
            ended: false,
        }
    }

    /// Opens a stream. Data may be sent at once; the peer's ACK is not waited for.
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        if self.ended {
            return Err(OpenError::SessionEnded);
        }
        if self.peer_goes_away {
            return Err(OpenError::PeerGoesAway);
        }
        if self.next_id > ID_MAX {
            return Err(OpenError::Exhausted);
        }
        if self.opened >= self.limits.opened_streams_max
            || self.unacknowledged >= self.limits.unacknowledged_max
        {
            return Err(OpenError::Busy);
        }
        let id = self.next_id;
        self.next_id += 2;
        self.opened += 1;
        self.unacknowledged += 1;
        self.allowance.stream();
        self.streams.insert(id, Stream::opened(self.limits.opened_window_bytes));
        self.schedule(id);
        Ok(StreamId(id))
    }

    /// The next stream that the peer opened. Accepting acknowledges it and widens its window.
    pub fn accept(&mut self) -> Option<StreamId> {
        let id = self.backlog.pop_front()?;
        let window = self.limits.accepted_window_bytes;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.accept(window);
            if !stream.reset {
                self.allowance.stream();
            }
            self.schedule(id);
        }
        Some(StreamId(id))
    }

    /// Nobody accepts any more: streams that wait are reset, as are those that follow.
    pub fn stop_accepting(&mut self) {
        self.limits.backlog_max = 0;
        while let Some(id) = self.backlog.pop_front() {
            self.release(StreamId(id));
        }
    }

    /// Takes what the stream has received, and lets the peer send as much again.
    pub fn read(&mut self, id: StreamId) -> Result<Read, StreamError> {
        let stream = self.streams.get_mut(&id.0).ok_or(StreamError::Reset)?;
        if stream.reset {
            return Err(StreamError::Reset);
        }
        if let Some(data) = stream.unread.pop() {
            if stream.owes_update() {
                self.schedule(id.0);
            }
            return Ok(Read::Data(data));
        }
        if stream.remote_finished {
            return Ok(Read::End);
        }
        if self.ended { Err(StreamError::SessionEnded) } else { Ok(Read::Pending) }
    }

    /// How many bytes [`Session::send`] would take now.
    fn room(&self, id: StreamId) -> Result<usize, StreamError> {
        if self.ended {
            return Err(StreamError::SessionEnded);
        }
        let stream = self.streams.get(&id.0).ok_or(StreamError::Reset)?;
        if stream.reset {
            return Err(StreamError::Reset);
        }
        if stream.finish != Finish::Open {
            return Err(StreamError::Finished);
        }
        Ok(self.limits.send_queue_bytes_max.saturating_sub(stream.unsent.bytes()))
    }

    /// Queues as much of `data` as there is room for, and leaves the rest in it. No byte is
    /// copied. [`Event::Writable`] tells when there is room again.
    pub fn send(&mut self, id: StreamId, data: &mut Bytes) -> Result<usize, StreamError> {
        let taken = self.room(id)?.min(data.len());
        self.queue(id, taken, |stream| stream.unsent.push(data.split_to(taken)));
        Ok(taken)
    }

    /// The same for bytes that must be copied; returns how many were.
    pub fn send_copy(&mut self, id: StreamId, data: &[u8]) -> Result<usize, StreamError> {
        let taken = self.room(id)?.min(data.len());
        self.queue(id, taken, |stream| stream.unsent.copy(&data[..taken]));
        Ok(taken)
    }

    /// No more bytes from us: FIN follows what is queued.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id.0)
            && stream.finish == Finish::Open
            && !stream.reset
        {
            stream.finish = Finish::Wanted;
            self.schedule(id.0);
        }
    }

    /// Whether our FIN is on its way.
    pub fn finished(&self, id: StreamId) -> Result<bool, StreamError> {
        let stream = self.streams.get(&id.0).ok_or(StreamError::Reset)?;
        if stream.finish == Finish::Sent {
            return Ok(true);
        }
        if stream.reset {
            return Err(StreamError::Reset);
        }
        if self.ended { Err(StreamError::SessionEnded) } else { Ok(false) }
    }

    /// The owner of the stream is gone. A stream whose FIN has left waits for the peer's, as Go's
    /// `Close` does, and discards what comes; any other is reset, so that nobody takes half an
    /// answer for a whole one.
    pub fn release(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id.0) else { return };
        stream.released = true;
        stream.unread.clear();
        if stream.over() {
            self.remove(id.0);
        } else if stream.finish == Finish::Sent {
            self.orphan(id.0);
        } else {
            self.reset(id.0);
        }
    }

    /// The connection is gone: every stream ends, what was received can still be read.
    pub fn end(&mut self) {
        self.ended = true;
        for (id, stream) in &mut self.streams {
            stream.unsent.clear();
            self.events.push_back(Event::Readable(StreamId(*id)));
            self.events.push_back(Event::Writable(StreamId(*id)));
        }
        self.ready.clear();
        self.events.push_back(Event::Incoming);
        self.events.push_back(Event::Openable);
    }

    /// What happened since the last call, to be drained after every other call.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Streams that exist, in any state.
    #[cfg(test)]
    fn streams(&self) -> usize {
        self.streams.len()
    }

    fn queue(&mut self, id: StreamId, bytes: usize, add: impl FnOnce(&mut Stream)) {
        if bytes > 0
            && let Some(stream) = self.streams.get_mut(&id.0)
        {
            add(stream);
            self.schedule(id.0);
        }
    }

    fn event(&mut self, event: Event) {
        if self.events.back() != Some(&event) {
            self.events.push_back(event);
        }
    }
}
