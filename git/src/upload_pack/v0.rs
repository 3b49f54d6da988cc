//! The state machine of protocol v0 and v1 (gitprotocol-pack).
//!
//! ```text
//!   Start ──refs──> Needs ──flush──> boundary ──> Haves ──flush──> ACK/NAK ──┐
//!                     │                             ^ └──done──> last ACK    │
//!                     └ no wants: Done              └────── stateful ────────┤
//!                                                      stateless: Done       v
//!                                                           no-done: pack, pack
//! ```
//!
//! Always true: haves are judged in batches of at most [`BATCH_MAX`], each answered in order; a
//! client reads our answers after its own flush or `done`, so none waits for another.
//! Never here: I/O, and what the answers are.

use bstr::ByteSlice;

use super::arguments::{Needs, object_id, push, text};
use super::question::{Answer, HaveAnswer, HavesAnswer, Question};
use super::settings::{Server, Settings};
use super::{Delivery, Event, Failure, Fallback, Mode, Next, Step, Version};
use crate::ObjectId;
use crate::pkt_line::{self, FLUSH, Packet};
use crate::sideband::Width;

/// Haves that are judged at once.
const BATCH_MAX: usize = 1_024;

/// The dialect of acknowledgments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum MultiAck {
    #[default]
    No,
    Yes,
    Detailed,
}

#[derive(Debug)]
enum State {
    Start,
    Advertising,
    Needs(Box<Needs>),
    Bounding,
    /// In a stateless round the client may stop here: it only wanted to hear of the boundary.
    BeforeHaves,
    Haves(Vec<ObjectId>),
    Judging(BatchEnd),
    Packing,
}

/// Why a batch of haves was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchEnd {
    Full,
    Flush,
    Done,
}

/// A conversation in v0 or v1.
#[derive(Debug)]
pub struct Machine {
    version: Version,
    mode: Mode,
    server: Server,
    settings: Settings,
    state: State,
    multi_ack: MultiAck,
    no_done: bool,
    filter_negotiated: bool,
    sideband: Option<Width>,
    no_progress: bool,
    wants_nothing: bool,
    round: Round,
    common: usize,
    last_common: Option<ObjectId>,
    sent_ready: bool,
}

/// What was seen since the last flush.
#[derive(Debug, Default)]
struct Round {
    got_common: bool,
    got_other: bool,
}

// === impl Machine ===

impl Machine {
    /// A conversation that has not begun.
    pub fn new(version: Version, mode: Mode, server: Server, settings: Settings) -> Self {
        Self {
            version,
            mode,
            server,
            settings,
            state: State::Start,
            multi_ack: MultiAck::No,
            no_done: false,
            filter_negotiated: false,
            sideband: None,
            no_progress: false,
            wants_nothing: true,
            round: Round::default(),
            common: 0,
            last_common: None,
            sent_ready: false,
        }
    }

    /// Takes one event, says what to do next.
    pub fn on(&mut self, event: Event<'_>) -> Step {
        let state = std::mem::replace(&mut self.state, State::Start);
        match (state, event) {
            (State::Start, Event::Start) => self.start(),
            (State::Advertising, Event::Answer(answer)) => self.advertised(*answer),
            (State::Needs(needs), Event::Packet(Packet::Data(payload))) => {
                self.need(needs, pkt_line::chomp(payload))
            }
            (State::Needs(needs), Event::Packet(_)) => {
                self.state = State::Bounding;
                Step::ask(Question::Boundary(needs))
            }
            (State::Bounding, Event::Answer(answer)) => self.bounded(*answer),
            (State::BeforeHaves, Event::End) if self.mode == Mode::Stateless => {
                Step::then(Next::Done)
            }
            (State::BeforeHaves, Event::Packet(packet)) => self.have(Vec::new(), packet),
            (State::Haves(batch), Event::Packet(packet)) => self.have(batch, packet),
            (State::Judging(end), Event::Answer(answer)) => self.judged(*answer, end),
            (State::Packing, Event::Answer(answer)) => self.pack(*answer),
            (State::Packing, Event::Served) => Step::then(Next::Done),
            (_, Event::End) => Step::then(Next::Fail(Failure::HungUp)),
            (state, event) => {
                Step::then(Next::Fail(Failure::Internal(format!("{event:?} in {state:?}"))))
            }
        }
    }

    // Start => (Advertising | Needs | fallback)
    fn start(&mut self) -> Step {
        let offered = self.settings.advertisement_fallback;
        let session_id = offered.filter(|reason| *reason == Fallback::SessionId);
        if let Some(reason) = session_id.or(self.settings.fetch_fallback) {
            return Step::then(Next::Fallback { reason, request: Vec::new() });
        }
        if self.mode == Mode::Stateless {
            self.state = State::Needs(Box::default());
            return Step::read();
        }
        self.state = State::Advertising;
        Step::ask(Question::Advertise { capabilities: self.capabilities() })
    }

    /// The capabilities behind the `symref` entries that the desk puts in.
    fn capabilities(&self) -> String {
        let allow = self.settings.allow_wants;
        let when = |on: bool, text: &'static str| if on { text } else { "" };
        format!(
            "multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not \
             deepen-relative no-progress include-tag multi_ack_detailed{}{}{}{{symrefs}}{} \
             object-format=sha1 agent={}",
            when(allow.tip(), " allow-tip-sha1-in-want"),
            when(allow.reachable(), " allow-reachable-sha1-in-want"),
            when(self.mode == Mode::Advertise, " no-done"),
            when(self.settings.allow_filter, " filter"),
            self.server.agent,
        )
    }

    // Advertising => (Needs | Done)
    fn advertised(&mut self, answer: Answer) -> Step {
        let Answer::Lines(lines) = answer else { return mismatch() };
        let mut send = lines;
        if self.version == Version::V1 {
            let mut line = Vec::with_capacity(send.len() + 16);
            pkt_line::push(&mut line, b"version 1\n");
            line.extend_from_slice(&send);
            send = line.into();
        }
        if self.mode == Mode::Advertise {
            return Step::sending(send, Next::Done);
        }
        self.state = State::Needs(Box::default());
        Step::sending(send, Next::Read)
    }

    // Needs => Needs
    fn need(&mut self, mut needs: Box<Needs>, line: &[u8]) -> Step {
        match self.take_need(&mut needs, line) {
            Ok(()) => {
                self.state = State::Needs(needs);
                Step::read()
            }
            Err((message, true)) => Step::refuse_loudly(message),
            Err((message, false)) => Step::refuse(&self.server, message),
        }
    }

    fn take_need(&mut self, needs: &mut Needs, line: &[u8]) -> Result<(), (String, bool)> {
        let quietly = |message: String| (message, false);
        if needs.take_shallow_line(line).map_err(quietly)? {
            return Ok(());
        }
        if let Some(spec) = line.strip_prefix(b"filter ") {
            if !self.filter_negotiated {
                return Err(quietly("git upload-pack: filtering capability not negotiated".into()));
            }
            return needs.take_filter(spec, &self.settings);
        }
        let want = line.strip_prefix(b"want ").filter(|rest| rest.len() >= 40);
        let Some((id, features)) = want
            .map(|rest| rest.split_at(40))
            .and_then(|(name, features)| Some((object_id(name)?, features)))
        else {
            return Err(quietly(format!(
                "git upload-pack: protocol error, expected to get object ID, not '{}'",
                text(line)
            )));
        };
        self.take_features(needs, features);
        self.wants_nothing = false;
        push(&mut needs.wants, id).map_err(quietly)
    }

    fn take_features(&mut self, needs: &mut Needs, features: &[u8]) {
        for feature in features.fields() {
            match feature {
                b"deepen-relative" => needs.relative = true,
                b"multi_ack_detailed" => self.multi_ack = MultiAck::Detailed,
                b"multi_ack" if self.multi_ack == MultiAck::No => self.multi_ack = MultiAck::Yes,
                b"no-done" => self.no_done = true,
                b"thin-pack" => needs.thin = true,
                b"ofs-delta" => needs.ofs_delta = true,
                b"side-band-64k" => self.sideband = Some(Width::Large),
                b"side-band" if self.sideband.is_none() => self.sideband = Some(Width::Small),
                b"no-progress" => self.no_progress = true,
                b"include-tag" => needs.include_tag = true,
                b"filter" if self.settings.allow_filter => self.filter_negotiated = true,
                // agent, session-id, object-format and whatever comes: nothing depends on them.
                _ => {}
            }
        }
    }

    // Bounding => (BeforeHaves | Done)
    fn bounded(&mut self, answer: Answer) -> Step {
        let mut send = Vec::new();
        match answer {
            Answer::Boundary(None) => {}
            Answer::Boundary(Some(boundary)) => {
                boundary.push_lines(&mut send);
                send.extend_from_slice(FLUSH);
            }
            Answer::Refused(message) => return Step::refuse_loudly(message),
            Answer::RefusedQuietly(message) => return Step::refuse(&self.server, message),
            Answer::Lines(_)
            | Answer::Haves(_)
            | Answer::Fetch(_)
            | Answer::Pack(_)
            | Answer::Tags(_) => return mismatch(),
        }
        if self.wants_nothing {
            return Step::sending(send, Next::Done);
        }
        self.state = State::BeforeHaves;
        Step::sending(send, Next::Read)
    }

    // Haves => (Haves | Judging)
    fn have(&mut self, mut batch: Vec<ObjectId>, packet: Packet<'_>) -> Step {
        let end = match packet {
            Packet::Data(payload) => {
                let line = pkt_line::chomp(payload);
                if line == b"done" {
                    BatchEnd::Done
                } else if let Some(name) = line.strip_prefix(b"have ") {
                    let Some(id) = object_id(name) else {
                        let message =
                            format!("git upload-pack: expected SHA1 object, got '{}'", text(name));
                        return Step::refuse(&self.server, message);
                    };
                    batch.push(id);
                    if batch.len() < BATCH_MAX {
                        self.state = State::Haves(batch);
                        return Step::read();
                    }
                    BatchEnd::Full
                } else {
                    let message =
                        format!("git upload-pack: expected SHA1 list, got '{}'", text(line));
                    return Step::refuse(&self.server, message);
                }
            }
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => BatchEnd::Flush,
        };
        self.state = State::Judging(end);
        let judge = self.multi_ack != MultiAck::No;
        let judge_end = end == BatchEnd::Flush && self.multi_ack == MultiAck::Detailed;
        Step::ask(Question::Haves { ids: batch, judge, judge_end })
    }

    // Judging => (Haves | Packing | Done)
    fn judged(&mut self, answer: Answer, end: BatchEnd) -> Step {
        let Answer::Haves(answer) = answer else { return mismatch() };
        let mut send = Vec::new();
        self.acknowledge(&answer, &mut send);
        match end {
            BatchEnd::Full => {
                self.state = State::Haves(Vec::new());
                Step::sending(send, Next::Read)
            }
            BatchEnd::Flush => self.flushed(answer.ready_at_end, send),
            BatchEnd::Done => {
                match (self.last_common, self.multi_ack) {
                    (None, _) => pkt_line::push(&mut send, b"NAK\n"),
                    (Some(_), MultiAck::No) => {}
                    (Some(id), _) => pkt_line::push_text(&mut send, format_args!("ACK {id}\n")),
                }
                self.state = State::Packing;
                Step::sending(send, Next::Ask(Question::Pack))
            }
        }
    }

    fn acknowledge(&mut self, answer: &HavesAnswer, send: &mut Vec<u8>) {
        for have in &answer.haves {
            match *have {
                HaveAnswer::Unknown { id, ready } => {
                    self.round.got_other = true;
                    match self.multi_ack {
                        MultiAck::Detailed if ready => {
                            self.sent_ready = true;
                            pkt_line::push_text(send, format_args!("ACK {id} ready\n"));
                        }
                        MultiAck::Yes if ready => {
                            pkt_line::push_text(send, format_args!("ACK {id} continue\n"));
                        }
                        MultiAck::No | MultiAck::Yes | MultiAck::Detailed => {}
                    }
                }
                HaveAnswer::Known { id, common } => {
                    self.round.got_common = true;
                    self.common = common;
                    self.last_common = Some(id);
                    match self.multi_ack {
                        MultiAck::Detailed => {
                            pkt_line::push_text(send, format_args!("ACK {id} common\n"));
                        }
                        MultiAck::Yes => {
                            pkt_line::push_text(send, format_args!("ACK {id} continue\n"));
                        }
                        MultiAck::No if common == 1 => {
                            pkt_line::push_text(send, format_args!("ACK {id}\n"));
                        }
                        MultiAck::No => {}
                    }
                }
            }
        }
    }

    fn flushed(&mut self, ready: bool, mut send: Vec<u8>) -> Step {
        let round = std::mem::take(&mut self.round);
        if round.got_common
            && !round.got_other
            && ready
            && let Some(id) = self.last_common
        {
            self.sent_ready = true;
            pkt_line::push_text(&mut send, format_args!("ACK {id} ready\n"));
        }
        if self.common == 0 || self.multi_ack != MultiAck::No {
            pkt_line::push(&mut send, b"NAK\n");
        }
        if self.no_done
            && self.sent_ready
            && let Some(id) = self.last_common
        {
            pkt_line::push_text(&mut send, format_args!("ACK {id}\n"));
            self.state = State::Packing;
            return Step::sending(send, Next::Ask(Question::Pack));
        }
        if self.mode == Mode::Stateless {
            return Step::sending(send, Next::Done);
        }
        self.state = State::Haves(Vec::new());
        Step::sending(send, Next::Read)
    }

    // Packing => Packing
    fn pack(&mut self, answer: Answer) -> Step {
        let Answer::Pack(request) = answer else { return mismatch() };
        self.state = State::Packing;
        let delivery = Delivery { sideband: self.sideband, progress: !self.no_progress };
        Step::then(Next::ServePack(request, delivery))
    }
}

fn mismatch() -> Step {
    Step::then(Next::Fail(Failure::Internal("an answer to another question".into())))
}
