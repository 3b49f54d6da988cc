//! Why a hook failed, and what a pusher reads of it.

use super::HookName;
use super::run::Left;
use crate::gitlab::ApiError;
use crate::reactor::children::SpawnError;
use crate::reactor::workers::WorkerError;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// GitLab does not allow the push, or could not be asked.
    #[error("GitLab: {message}")]
    NotAllowed {
        /// GitLab's words, or what went wrong.
        message: String,
    },
    /// There is no GitLab, and nobody may push without one.
    #[error(
        "pushes are refused: no GitLab is configured (gitlab.url), and hooks.without_gitlab is \
         not \"allow\""
    )]
    NoGitlab,
    /// The push lacks what GitLab must be told.
    #[error("{0}")]
    Unfit(&'static str),
    /// The push could not be counted.
    #[error("calling pre_receive endpoint: {0}")]
    PreReceive(#[source] ApiError),
    /// GitLab did not count the push, and did not say why.
    #[error("GitLab did not count the push")]
    NotCounted,
    /// GitLab could not be told of the push.
    #[error("GitLab: {0}")]
    PostReceive(#[source] ApiError),
    /// GitLab wants to say something in a way that nobody knows.
    #[error("error writing messages to stream: invalid message type: {0}")]
    MessageKind(String),
    /// Custom hooks could not be looked for.
    #[error("look for custom hooks")]
    Find(#[source] io::Error),
    /// A custom hook did not start.
    #[error("executing custom hooks: {0}")]
    Spawn(#[source] SpawnError),
    /// A custom hook refused.
    #[error("executing custom hooks: error executing {program:?}: {status}")]
    Failed {
        /// Which.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// A custom hook ran for too long.
    #[error("executing custom hooks: {program:?} ran for more than {} s", .after.as_secs_f64())]
    TimedOut {
        /// Which.
        program: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// The pipes to a custom hook failed.
    #[error("talk to a custom hook")]
    Pipe(#[source] io::Error),
    /// The pusher has left.
    #[error(transparent)]
    Left(#[from] Left),
    /// No worker could look for hooks.
    #[error(transparent)]
    Workers(#[from] WorkerError),
}

// === impl HookError ===

impl HookError {
    /// What the pusher is told besides what hooks print themselves: Gitaly's words, where it has
    /// any.
    pub(super) fn told(&self, name: HookName) -> Option<String> {
        match (self, name) {
            (Self::Failed { .. } | Self::NotCounted | Self::Left(_), _) => None,
            (Self::TimedOut { .. }, _) => Some(format!("{self}\n")),
            (_, HookName::Update) => Some("error executing git hook\n".to_owned()),
            (Self::Spawn(error), _) => {
                Some(format!("executing custom hooks: {}", gitring_daemon::log::chain(error)))
            }
            (_, HookName::PreReceive | HookName::PostReceive) => Some(self.to_string()),
        }
    }
}
