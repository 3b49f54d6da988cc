//! Why a node does not start.

use super::doors::StartListening;
use super::reload::OpenedError;
use crate::config::ConfigError;
use crate::gitlab;
use gitring_daemon::listener::ListenError;
use gitring_daemon::log;
use std::io;
use std::path::PathBuf;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The process whose place is taken let nobody in without a token.
    #[error(transparent)]
    Opened(#[from] OpenedError),
    /// There is no log.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// An address is taken or not ours.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no usable git.
    #[error("no usable git: {0}")]
    Git(String),
    /// The directory for what the node needs while it runs.
    #[error("prepare {path}")]
    RuntimeDir {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// GitLab cannot be asked as configured.
    #[error("could not create GitLab API client")]
    Gitlab(#[from] gitlab::ClientError),
    /// Threads, signals, event queues.
    #[error("start threads")]
    System(#[from] io::Error),
}

// === impl StartError ===

impl From<StartListening> for StartError {
    fn from(error: StartListening) -> Self {
        match error {
            StartListening::Listen(error) => Self::Listen(error),
            StartListening::Address(error) => Self::System(error),
        }
    }
}
