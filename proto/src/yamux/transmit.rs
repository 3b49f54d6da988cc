//! What a session puts on the wire: control frames first, then the streams in turns.

use super::frame::{ACK, FIN, GoAway, HEADER_BYTES, Header, Kind, RST};
use super::stream::{Finish, Stream};
use super::{Event, Session, StreamId};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes of one stream before it is another one's turn.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// Ping answers that wait for the socket. An honest peer has one ping on its way.
const PONGS_MAX: usize = 64;
/// RSTs that wait for the socket; with so many of them the peer opens no further stream.
const RESETS_MAX: usize = 4096;

/// Control frames of the session itself.
#[derive(Debug, Default)]
pub(super) struct Control {
    go_away: Option<GoAway>,
    pongs: VecDeque<u32>,
    resets: VecDeque<u32>,
}

/// Frames on their way to the socket: headers and payload in pieces.
#[derive(Debug, Default)]
pub struct Outgoing {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    headers: BytesMut,
}

// === impl Control ===

impl Control {
    /// False: too many wait.
    pub(super) fn pong(&mut self, value: u32) -> bool {
        let fits = self.pongs.len() < PONGS_MAX;
        if fits {
            self.pongs.push_back(value);
        }
        fits
    }

    /// Whether a peer opens streams faster than it reads their RSTs.
    pub(super) fn resets_full(&self) -> bool {
        self.resets.len() >= RESETS_MAX
    }

    pub(super) fn reset(&mut self, id: u32) {
        self.resets.push_back(id);
    }

    /// Nothing but this is sent any more.
    pub(super) fn end(&mut self, code: Option<GoAway>) {
        *self = Self { go_away: code, ..Self::default() };
    }

    fn waiting(&self) -> bool {
        self.go_away.is_some() || !self.pongs.is_empty() || !self.resets.is_empty()
    }

    fn transmit(&mut self, out: &mut Outgoing) {
        while let Some(length) = self.pongs.pop_front() {
            out.header(Header { kind: Kind::Ping, flags: ACK, id: 0, length });
        }
        while let Some(id) = self.resets.pop_front() {
            out.header(Header { kind: Kind::WindowUpdate, flags: RST, id, length: 0 });
        }
        if let Some(code) = self.go_away.take() {
            out.header(Header { kind: Kind::GoAway, flags: 0, id: 0, length: code as u32 });
        }
    }
}

// === impl Session ===

impl Session {
    /// Adds frames to `out` until it holds about `bytes_max` or nothing is ready. What is in `out`
    /// counts as sent: the caller must write it, and should call again only once it has.
    pub fn transmit(&mut self, out: &mut Outgoing, bytes_max: usize) {
        self.control.transmit(out);
        let before = out.bytes;
        while out.bytes < bytes_max
            && let Some(id) = self.ready.pop_front()
        {
            let turn_bytes_max = if self.ready.is_empty() {
                // Nobody else waits: one frame instead of several.
                bytes_max - out.bytes
            } else {
                TURN_BYTES_MAX.min(bytes_max - out.bytes)
            };
            self.turn(id, out, turn_bytes_max);
        }
        out.close_headers();
        self.allowance.moved(out.bytes - before);
    }

    /// Whether [`Session::transmit`] has something to add.
    pub fn wants_transmit(&self) -> bool {
        !self.ready.is_empty() || self.control.waiting()
    }

    fn turn(&mut self, id: u32, out: &mut Outgoing, bytes_max: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.scheduled = false;
        if stream.reset {
            return;
        }
        update(id, stream, out);
        let data = data(id, stream, out, bytes_max);
        let fin = stream.owes_fin();
        if fin {
            stream.finish = Finish::Sent;
            out.header(Header { kind: Kind::WindowUpdate, flags: FIN, id, length: 0 });
        }
        if data || fin {
            self.event(Event::Writable(StreamId(id)));
        }
        self.schedule(id);
    }
}

fn update(id: u32, stream: &mut Stream, out: &mut Outgoing) {
    if stream.greeting == 0 && !stream.owes_update() {
        return;
    }
    let length = stream.update();
    let flags = std::mem::take(&mut stream.greeting);
    stream.receive_window += length;
    out.header(Header { kind: Kind::WindowUpdate, flags, id, length });
}

fn data(id: u32, stream: &mut Stream, out: &mut Outgoing, bytes_max: usize) -> bool {
    let mut remaining = stream.sendable().min(bytes_max);
    if remaining == 0 {
        return false;
    }
    // Not more than `send_window`, which has 32 bits.
    let length = u32::try_from(remaining).unwrap_or(u32::MAX);
    stream.send_window -= length;
    out.header(Header { kind: Kind::Data, flags: 0, id, length });
    while remaining > 0
        && let Some(piece) = stream.unsent.pop_up_to(remaining)
    {
        remaining -= piece.len();
        out.payload(piece);
    }
    true
}

// === impl Outgoing ===

impl Outgoing {
    /// Everything was written.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that are still to be written.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fills `slices` with what a vectored write should write next, and returns how many it
    /// filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// `bytes` of it were written.
    pub fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while bytes > 0
            && let Some(front) = self.pieces.front_mut()
        {
            if bytes < front.len() {
                front.advance(bytes);
                return;
            }
            bytes -= front.len();
            self.pieces.pop_front();
        }
    }

    fn header(&mut self, header: Header) {
        // Room for many headers; the buffer is used again once they were written.
        if self.headers.capacity() - self.headers.len() < HEADER_BYTES {
            self.headers.reserve(64 * HEADER_BYTES);
        }
        self.headers.extend_from_slice(&header.encode());
        self.bytes += HEADER_BYTES;
    }

    fn payload(&mut self, piece: Bytes) {
        self.close_headers();
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// Headers in a row are one piece.
    fn close_headers(&mut self) {
        if !self.headers.is_empty() {
            self.pieces.push_back(self.headers.split().freeze());
        }
    }
}
