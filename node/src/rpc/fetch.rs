//! One fetch, top to bottom: a conversation of upload-pack between a client and a snapshot.
//!
//! ```text
//!   Input ──packets──> UploadPack ──question──> Desk (on a worker) ──answer──┐
//!   Output <──bytes───     ^  └──────ServePack──> git pack-objects           │
//!                          └─────────────────────────────────────────────────┘
//! ```
//!
//! The gateway, `gitring-node upload-pack` and every RPC that serves a fetch end in [`serve`].
//!
//! Always true: one snapshot a call; whether a `git upload-pack` child must serve is decided
//! before the first byte of the reply; dropping the future ends the walk and the child.
//! Never here: HTTP, how refs and objects are read.

mod buffers;
mod builder;
mod flow;
mod framing;
mod pack;
mod waiting;

pub use buffers::Buffers;
pub(crate) use pack::ABORTED;

use super::Services;
use super::fallback::{self, Handover};
use super::packets::Packets;
use super::trace::Found;
use super::wire::{Call, FetchError, Input, NoInput, Operation, Output, Summary};
use bytes::Bytes;
use gitring_git::history::Cancel;
use gitring_git::upload_pack::arguments::Needs;
use gitring_git::upload_pack::question::FetchAnswer;
use gitring_git::upload_pack::{
    Answer, Desk, Event, Failure, Fallback, Mode, Next, Question, Server, Settings, UploadPack,
};
use std::rc::Rc;
use std::sync::Arc;

/// What one call works with.
struct Conversation<'a, I, O> {
    services: &'a Rc<Services>,
    call: &'a Call,
    packets: Packets<'a, I>,
    output: &'a mut O,
    settings: Settings,
    summary: Summary,
}

/// Ends the walk on a worker when the call is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Serves `call`: reads the client's side from `input`, writes ours to `output`.
pub async fn serve<I: Input, O: Output>(
    services: &Rc<Services>,
    call: Call,
    input: &mut I,
    output: &mut O,
) -> Result<Summary, FetchError> {
    if let Some(reason) = call.snapshot.unsupported {
        let reason = Fallback::Repository(reason).label();
        let handover = Handover { reason, already_read: Bytes::new() };
        return fallback::serve(services, &call, handover, input, output).await;
    }
    let settings = settings(services, &call)?;
    let mode = match (call.operation, call.stateless) {
        (Operation::AdvertiseRefs, _) => Mode::Advertise,
        (Operation::UploadPack, true) => Mode::Stateless,
        (Operation::UploadPack, false) => Mode::Stateful,
    };
    let server = server(services, &call);
    let cancel = CancelOnDrop(Cancel::default());
    let snapshot = Arc::clone(&call.snapshot);
    let desk =
        Desk::new(snapshot, server.clone(), settings.clone(), call.stateless, cancel.0.clone());
    let machine = UploadPack::new(call.version, mode, server, settings.clone());
    let conversation = Conversation {
        services,
        call: &call,
        packets: Packets::new(input),
        output,
        settings,
        summary: Summary::default(),
    };
    conversation.hold(machine, desk).await
}

fn server(services: &Services, call: &Call) -> Server {
    Server {
        agent: services.agent.clone(),
        namespace: call.namespace.clone(),
        explain_errors: services.explain_errors,
    }
}

fn settings(services: &Services, call: &Call) -> Result<Settings, FetchError> {
    let config = call.snapshot.config.with_overrides(&services.git.settings(&call.options));
    let config = config.map_err(|error| FetchError::Config(error.to_string()))?;
    Settings::from_config(&config).map_err(|error| FetchError::Config(error.to_string()))
}

fn found(needs: &Needs, answer: &FetchAnswer) -> Found {
    let known = answer.acknowledgments.as_ref().map(|acks| acks.common.len());
    Found {
        haves: known.unwrap_or(answer.common),
        wants: needs.wants.len() + needs.want_refs.len(),
    }
}

// === impl Conversation ===

impl<I: Input, O: Output> Conversation<'_, I, O> {
    async fn hold(mut self, mut machine: UploadPack, desk: Desk) -> Result<Summary, FetchError> {
        let mut desk = Some(desk);
        let mut step = machine.on(Event::Start);
        loop {
            let told = !step.send.is_empty();
            if told {
                if let Some(trace) = &self.services.trace {
                    trace.sent(&step.send);
                }
                // What goes before a pack goes once it is known that there will be one.
                if !matches!(step.next, Next::ServePack(..)) {
                    self.send(std::mem::take(&mut step.send)).await?;
                }
            }
            step = match step.next {
                Next::Read => match self.packets.next().await? {
                    Some(packet) => {
                        if let Some(trace) = &self.services.trace {
                            trace.received(packet.packet());
                        }
                        machine.on(Event::Packet(packet.packet()))
                    }
                    None => machine.on(Event::End),
                },
                Next::Ask(question) => {
                    let answer = self.ask(&mut desk, question).await?;
                    machine.on(Event::Answer(Box::new(answer)))
                }
                Next::ServePack(request, delivery) => {
                    pack::serve(&mut self, request, delivery, step.send).await?;
                    machine.on(Event::Served)
                }
                Next::Fallback { reason, request } => {
                    if !self.fall_back(reason, request).await? {
                        return Ok(self.summary);
                    }
                    machine.on(Event::Served)
                }
                Next::Done => return Ok(self.summary),
                // The client knows why: for its transport the reply is whole.
                Next::Fail(Failure::Refused(why)) if told => {
                    self.summary.refused = Some(why);
                    return Ok(self.summary);
                }
                Next::Fail(failure) => return Err(failure.into()),
            };
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        self.summary.response_bytes += bytes.len() as u64;
        Ok(self.output.write(bytes).await?)
    }

    /// The desk travels to a worker and back, for it reads files and walks history; unless it has
    /// the answer already.
    async fn ask(
        &mut self,
        desk: &mut Option<Desk>,
        question: Question,
    ) -> Result<Answer, FetchError> {
        let Some(mut at_work) = desk.take() else {
            return Err(Failure::Internal("the desk did not come back".into()).into());
        };
        if let Some(answer) = at_work.remembered(&question) {
            *desk = Some(at_work);
            return Ok(answer);
        }
        let traced = match (&self.services.trace, &question) {
            (Some(trace), Question::Fetch(fetch)) => Some((trace, fetch.needs.clone())),
            (Some(_) | None, _) => None,
        };
        let work = move || {
            let answer = at_work.answer(question);
            (at_work, answer)
        };
        let (back, answer) = self.services.workers.run(work).await?;
        *desk = Some(back);
        let answer = answer?;
        if let (Some((trace, needs)), Answer::Fetch(answer)) = (traced, &answer) {
            trace.fetch_info(&needs, found(&needs, answer));
        }
        Ok(answer)
    }

    /// Whether the conversation goes on: in v2 a child replies to one whole command, in v0 and
    /// where it advertises it takes over the connection.
    async fn fall_back(&mut self, reason: Fallback, request: Vec<u8>) -> Result<bool, FetchError> {
        let whole_connection = request.is_empty();
        let reason = reason.label();
        let summary = if whole_connection {
            let handover = Handover { reason, already_read: self.packets.take_unread() };
            let input = self.packets.input();
            fallback::serve(self.services, self.call, handover, input, self.output).await?
        } else {
            let call = Call { stateless: true, ..self.call.clone() };
            let handover = Handover { reason, already_read: request.into() };
            fallback::serve(self.services, &call, handover, &mut NoInput, self.output).await?
        };
        self.summary.response_bytes += summary.response_bytes;
        Ok(!whole_connection)
    }
}
