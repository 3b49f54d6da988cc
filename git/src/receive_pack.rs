//! The server's side of a push: protocol v0 and v1, stateless and stateful (gitprotocol-pack,
//! "Pushing Data To a Server"). There is no v2 of it: whoever asks for it gets v0, as from git.
//!
//! ```text
//!   Start ──refs──> commands ──flush──> [push options ──flush──] Receive
//!                                                                   │ by the driver: pack into a
//!                                                                   │ quarantine, Judge, hooks,
//!                                                                   v references
//!                    Done <──flush── Finished <── post-receive <── Received: report
//! ```
//!
//! Modules in reading order: [`machine`], over [`commands`] with [`list`], what a client says, and
//! [`report`], what it is told; [`desk`] with [`advertisement`] answers from a snapshot; [`judge`] has the rules for
//! single references, over [`shallow`] and [`fast_forward`]; [`settings`] is what configuration allows.
//!
//! Always true: the machine decides by what it was told alone, and every line that it refuses is a
//! [`Failure`] with git's wording. Whether a child must take over is decided at [`Event::Start`],
//! before the first byte. Every list that a client can fill has a limit.
//! Never here: sockets, children, hooks; writing of objects or references.

pub mod advertisement;
pub mod commands;
pub mod desk;
pub mod fast_forward;
pub mod judge;
pub mod list;
pub mod machine;
pub mod report;
pub mod settings;
pub mod shallow;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use commands::{Command, PushRequest, Report};
pub use desk::{Answer, Desk, DeskError, Question};
pub use judge::{Judge, Message};
pub use list::{Commands, State};
pub use machine::ReceivePack;
pub use settings::Settings;

pub use crate::upload_pack::{Failure, Mode, Server, Version};

use crate::pkt_line::Packet;
use crate::repository::Unsupported;

/// What happened since the last step.
#[derive(Debug)]
pub enum Event<'a> {
    /// The conversation begins.
    Start,
    /// The client sent this.
    Packet(Packet<'a>),
    /// The client closed its side.
    End,
    /// The desk answered the question of the last step.
    Answer(Box<Answer>),
    /// What was asked for was done, or refused.
    Received(Outcome),
    /// Hooks that run after the report have ended.
    Finished,
}

/// What the driver does now: send, then go on as told.
#[derive(Debug)]
#[must_use]
pub struct Step {
    /// Framed bytes for the client, often none.
    pub send: Bytes,
    /// What then.
    pub next: Next,
}

/// What follows once the bytes of a step are on their way.
#[derive(Debug)]
pub enum Next {
    /// Read a packet.
    Read,
    /// Have the desk answer this.
    Ask(Question),
    /// Do what the client asks for: its pack, if there is one, follows on the stream, bare up to
    /// its end. Then [`Event::Received`]. Until then the driver may send progress and messages
    /// by way of [`PushRequest::sideband`].
    Receive(Box<PushRequest>),
    /// The report was sent: run what follows a push, then [`Event::Finished`].
    PostReceive,
    /// Let a `git receive-pack` child serve the connection from its first byte on.
    Fallback {
        /// Why.
        reason: Fallback,
        /// What was read of the client already: nothing.
        request: Vec<u8>,
    },
    /// The conversation ended as it should.
    Done,
    /// It ended early; whatever the protocol lets us tell the client is in `send`.
    Fail(Failure),
}

/// What became of a push.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whether the pack was taken; the error is told behind `unpack`, git's own is `ok`.
    pub unpack: Result<(), String>,
    /// What was asked for, with what became of each command.
    pub request: Arc<PushRequest>,
}

/// Why a `git receive-pack` child serves a push. Each has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// The repository is of a kind that we do not write to.
    Repository(Unsupported),
    /// A work tree would have to be updated, or several have to be asked for their branches
    /// (`receive.denyCurrentBranch=updateInstead`, git-worktree(1)).
    WorkTree,
    /// Push certificates are advertised (`receive.certNonceSeed`).
    PushCertificates,
    /// A `proc-receive` hook updates references (`receive.procReceiveRefs`).
    ProcReceive,
    /// Shallow clients may make the repository shallow (`receive.shallowUpdate`).
    ShallowUpdate,
    /// git's trace2 session id is advertised (`transfer.advertiseSID`).
    SessionId,
    /// A program tells the references of alternates (`core.alternateRefsCommand`).
    AlternateRefsCommand,
    /// Settings of fsck that only the installed git knows (`receive.fsck.*`).
    FsckMessages,
    /// A hook of the repository votes on references (`reference-transaction` in githooks(5)).
    ReferenceTransaction,
}

// === impl Fallback ===

impl Fallback {
    /// The value of the counter's `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Repository(unsupported) => unsupported.label(),
            Self::WorkTree => "work-tree",
            Self::PushCertificates => "push-certificates",
            Self::ProcReceive => "proc-receive",
            Self::ShallowUpdate => "shallow-update",
            Self::SessionId => "session-id",
            Self::AlternateRefsCommand => "alternate-refs-command",
            Self::FsckMessages => "fsck-messages",
            Self::ReferenceTransaction => "reference-transaction",
        }
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

// === impl Step ===

impl Step {
    fn read() -> Self {
        Self::then(Next::Read)
    }

    fn then(next: Next) -> Self {
        Self { send: Bytes::new(), next }
    }

    fn sending(send: impl Into<Bytes>, next: Next) -> Self {
        Self { send: send.into(), next }
    }
}

// === impl Outcome ===

impl Outcome {
    /// The pack was not taken, for this reason; so nothing else was done.
    pub fn not_unpacked(request: PushRequest, reason: String) -> Self {
        Self { unpack: Err(reason), request: Arc::new(request) }
    }

    /// Every command that was not refused was done.
    pub fn of(request: impl Into<Arc<PushRequest>>) -> Self {
        Self { unpack: Ok(()), request: request.into() }
    }
}

#[cfg(test)]
mod tests;
