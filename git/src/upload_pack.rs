//! The server's side of a fetch: protocol v0, v1 and v2, stateless and stateful
//! (gitprotocol-pack, gitprotocol-v2).
//!
//! ```text
//!              Event: packet, end, answer, served
//!   driver ───────────────────────────────────────> UploadPack
//!     ^                                                 │
//!     └─── Step: bytes to send, then read | ask | serve pack | fall back | done
//!
//!   Question ──> Desk (snapshot, objects; on a worker) ──> Answer
//! ```
//!
//! Modules in reading order: [`v2`] and [`v0`], the two machines; [`arguments`], the lines that
//! they share; [`question`] and [`desk`], which answers from a snapshot; then what the desk asks: [`refs`],
//! [`negotiation`], [`boundary`], [`tags`], over [`walk`]. [`settings`] and [`filter`] are what configuration and
//! client allow.
//!
//! Always true: the machines decide by what they were told alone, and every line they refuse is a
//! [`Failure`] with git's wording. Whether a child must take over is decided before the first
//! byte of a reply.
//! Never here: sockets, files, waiting.

pub mod arguments;
pub mod boundary;
pub mod desk;
pub mod filter;
pub mod negotiation;
pub mod packing;
pub mod question;
mod recall;
pub mod refs;
pub mod settings;
pub mod tags;
pub mod v0;
pub mod v2;
pub mod walk;

use std::fmt;

use bstr::{BString, ByteSlice};
use bytes::Bytes;

pub use desk::{Desk, DeskError};
pub use question::{Answer, Question};
pub use settings::{Server, Settings};

use crate::pack_request::PackRequest;
use crate::pkt_line::{self, Packet};
use crate::repository::Unsupported;
use crate::sideband::Width;

/// The dialect of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// Refs are advertised at once; capabilities stand behind the first.
    #[default]
    V0,
    /// v0 behind a line that says so.
    V1,
    /// Commands; refs only where they are asked for.
    V2,
}

/// How a conversation is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only the advertisement (`GET info/refs`, `--advertise-refs`).
    Advertise,
    /// One round: the client sends everything it knows again (`--stateless-rpc`).
    Stateless,
    /// Advertisement, then as many rounds as the client likes, over one stream.
    Stateful,
}

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
    /// The pack, or the child's reply, was sent whole.
    Served,
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
    /// Build and send this pack, with its flush where it is multiplexed.
    ServePack(Box<PackRequest>, Delivery),
    /// Let a git child reply. It reads `request` first, and the rest of the stream in v0 and v1;
    /// in v2 `request` is one whole command.
    Fallback {
        /// Why.
        reason: Fallback,
        /// What was read of the client already.
        request: Vec<u8>,
    },
    /// The conversation ended as it should.
    Done,
    /// It ended early; whatever the protocol lets us tell the client is in `send`.
    Fail(Failure),
}

/// How a pack travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Multiplexed with progress and errors, or bare.
    pub sideband: Option<Width>,
    /// Whether the client wants to see progress.
    pub progress: bool,
}

/// Why a `git upload-pack` child serves a request. Each has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// The repository is of a kind that we do not read.
    Repository(Unsupported),
    /// `sideband-all` may be asked for.
    SidebandAll,
    /// Packs may be offloaded to URIs.
    PackfileUris,
    /// Bundles are advertised.
    BundleUri,
    /// Promisor remotes are advertised.
    PromisorRemote,
    /// git's trace2 session id is advertised.
    SessionId,
    /// An administrator's hook stands between git and its packs.
    PackObjectsHook,
}

/// Why a conversation ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The client broke the protocol, or asked for what it may not have; git's own words.
    #[error("{0}")]
    Refused(String),
    /// The client went away in mid-sentence.
    #[error("the remote end hung up unexpectedly")]
    HungUp,
    /// The client sent an error of its own.
    #[error("remote error: {0}")]
    Remote(String),
    /// Something is wrong on our side; the client was told no details.
    #[error("{0}")]
    Internal(String),
}

/// One conversation.
#[derive(Debug)]
pub enum UploadPack {
    /// v0 and v1.
    V0(Box<v0::Machine>),
    /// v2.
    V2(Box<v2::Machine>),
}

// === impl Version ===

impl Version {
    /// The highest version named in the `Git-Protocol` header or `GIT_PROTOCOL`: keys parted by
    /// colons, unknown ones ignored.
    pub fn from_git_protocol(value: &str) -> Self {
        let version = |key: &str| match key {
            "version=1" => Self::V1,
            "version=2" => Self::V2,
            _ => Self::V0,
        };
        value.split(':').map(version).max().unwrap_or_default()
    }

    /// 0, 1 or 2.
    pub fn number(self) -> u8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

// === impl Fallback ===

impl Fallback {
    /// The value of the counter's `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Repository(unsupported) => unsupported.label(),
            Self::SidebandAll => "sideband-all",
            Self::PackfileUris => "packfile-uris",
            Self::BundleUri => "bundle-uri",
            Self::PromisorRemote => "promisor-remote",
            Self::SessionId => "session-id",
            Self::PackObjectsHook => "pack-objects-hook",
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

    fn ask(question: Question) -> Self {
        Self::then(Next::Ask(question))
    }

    fn sending(send: impl Into<Bytes>, next: Next) -> Self {
        Self { send: send.into(), next }
    }

    /// Ends the conversation over what the client did; over a network the client is told.
    fn refuse(server: &Server, message: String) -> Self {
        let mut send = Vec::new();
        if server.explain_errors {
            push_error(&mut send, &message);
        }
        Self::sending(send, Next::Fail(Failure::Refused(message)))
    }

    /// Ends the conversation with an `ERR` packet, as git does for wants that it refuses.
    fn refuse_loudly(message: String) -> Self {
        let mut send = Vec::new();
        push_error(&mut send, &message);
        Self::sending(send, Next::Fail(Failure::Refused(message)))
    }
}

// === impl UploadPack ===

impl UploadPack {
    /// A conversation that has not begun.
    pub fn new(version: Version, mode: Mode, server: Server, settings: Settings) -> Self {
        match version {
            Version::V0 | Version::V1 => {
                Self::V0(Box::new(v0::Machine::new(version, mode, server, settings)))
            }
            Version::V2 => Self::V2(Box::new(v2::Machine::new(mode, server, settings))),
        }
    }

    /// Takes one event, says what to do next. After [`Next::Done`] and [`Next::Fail`] nothing
    /// more may be given.
    pub fn on(&mut self, event: Event<'_>) -> Step {
        if let Event::Packet(Packet::Data(payload)) = &event
            && let Some(message) = payload.strip_prefix(b"ERR ")
        {
            let message = pkt_line::chomp(message).to_str_lossy().into_owned();
            return Step::then(Next::Fail(Failure::Remote(message)));
        }
        match self {
            Self::V0(machine) => machine.on(event),
            Self::V2(machine) => machine.on(event),
        }
    }
}

/// Appends an `ERR` packet (gitprotocol-pack, "pkt-line format"), cut where no packet holds it.
fn push_error(out: &mut Vec<u8>, message: &str) {
    let mut payload = BString::from("ERR ");
    payload.extend_from_slice(message.as_bytes());
    payload.truncate(pkt_line::PAYLOAD_BYTES_MAX);
    pkt_line::push(out, &payload);
}

#[cfg(test)]
mod tests;
