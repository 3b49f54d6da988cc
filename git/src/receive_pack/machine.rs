//! The state machine of a push.
//!
//! Always true: nothing is sent but whole packets; after [`Next::Done`] and [`Next::Fail`] there is
//! nothing more to say.
//! Never here: I/O, and what the answers are.

use bstr::ByteSlice;
use bytes::Bytes;

use super::report::report;
use super::{
    Answer, Event, Failure, Mode, Next, PushRequest, Question, Server, Settings, Step, Version,
};
use crate::pkt_line::{self, FLUSH, Packet};
use crate::sideband::{self, Band, Width};

/// One conversation.
#[derive(Debug)]
pub struct ReceivePack {
    version: Version,
    mode: Mode,
    server: Server,
    settings: Settings,
    state: State,
    /// What was understood so far; handed out with [`Next::Receive`].
    request: PushRequest,
    /// How the client hears of the end; from then on.
    sideband: Option<Width>,
}

#[derive(Debug)]
enum State {
    Start,
    Advertising,
    Commands,
    Options,
    Receiving,
    Finishing,
    Ended,
}

// === impl ReceivePack ===

impl ReceivePack {
    /// A conversation that has not begun.
    pub fn new(version: Version, mode: Mode, server: Server, settings: Settings) -> Self {
        let request = PushRequest::default();
        Self { version, mode, server, settings, state: State::Start, request, sideband: None }
    }

    /// Memory that what the client said takes, in bytes, as long as it is here.
    pub fn request_bytes(&self) -> usize {
        self.request.bytes()
    }

    /// Whether the client has begun to say what it wants.
    pub fn has_begun(&self) -> bool {
        !self.request.commands.is_empty() || !self.request.shallow.is_empty()
    }

    /// Takes one event, says what to do next.
    pub fn on(&mut self, event: Event<'_>) -> Step {
        let state = std::mem::replace(&mut self.state, State::Ended);
        match (state, event) {
            (State::Start, Event::Start) => self.start(),
            (State::Advertising, Event::Answer(answer)) => self.advertised(*answer),
            (State::Commands | State::Options, Event::Packet(Packet::Data(payload)))
                if payload.starts_with(b"ERR ") =>
            {
                let message = pkt_line::chomp(&payload[4..]).to_str_lossy().into_owned();
                Step::then(Next::Fail(Failure::Remote(message)))
            }
            (State::Commands, Event::Packet(Packet::Data(payload))) => {
                let taken = self.request.take_line(pkt_line::chomp(payload), &self.settings);
                self.taken(taken, State::Commands)
            }
            (State::Options, Event::Packet(Packet::Data(payload))) => {
                let taken = self.request.take_option(pkt_line::chomp(payload));
                self.taken(taken, State::Options)
            }
            (State::Commands, Event::Packet(_)) => self.commands_end(),
            (State::Options, Event::Packet(_)) => self.receive(),
            (State::Receiving, Event::Received(outcome)) => {
                self.state = State::Finishing;
                Step::sending(report(&outcome), Next::PostReceive)
            }
            (State::Finishing, Event::Finished) => self.done(),
            (_, Event::End) => Step::then(Next::Fail(Failure::HungUp)),
            (state, event) => {
                Step::then(Next::Fail(Failure::Internal(format!("{event:?} in {state:?}"))))
            }
        }
    }

    // Start => (Advertising | Commands | fallback)
    fn start(&mut self) -> Step {
        if let Some(reason) = self.settings.fallback {
            return Step::then(Next::Fallback { reason, request: Vec::new() });
        }
        if self.mode == Mode::Stateless {
            self.state = State::Commands;
            return Step::read();
        }
        self.state = State::Advertising;
        Step::then(Next::Ask(Question::Advertise { capabilities: self.capabilities() }))
    }

    fn capabilities(&self) -> String {
        let when = |on: bool, text: &'static str| if on { text } else { "" };
        format!(
            "report-status report-status-v2 delete-refs side-band-64k quiet{}{}{} \
             object-format=sha1 agent={}",
            when(self.settings.advertise_atomic, " atomic"),
            when(self.settings.ofs_delta, " ofs-delta"),
            when(self.settings.advertise_push_options, " push-options"),
            self.server.agent,
        )
    }

    // Advertising => (Commands | Done)
    fn advertised(&mut self, answer: Answer) -> Step {
        let Answer::Lines(lines) = answer;
        let send = match self.version {
            Version::V1 => {
                let mut line = Vec::with_capacity(lines.len() + 16);
                pkt_line::push(&mut line, b"version 1\n");
                line.extend_from_slice(&lines);
                Bytes::from(line)
            }
            Version::V0 | Version::V2 => lines,
        };
        if self.mode == Mode::Advertise {
            return Step::sending(send, Next::Done);
        }
        self.state = State::Commands;
        Step::sending(send, Next::Read)
    }

    fn taken(&mut self, taken: Result<(), String>, state: State) -> Step {
        match taken {
            Ok(()) => {
                self.state = state;
                Step::read()
            }
            Err(message) => self.refuse(message),
        }
    }

    /// Ends the conversation over what the client did. git tells its own terminal alone; over a
    /// network the client hears of it, in the band for errors if it knows bands.
    fn refuse(&self, message: String) -> Step {
        let mut send = Vec::new();
        if self.server.explain_errors {
            match self.request.sideband {
                Some(width) => {
                    sideband::push(&mut send, Band::Error, width, message.as_bytes());
                }
                None => {
                    let mut payload = format!("ERR {message}").into_bytes();
                    payload.truncate(pkt_line::PAYLOAD_BYTES_MAX);
                    pkt_line::push(&mut send, &payload);
                }
            }
        }
        Step::sending(send, Next::Fail(Failure::Refused(message)))
    }

    // Commands => (Options | Receiving | Done)
    fn commands_end(&mut self) -> Step {
        if self.request.commands.is_empty() {
            return self.done();
        }
        if self.request.has_push_options {
            self.state = State::Options;
            return Step::read();
        }
        self.receive()
    }

    // Options => Receiving
    fn receive(&mut self) -> Step {
        self.state = State::Receiving;
        self.sideband = self.request.sideband;
        let request = std::mem::take(&mut self.request);
        Step::then(Next::Receive(Box::new(request)))
    }

    // Finishing => Done
    fn done(&self) -> Step {
        let flush = if self.request.sideband.or(self.sideband).is_some() { FLUSH } else { b"" };
        Step::sending(flush, Next::Done)
    }
}
