//! What a peer's bytes do to a session.
//!
//! Errors are Go's: what makes its session fail makes ours fail, and what it overlooks is
//! overlooked. Ids are stricter (parity, zero). An id may be opened again once its stream is gone:
//! Go sends the SYNs of concurrent opens in any order, so the highest id proves nothing.

use super::flood::Allowance;
use super::frame::{ACK, FIN, GoAway, HEADER_BYTES, Header, Kind, RST, SYN, opened_by};
use super::stream::Stream;
use super::{Event, Session, SessionError, StreamId, WINDOW_INITIAL_BYTES};
use bytes::{Buf, BytesMut};
use std::time::Duration;

/// A data frame whose payload has not arrived completely.
#[derive(Debug, Default)]
pub(super) struct Payload {
    /// Bytes that are still to come.
    remaining: u32,
    /// `None`: they are discarded.
    stream: Option<u32>,
    /// The frame is the last one of its stream: an end seen before its bytes would lose them.
    fin: bool,
}

// === impl Session ===

impl Session {
    /// Takes everything out of `input` except for an incomplete header. Payload is cut from
    /// `input`, not copied, unless it is small. `now` is the time since the session began.
    ///
    /// `input` should hold at most [`READ_BUFFER_BYTES_MAX`](super::READ_BUFFER_BYTES_MAX).
    pub fn receive(&mut self, input: &mut BytesMut, now: Duration) -> Result<(), SessionError> {
        self.allowance.time(now);
        loop {
            self.take_payload(input);
            let Some(header) = input.first_chunk::<HEADER_BYTES>() else { return Ok(()) };
            let header = *header;
            input.advance(HEADER_BYTES);
            if let Err(error) = Header::parse(header).and_then(|header| self.frame(header)) {
                self.fail(error);
                return Err(error);
            }
        }
    }

    fn take_payload(&mut self, input: &mut BytesMut) {
        let taken = input.len().min(self.payload.remaining as usize);
        if taken == 0 {
            return;
        }
        let piece = input.split_to(taken);
        // Not more than `remaining`, which has 32 bits.
        self.payload.remaining -= u32::try_from(taken).unwrap_or(u32::MAX);
        self.allowance.moved(taken);
        let Some(id) = self.payload.stream else { return };
        let fin = self.payload.fin && self.payload.remaining == 0;
        match self.streams.get_mut(&id) {
            Some(stream) if stream.reset => {}
            // A writer whose peer is done must not hang on its window.
            Some(stream) if stream.released => self.schedule(id),
            Some(stream) => {
                stream.unread.receive(piece.freeze());
                self.event(Event::Readable(StreamId(id)));
            }
            None => {}
        }
        if fin {
            self.remote_finished(id);
        }
    }

    fn remote_finished(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.remote_finished = true;
            self.event(Event::Readable(StreamId(id)));
            self.remove_if_over(id);
        }
    }

    fn frame(&mut self, header: Header) -> Result<(), SessionError> {
        if header.kind != Kind::Data || header.length == 0 {
            self.allowance.frame()?;
        }
        match header.kind {
            Kind::Data | Kind::WindowUpdate => self.stream_frame(header),
            Kind::Ping if header.flags & SYN != 0 => {
                if self.control.pong(header.length) {
                    Ok(())
                } else {
                    Err(SessionError::ControlFlood)
                }
            }
            // We ask for nothing, so an answer answers nothing.
            Kind::Ping => Ok(()),
            Kind::GoAway => self.peer_goes_away(header.length),
        }
    }

    fn peer_goes_away(&mut self, code: u32) -> Result<(), SessionError> {
        const NORMAL: u32 = GoAway::Normal as u32;
        const PROTOCOL: u32 = GoAway::ProtocolError as u32;
        const INTERNAL: u32 = GoAway::InternalError as u32;
        match code {
            NORMAL => {
                self.peer_goes_away = true;
                self.event(Event::Openable);
                Ok(())
            }
            PROTOCOL => Err(SessionError::PeerSawProtocolError),
            INTERNAL => Err(SessionError::PeerInternalError),
            unknown => Err(SessionError::GoAwayCode(unknown)),
        }
    }

    fn stream_frame(&mut self, header: Header) -> Result<(), SessionError> {
        if header.flags & SYN != 0 {
            self.incoming(header.id)?;
        }
        if !self.streams.contains_key(&header.id) {
            return self.frame_for_nobody(header);
        }
        self.flags(header)?;
        match header.kind {
            Kind::WindowUpdate => self.widen(header),
            Kind::Data | Kind::Ping | Kind::GoAway => self.data(header),
        }
    }

    fn frame_for_nobody(&mut self, header: Header) -> Result<(), SessionError> {
        if header.kind == Kind::Data && header.length > 0 {
            self.allowance.frame()?;
            self.allowance.discarded(header.length)?;
            self.payload = Payload { remaining: header.length, stream: None, fin: false };
        }
        Ok(())
    }

    fn incoming(&mut self, id: u32) -> Result<(), SessionError> {
        if id == 0 || opened_by(self.role, id) {
            return Err(SessionError::BadId(id));
        }
        if self.streams.contains_key(&id) {
            return Err(SessionError::Duplicate(id));
        }
        if self.control.resets_full() {
            return Err(SessionError::ControlFlood);
        }
        let accepted = self.streams.len() - self.opened;
        let full = self.backlog.len() >= self.limits.backlog_max
            || accepted >= self.limits.accepted_streams_max;
        if full {
            // It may send on until it has seen the RST.
            self.allowance.discard(WINDOW_INITIAL_BYTES);
            self.control.reset(id);
            return Ok(());
        }
        self.streams.insert(id, Stream::incoming());
        self.backlog.push_back(id);
        self.event(Event::Incoming);
        Ok(())
    }

    fn flags(&mut self, header: Header) -> Result<(), SessionError> {
        let id = header.id;
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if header.flags & ACK != 0 && !stream.acknowledged {
            stream.acknowledged = true;
            self.unacknowledged -= 1;
            self.events.push_back(Event::Openable);
        }
        if header.flags & FIN != 0 && stream.remote_finished {
            return Err(SessionError::FinishedTwice(id));
        }
        if header.flags & RST != 0 {
            stream.reset = true;
            stream.unread.clear();
            stream.unsent.clear();
            self.events.push_back(Event::Readable(StreamId(id)));
            self.events.push_back(Event::Writable(StreamId(id)));
        }
        Ok(())
    }

    fn widen(&mut self, header: Header) -> Result<(), SessionError> {
        let id = header.id;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send_window = stream
                .send_window
                .checked_add(header.length)
                .ok_or(SessionError::WindowOverflow(id))?;
        }
        self.schedule(id);
        if header.flags & FIN != 0 {
            self.remote_finished(id);
        }
        self.remove_if_over(id);
        Ok(())
    }

    fn data(&mut self, header: Header) -> Result<(), SessionError> {
        let id = header.id;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.receive_window = stream
                .receive_window
                .checked_sub(header.length)
                .ok_or(SessionError::WindowExceeded(id))?;
            // Go's writer may race with its own close: data behind a FIN belongs to nobody.
            let late = stream.remote_finished;
            let fin = header.flags & FIN != 0;
            self.payload = Payload { remaining: header.length, stream: (!late).then_some(id), fin };
            if fin && header.length == 0 {
                self.remote_finished(id);
            }
        }
        self.remove_if_over(id);
        Ok(())
    }

    fn remove_if_over(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(|stream| stream.released && stream.over()) {
            self.remove(id);
        }
    }

    fn fail(&mut self, error: SessionError) {
        let code = match error {
            // Go says nothing to a peer that does not speak its language, or that ended first.
            SessionError::Version(_)
            | SessionError::FrameType(_)
            | SessionError::PeerSawProtocolError
            | SessionError::PeerInternalError
            | SessionError::GoAwayCode(_) => None,
            SessionError::BadId(_)
            | SessionError::Duplicate(_)
            | SessionError::FinishedTwice(_)
            | SessionError::WindowExceeded(_)
            | SessionError::WindowOverflow(_)
            | SessionError::ControlFlood
            | SessionError::DiscardFlood => Some(GoAway::ProtocolError),
        };
        self.end();
        self.control.end(code);
        self.allowance = Allowance::default();
    }
}
