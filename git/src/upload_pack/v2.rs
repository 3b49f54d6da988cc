//! The state machine of protocol v2 (gitprotocol-v2).
//!
//! ```text
//!   Start ──capabilities──> Keys ──command, delim──> Arguments ──flush──> Replying ─┐
//!                            ^  └───────command, flush──────────────────>   │       │
//!                            └──────────────── stateful ────────────────────┘       v
//!                                                            stateless: Done    ServePack
//! ```
//!
//! Always true: a command is read whole before anything of its reply is sent.
//! Never here: I/O, and what the answers are.

mod commands;

use bstr::ByteSlice;
use bytes::Bytes;

pub use commands::{Fetch, LsRefs, ObjectInfo};

use self::commands::{PREFIXES_MAX, Refusal, sections};
use super::arguments::text;
use super::question::{Answer, Question};
use super::settings::{Server, Settings, Unborn};
use super::{Delivery, Event, Failure, Fallback, Mode, Next, Step};
use crate::pkt_line::{self, DELIMITER, FLUSH, Packet};
use crate::sideband::Width;

/// Bytes of a command that are kept for a child; longer ones are refused.
const RECORDED_BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
enum Command {
    LsRefs(LsRefs),
    Fetch(Fetch),
    ObjectInfo(ObjectInfo),
    /// One that only the child knows.
    Foreign,
}

#[derive(Debug)]
enum State {
    Start,
    Keys(Keys),
    Arguments(Command),
    Replying { delivery: Delivery },
}

#[derive(Debug, Default)]
struct Keys {
    command: Option<(String, Command)>,
    seen: bool,
    object_format: Option<String>,
}

/// A conversation in v2.
#[derive(Debug)]
pub struct Machine {
    mode: Mode,
    server: Server,
    settings: Settings,
    state: State,
    /// The command so far as it came, kept only where a child may have to read it.
    recorded: Vec<u8>,
    fallback: Option<Fallback>,
}

// === impl Machine ===

impl Machine {
    /// A conversation that has not begun.
    pub fn new(mode: Mode, server: Server, settings: Settings) -> Self {
        let recorded = Vec::new();
        Self { mode, server, settings, state: State::Start, recorded, fallback: None }
    }

    /// Takes one event, says what to do next.
    pub fn on(&mut self, event: Event<'_>) -> Step {
        if let Event::Packet(packet) = &event
            && let Err(step) = self.record(packet)
        {
            return step;
        }
        let state = std::mem::replace(&mut self.state, State::Start);
        match (state, event) {
            (State::Start, Event::Start) => self.start(),
            (State::Keys(keys), Event::Packet(packet)) => self.key(keys, packet),
            (State::Keys(keys), Event::End) if !keys.seen => Step::then(Next::Done),
            (State::Arguments(command), Event::Packet(packet)) => self.argument(command, packet),
            (State::Replying { delivery }, Event::Answer(answer)) => self.reply(*answer, delivery),
            (State::Replying { .. }, Event::Served) => self.next_command(Bytes::new()),
            (_, Event::End) => Step::then(Next::Fail(Failure::HungUp)),
            (state, event) => {
                Step::then(Next::Fail(Failure::Internal(format!("{event:?} in {state:?}"))))
            }
        }
    }

    // Start => (Keys | Done | fallback)
    fn start(&mut self) -> Step {
        if self.mode == Mode::Stateless {
            self.state = State::Keys(Keys::default());
            return Step::read();
        }
        if let Some(reason) = self.settings.advertisement_fallback {
            return Step::then(Next::Fallback { reason, request: Vec::new() });
        }
        let capabilities = self.capabilities();
        if self.mode == Mode::Advertise {
            return Step::sending(capabilities, Next::Done);
        }
        self.state = State::Keys(Keys::default());
        Step::sending(capabilities, Next::Read)
    }

    fn capabilities(&self) -> Vec<u8> {
        let mut out = Vec::new();
        pkt_line::push(&mut out, b"version 2\n");
        pkt_line::push_text(&mut out, format_args!("agent={}\n", self.server.agent));
        let unborn = self.settings.unborn == Unborn::Advertise;
        pkt_line::push(&mut out, if unborn { b"ls-refs=unborn\n" } else { b"ls-refs\n" });
        let filter = if self.settings.allow_filter { " filter" } else { "" };
        let ref_in_want = if self.settings.allow_ref_in_want { " ref-in-want" } else { "" };
        let fetch = format_args!("fetch=shallow wait-for-done{filter}{ref_in_want}\n");
        pkt_line::push_text(&mut out, fetch);
        pkt_line::push(&mut out, b"server-option\n");
        pkt_line::push(&mut out, b"object-format=sha1\n");
        if self.settings.object_info {
            pkt_line::push(&mut out, b"object-info\n");
        }
        out.extend_from_slice(FLUSH);
        out
    }

    // Keys => (Keys | Arguments | Replying | Done)
    fn key(&mut self, mut keys: Keys, packet: Packet<'_>) -> Step {
        match packet {
            Packet::Data(payload) => match self.take_key(&mut keys, pkt_line::chomp(payload)) {
                Ok(()) => {
                    keys.seen = true;
                    self.state = State::Keys(keys);
                    Step::read()
                }
                Err(message) => Step::refuse(&self.server, message),
            },
            Packet::Flush if !keys.seen => Step::then(Next::Done),
            Packet::Flush => match self.command(keys) {
                Ok(command) => self.execute(command),
                Err(message) => Step::refuse(&self.server, message),
            },
            Packet::Delimiter => match self.command(keys) {
                Ok(command) => {
                    self.state = State::Arguments(command);
                    Step::read()
                }
                Err(message) => Step::refuse(&self.server, message),
            },
            Packet::ResponseEnd => {
                Step::refuse(&self.server, "unexpected response end packet".into())
            }
        }
    }

    fn take_key(&mut self, keys: &mut Keys, line: &[u8]) -> Result<(), String> {
        if let Some(name) = line.strip_prefix(b"command=") {
            if let Some((earlier, _)) = &keys.command {
                return Err(format!(
                    "command '{}' requested after already requesting command '{earlier}'",
                    text(name)
                ));
            }
            let command = match name {
                b"ls-refs" => Command::LsRefs(LsRefs::default()),
                b"fetch" => Command::Fetch(Fetch::default()),
                b"object-info" if self.settings.object_info => {
                    Command::ObjectInfo(ObjectInfo::default())
                }
                _ if self.leave_to_child() => Command::Foreign,
                _ => return Err(format!("invalid command '{}'", text(name))),
            };
            keys.command = Some((text(name), command));
            return Ok(());
        }
        let (name, value) = match line.split_once_str(b"=") {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        match name {
            b"agent" | b"server-option" => Ok(()),
            b"object-format" => {
                let value = value.ok_or("object-format capability requires an argument")?;
                if value != b"sha1" && value != b"sha256" {
                    return Err(format!("unknown object format '{}'", text(value)));
                }
                keys.object_format = Some(text(value));
                Ok(())
            }
            _ if self.leave_to_child() => Ok(()),
            _ => Err(format!("unknown capability '{}'", text(line))),
        }
    }

    fn command(&self, keys: Keys) -> Result<Command, String> {
        let (_, command) = keys.command.ok_or("no command requested")?;
        match keys.object_format.as_deref() {
            None | Some("sha1") => Ok(command),
            Some(other) => Err(format!("mismatched object format: server sha1; client {other}")),
        }
    }

    // Arguments => (Arguments | Replying)
    fn argument(&mut self, mut command: Command, packet: Packet<'_>) -> Step {
        match packet {
            Packet::Data(payload) => {
                match self.take_argument(&mut command, pkt_line::chomp(payload)) {
                    Ok(()) => {
                        self.state = State::Arguments(command);
                        Step::read()
                    }
                    Err((message, true)) => Step::refuse_loudly(message),
                    Err((message, false)) => Step::refuse(&self.server, message),
                }
            }
            Packet::Flush => self.execute(command),
            Packet::Delimiter | Packet::ResponseEnd => match command {
                Command::LsRefs(_) => {
                    Step::refuse(&self.server, "expected flush after ls-refs arguments".into())
                }
                Command::ObjectInfo(_) => {
                    Step::refuse_loudly("object-info: expected flush after arguments".into())
                }
                Command::Fetch(_) | Command::Foreign => {
                    Step::refuse(&self.server, "expected flush after fetch arguments".into())
                }
            },
        }
    }

    fn take_argument(&mut self, command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
        match command {
            Command::LsRefs(ls_refs) => {
                ls_refs.take(line, self.settings.unborn).map_err(|message| (message, false))
            }
            Command::Fetch(fetch) => match fetch.take(line, &self.settings)? {
                true => Ok(()),
                false if self.leave_to_child() => Ok(()),
                false => Err((format!("unexpected line: '{}'", text(line)), false)),
            },
            Command::ObjectInfo(info) => info.take(line).map_err(|message| (message, true)),
            Command::Foreign => Ok(()),
        }
    }

    // (Keys | Arguments) => (Replying | fallback)
    fn execute(&mut self, command: Command) -> Step {
        let fetch_fallback = match &command {
            Command::Fetch(_) => self.settings.fetch_fallback,
            Command::LsRefs(_) | Command::ObjectInfo(_) | Command::Foreign => None,
        };
        let mut delivery = Delivery { sideband: Some(Width::Large), progress: true };
        if let Some(reason) = self.fallback.take().or(fetch_fallback) {
            self.state = State::Replying { delivery };
            return Step::then(Next::Fallback {
                reason,
                request: std::mem::take(&mut self.recorded),
            });
        }
        self.recorded.clear();
        let question = match command {
            Command::LsRefs(mut ls_refs) => {
                if ls_refs.prefixes.len() >= PREFIXES_MAX {
                    ls_refs.prefixes.clear();
                }
                Question::LsRefs(ls_refs)
            }
            Command::Fetch(fetch) => {
                delivery.progress = !fetch.needs.no_progress;
                // No wants: nothing is sent at all, not even acknowledgments.
                let nothing = fetch.needs.wants.is_empty() && fetch.needs.want_refs.is_empty();
                if nothing && !fetch.wait_for_done {
                    return self.next_command(Bytes::new());
                }
                Question::Fetch(Box::new(fetch))
            }
            Command::ObjectInfo(info) => Question::ObjectInfo(info),
            Command::Foreign => {
                return Step::then(Next::Fail(Failure::Internal(
                    "a command without a child".into(),
                )));
            }
        };
        self.state = State::Replying { delivery };
        Step::ask(question)
    }

    // Replying => (Replying | Keys | Done)
    fn reply(&mut self, answer: Answer, delivery: Delivery) -> Step {
        match answer {
            Answer::Lines(lines) => self.next_command(lines),
            Answer::Refused(message) => Step::refuse_loudly(message),
            Answer::RefusedQuietly(message) => Step::refuse(&self.server, message),
            Answer::Fetch(answer) => {
                let (send, pack) = sections(*answer);
                match pack {
                    Some(pack) => {
                        self.state = State::Replying { delivery };
                        Step::sending(send, Next::ServePack(Box::new(pack), delivery))
                    }
                    None => self.next_command(send),
                }
            }
            Answer::Boundary(_) | Answer::Haves(_) | Answer::Pack(_) | Answer::Tags(_) => {
                Step::then(Next::Fail(Failure::Internal("an answer to another question".into())))
            }
        }
    }

    fn next_command(&mut self, send: impl Into<Bytes>) -> Step {
        if self.mode == Mode::Stateless {
            return Step::sending(send, Next::Done);
        }
        self.recorded.clear();
        self.state = State::Keys(Keys::default());
        Step::sending(send, Next::Read)
    }

    /// Keeps what came for a child that may have to read it again.
    fn record(&mut self, packet: &Packet<'_>) -> Result<(), Step> {
        if self.settings.advertisement_fallback.is_none() && self.settings.fetch_fallback.is_none()
        {
            return Ok(());
        }
        if self.recorded.len() > RECORDED_BYTES_MAX {
            let message = format!("request of more than {RECORDED_BYTES_MAX} bytes");
            return Err(Step::refuse(&self.server, message));
        }
        match packet {
            Packet::Data(payload) => pkt_line::push(&mut self.recorded, payload),
            Packet::Flush => self.recorded.extend_from_slice(FLUSH),
            Packet::Delimiter => self.recorded.extend_from_slice(DELIMITER),
            Packet::ResponseEnd => self.recorded.extend_from_slice(b"0002"),
        }
        Ok(())
    }

    /// What we do not know may be one of the things that only a child offers here.
    fn leave_to_child(&mut self) -> bool {
        self.fallback = self.fallback.or(self.settings.advertisement_fallback);
        self.fallback.is_some()
    }
}
