//! One push, top to bottom: a conversation of receive-pack between a client and a repository.
//!
//! ```text
//!   Input ──packets──> ReceivePack ──question──> Desk (on a worker)
//!   Output <──report──     │ Receive
//!                          └─> objects: quarantine, git child, fsync, connectivity
//!                              └─> gate: may this user do that? (GitLab, hooks)
//!                                  └─> refs: prepare, vote, publish, commit, vote
//!                                      └─> report ─> gate: hooks that run afterwards
//! ```
//!
//! Every transport's pushes end in [`serve`].
//!
//! Always true:
//! - whether a `git receive-pack` child must serve is decided before the first byte of the reply;
//! - a client that hears of success has its objects, then its refs on stable storage; hooks that run
//!   after a push, and readers, hear of it no earlier;
//! - dropping the future ends the child and removes the quarantine, until the push lands: from then
//!   on it goes on to its end.
//!
//! Never here: HTTP, gRPC; what a user may do.

pub mod gate;
mod judging;
mod landings;
mod line;
mod not_landed;
mod objects;
mod receive;
mod refs;
mod share;
mod uncertain;
mod upkeep;
mod voice;

pub use self::landings::Landings;
pub use self::share::{CommandMemory, OutOfMemory};

use self::gate::Gate;
use self::line::Shore;
use self::share::Share;
use super::Services;
use super::fallback::{self, Relayed};
use super::packets::{Framed, PacketError, Packets};
use super::votes::Ballot;
use super::wire::{FetchError, Gone, Input, Output, Summary};
use crate::reactor::children::{Account, ChildCommand, CommandName, Need, SpawnError};
use crate::reactor::workers::WorkerError;
use bstr::BString;
use bytes::Bytes;
use gitring_git::quarantine::QuarantineError;
use gitring_git::receive_pack::{
    Answer, Desk, DeskError, Event, Failure, Fallback, Mode, Next, Question, ReceivePack, Server,
    Settings, Version,
};
use gitring_git::refs::Namespace;
use gitring_git::repository::{Repository, RepositoryError, Snapshot};
use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a client wants of `git receive-pack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The references and capabilities.
    AdvertiseRefs,
    /// A push.
    ReceivePack,
}

/// One request, whatever transport it came by.
#[derive(Debug)]
pub struct Call {
    /// What is pushed to.
    pub repository: Arc<Repository>,
    /// The repository as it was when the request came.
    pub snapshot: Arc<Snapshot>,
    /// What is asked for.
    pub operation: Operation,
    /// In which protocol.
    pub version: Version,
    /// One request is one round, as over HTTP.
    pub stateless: bool,
    /// Git configuration of this request; wins over the repository's.
    pub options: Vec<(String, Option<String>)>,
    /// Whose refs are served; the whole repository's where it is empty.
    pub namespace: Namespace,
    /// Who pays for children.
    pub account: Arc<Account>,
    /// Who judges the push.
    pub gate: Gate,
    /// How the nodes of a transaction agree.
    pub ballot: Ballot,
    /// As whom reflogs name the pusher, `name <mail>`; where there are none, nobody.
    pub committer: Option<BString>,
}

/// Why a push failed, where the report could not say so.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The client does not read any more.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The client's bytes did not arrive.
    #[error("read the request")]
    Input(#[source] io::Error),
    /// The client broke the protocol, or went away inside it.
    #[error(transparent)]
    Client(#[from] Failure),
    /// The repository's configuration makes no sense.
    #[error("read the configuration: {0}")]
    Config(String),
    /// The repository could not be read.
    #[error("read the repository")]
    Desk(#[from] DeskError),
    /// No worker could be had.
    #[error(transparent)]
    Workers(#[from] WorkerError),
    /// git was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// git's pipes failed.
    #[error("talk to git")]
    Pipe(#[source] io::Error),
    /// Other pushes have all the memory that there is for commands.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// The repository could not be looked at again.
    #[error("look at the repository")]
    Look(#[from] RepositoryError),
    /// The file system failed.
    #[error("keep what was pushed")]
    Quarantine(#[from] QuarantineError),
    /// git gave up.
    #[error("git ended with {status}: {complaint}")]
    Child {
        /// Exit code or signal.
        status: ExitStatus,
        /// The beginning of its standard error.
        complaint: String,
    },
}

/// From the advertisement to the first command of a client that is connected all the time.
const FIRST_COMMAND_WAIT_MAX: Duration = Duration::from_secs(3600);
/// Between two commands.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What one push works with.
struct Conversation<'a, I, O> {
    services: &'a Rc<Services>,
    call: Rc<Call>,
    packets: Packets<'a, I>,
    output: &'a mut O,
    settings: Settings,
    summary: Summary,
    /// What the commands take; goes with the push when it lands.
    share: Share,
    /// While the push lands.
    shore: Option<Shore>,
}

/// `[pushes]`: what one push may take. Whoever sends more is told what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A pack, as it comes; `receive.maxInputSize` may say less.
    pub pack_bytes_max: u64,
    /// Objects of one pack.
    pub objects_max: u32,
    /// From the first byte of a pack until git has taken it.
    pub unpack_time_max: Duration,
}

/// Serves `call`: reads the client's side from `input`, writes ours to `output`.
pub async fn serve<I: Input, O: Output>(
    services: &Rc<Services>,
    call: Call,
    input: &mut I,
    output: &mut O,
) -> Result<Summary, PushError> {
    let settings = settings(services, &call).await?;
    let mode = match (call.operation, call.stateless) {
        (Operation::AdvertiseRefs, _) => Mode::Advertise,
        (Operation::ReceivePack, true) => Mode::Stateless,
        (Operation::ReceivePack, false) => Mode::Stateful,
    };
    let server = Server {
        agent: services.agent.clone(),
        namespace: call.namespace.clone(),
        explain_errors: services.explain_errors,
    };
    let desk = Desk::new(Arc::clone(&call.snapshot), server.clone(), settings.clone());
    let machine = ReceivePack::new(call.version, mode, server, settings.clone());
    let conversation = Conversation {
        services,
        call: Rc::new(call),
        packets: Packets::new(input),
        output,
        settings,
        summary: Summary::default(),
        share: services.command_memory.share(),
        shore: None,
    };
    conversation.hold(machine, desk).await
}

/// On a worker: it looks for worktrees.
async fn settings(services: &Services, call: &Call) -> Result<Settings, PushError> {
    let overrides = services.git.settings(&call.options);
    let snapshot = Arc::clone(&call.snapshot);
    let read = move || {
        let config = snapshot.config.with_overrides(&overrides);
        let config = config.map_err(|error| PushError::Config(error.to_string()))?;
        let settings = Settings::of(&config, &snapshot);
        settings.map_err(|error| PushError::Config(error.to_string()))
    };
    let mut settings = services.workers.run(read).await??;
    settings.fallback = settings.fallback.or_else(|| call.gate.fallback());
    Ok(settings)
}

// === impl Conversation ===

impl<I: Input, O: Output> Conversation<'_, I, O> {
    async fn hold(mut self, mut machine: ReceivePack, desk: Desk) -> Result<Summary, PushError> {
        let mut desk = Some(desk);
        let mut step = machine.on(Event::Start);
        loop {
            let told = !step.send.is_empty();
            if told {
                self.send(std::mem::take(&mut step.send)).await?;
            }
            step = match step.next {
                Next::Read => match self.read(machine.has_begun()).await? {
                    Some(packet) => {
                        let step = machine.on(Event::Packet(packet.packet()));
                        self.share.cover(machine.request_bytes())?;
                        step
                    }
                    None => machine.on(Event::End),
                },
                Next::Ask(question) => {
                    let answer = self.ask(&mut desk, question).await?;
                    machine.on(Event::Answer(Box::new(answer)))
                }
                Next::Receive(request) => {
                    machine.on(Event::Received(self.receive(*request).await?))
                }
                Next::PostReceive => {
                    self.finish().await?;
                    machine.on(Event::Finished)
                }
                Next::Fallback { reason, .. } => return self.fall_back(reason).await,
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

    /// The next packet. Before the first one the client's own hook may run (pre-push in
    /// githooks(5)), and its user may be asked for a password.
    async fn read(&mut self, has_begun: bool) -> Result<Option<Framed>, PushError> {
        let most = if has_begun { SILENCE_MAX } else { FIRST_COMMAND_WAIT_MAX };
        match tokio::time::timeout(most, self.packets.next()).await {
            Ok(packet) => Ok(packet?),
            Err(_) => {
                let text = format!("the client has said nothing for {} s", most.as_secs());
                Err(PushError::Input(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), PushError> {
        self.summary.response_bytes += bytes.len() as u64;
        Ok(self.output.write(bytes).await?)
    }

    /// The desk travels to a worker and back, unless it has the answer already.
    async fn ask(
        &mut self,
        desk: &mut Option<Desk>,
        question: Question,
    ) -> Result<Answer, PushError> {
        let Some(at_work) = desk.take() else {
            return Err(Failure::Internal("the desk did not come back".into()).into());
        };
        if let Some(answer) = at_work.remembered(&question) {
            *desk = Some(at_work);
            return Ok(answer);
        }
        let work = move || {
            let answer = at_work.answer(question);
            (at_work, answer)
        };
        let (back, answer) = self.services.workers.run(work).await?;
        *desk = Some(back);
        Ok(answer)
    }

    /// git does all of it, its own hooks included; refused where others judge.
    async fn fall_back(self, reason: Fallback) -> Result<Summary, PushError> {
        let Self { services, call, mut packets, output, .. } = self;
        let call = &*call;
        services.metrics.push_fallbacks.with_label_values(&[reason.label()]).inc();
        if let Some(why) = call.gate.refusal_of_fallback() {
            return Err(Failure::Refused(format!("{why} ({reason})")).into());
        }
        let command = fallback_command(services, call);
        let already_read = packets.take_unread();
        let input = packets.input();
        let relayed = fallback::relay(services, command, already_read, input, output).await;
        let Relayed { response_bytes, status, complaint } = relayed.map_err(of_relay)?;
        if !status.success() {
            return Err(PushError::Child { status, complaint });
        }
        if !complaint.is_empty() {
            output.complain(format!("{complaint}\n").as_bytes());
        }
        Ok(Summary { response_bytes, ..Summary::default() })
    }
}

fn fallback_command(services: &Services, call: &Call) -> ChildCommand {
    let mut args: Vec<OsString> = vec!["receive-pack".into()];
    if call.stateless {
        args.push("--stateless-rpc".into());
    }
    if call.operation == Operation::AdvertiseRefs {
        args.push("--http-backend-info-refs".into());
    }
    // Absolute, so it cannot be taken for an option; receive-pack knows no --end-of-options.
    args.push(call.repository.git_dir().into());
    let mut env = services.git.environment_under(&call.options);
    env.push(("GIT_PROTOCOL".into(), format!("version={}", call.version.number()).into()));
    ChildCommand {
        name: CommandName { cmd: "git", subcmd: "receive-pack" },
        account: Arc::clone(&call.account),
        need: Need::server(),
        program: services.git.program.clone(),
        args,
        env,
        current_dir: "/".into(),
    }
}

fn of_relay(error: FetchError) -> PushError {
    match error {
        FetchError::Gone(gone) => PushError::Gone(gone),
        FetchError::Input(error) => PushError::Input(error),
        FetchError::Spawn(error) => PushError::Spawn(error),
        FetchError::Pipe(error) => PushError::Pipe(error),
        // Of fetches alone.
        other @ (FetchError::Client(_)
        | FetchError::Config(_)
        | FetchError::Desk(_)
        | FetchError::Workers(_)
        | FetchError::Build(_)
        | FetchError::Stream(_)
        | FetchError::Cache(_)
        | FetchError::Limited(_)
        | FetchError::Child { .. }) => PushError::Pipe(io::Error::other(other.to_string())),
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_bytes_max: 64 << 30,
            objects_max: 100_000_000,
            unpack_time_max: Duration::from_secs(6 * 3600),
        }
    }
}

// === impl PushError ===

impl From<PacketError> for PushError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Input(error) => Self::Input(error),
            error @ PacketError::Framing(_) => Self::Client(Failure::Refused(error.to_string())),
        }
    }
}
