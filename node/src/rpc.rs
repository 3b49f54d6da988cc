//! What clients can call, and what every call stands on.
//!
//! ```text
//!   gateway (smart HTTP) ──┐
//!   gitaly (gRPC) ─────────┼─► wire::Call ──► fetch ──► fallback (git upload-pack)
//!   stdio ─────────────────┘   push::Call ──► push  ──► fallback (git receive-pack)
//! ```
//!
//! Always true: whatever the transport, a fetch ends in [`fetch::serve`], a push in [`push::serve`].
//! Never here: threads, sockets' limits below a request.

pub mod access_log;
mod connection_tasks;
pub mod defaults;
pub mod fallback;
mod feed;
pub mod fetch;
pub mod gateway;
pub mod git;
pub mod gitaly;
mod packets;
pub mod push;
pub mod stdio;
pub mod trace;
pub mod votes;
pub mod wire;

use crate::hooks::Hooks;
use crate::limits::Limits;
use crate::pack_cache::Packs;
use crate::reactor::children::Children;
use crate::reactor::workers::Workers;
use crate::spending::Spending;
use crate::storage::Writing;
use fetch::Buffers;
use git::Git;
use gitring_daemon::otlp::Tracer;
use prometheus::{IntCounterVec, Opts, Registry};
use std::sync::Arc;
use trace::Trace;

/// What a call may use. Every reactor has its own; the pools behind it are the process's.
#[derive(Debug, Clone)]
pub struct Services {
    /// For CPU work and the file system.
    pub workers: Workers,
    /// For what must be on disk before a call goes on.
    pub writing: Writing,
    /// For git.
    pub children: Children,
    /// The git to run.
    pub git: Arc<Git>,
    /// What is asked and told around a push.
    pub hooks: Hooks,
    /// Counters of fetches.
    pub metrics: FetchMetrics,
    /// For packs on their way in.
    pub buffers: Buffers,
    /// Packs that are there already, or being made.
    pub packs: Packs,
    /// Who may do how much at once.
    pub limits: Limits,
    /// Who is charged for what.
    pub spending: Spending,
    /// Which calls leave spans.
    pub tracer: Tracer,
    /// What one push may take.
    pub pushes: push::Limits,
    /// Pushes that go on whether or not their clients wait.
    pub landings: push::Landings,
    /// What the commands of pushes may take, on all reactors together.
    pub command_memory: push::CommandMemory,
    /// The value of the `agent` capability.
    pub agent: String,
    /// What the caller of a drop-in traces.
    pub trace: Option<Arc<Trace>>,
    /// Clients are told why they were refused, also where git just hangs up.
    pub explain_errors: bool,
}

/// How this program names itself to git clients.
pub fn agent() -> String {
    concat!("gitring/", env!("CARGO_PKG_VERSION")).to_owned()
}

/// Answers: how often does git itself have to serve a fetch or a push, and why? What do clients speak?
#[derive(Debug, Clone)]
pub struct FetchMetrics {
    /// By reason.
    pub fallbacks: IntCounterVec,
    /// Pushes given to git, by reason.
    pub push_fallbacks: IntCounterVec,
    /// By service, method and version of git's protocol.
    pub protocols: IntCounterVec,
}

// === impl FetchMetrics ===

impl FetchMetrics {
    /// Registers the counters.
    pub fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels);
            let vec = vec.expect("name and labels are valid");
            registry.register(Box::new(vec.clone())).expect("registered once a registry");
            vec
        };
        Self {
            fallbacks: counter(
                "gitring_upload_pack_fallbacks_total",
                "Fetches given to git upload-pack.",
                &["reason"],
            ),
            push_fallbacks: counter(
                "gitring_receive_pack_fallbacks_total",
                "Pushes given to git receive-pack.",
                &["reason"],
            ),
            protocols: counter(
                "gitaly_git_protocol_requests_total",
                "Requests by git's protocol.",
                &["grpc_service", "grpc_method", "git_protocol"],
            ),
        }
    }
}
