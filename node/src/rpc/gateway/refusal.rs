//! Answers that are no packs: a status and a sentence that git shows to its user.

use crate::limits;
use crate::reactor::children::SpawnError;
use crate::reactor::workers::WorkerError;
use crate::rpc::push::PushError;
use crate::rpc::wire::FetchError;
use crate::storage::OpenError;
use hyper::StatusCode;
use std::io;
use std::time::Duration;

/// A refusal. git prints the text of `text/plain` answers behind `remote: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// The methods that would do, for status 405.
    pub(super) allow: Option<&'static str>,
    /// When it is worth another try.
    pub(super) retry_after: Option<Duration>,
}

/// Where a pool is full, nothing tells when it will not be.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE;
        let retry_after = is_busy.then_some(RETRY_AFTER_DEFAULT);
        Self { status, text: text.into(), allow: None, retry_after }
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let text = format!("method not allowed, allowed here: {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    /// For whoever ran into a limit: by its own doing, or because there is too much to do.
    pub(super) fn of_limit(refusal: &limits::Refusal) -> Self {
        let status = match refusal.is_own_share {
            true => StatusCode::TOO_MANY_REQUESTS,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { retry_after: Some(refusal.retry_after), ..Self::new(status, refusal.to_string()) }
    }

    /// Details of the file system stay in the log.
    pub(super) fn of_open(error: &OpenError) -> Self {
        let status = match error {
            OpenError::NotFound
            | OpenError::NotARepository { .. }
            | OpenError::UnknownStorage(_) => StatusCode::NOT_FOUND,
            OpenError::Outside | OpenError::ObjectDirectory(_) => StatusCode::FORBIDDEN,
            OpenError::NoStorage(_) | OpenError::Workers(_) => StatusCode::SERVICE_UNAVAILABLE,
            OpenError::Io(_) | OpenError::Repository(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }

    /// For a fetch that failed before its first byte.
    pub(super) fn of_fetch(error: &FetchError) -> Self {
        match error {
            FetchError::Gone(gone) => Self::new(StatusCode::BAD_REQUEST, gone.to_string()),
            FetchError::Input(error) => Self::new(input_status(error), error.to_string()),
            FetchError::Client(failure) => Self::new(StatusCode::BAD_REQUEST, failure.to_string()),
            FetchError::Spawn(error @ (SpawnError::Full | SpawnError::Timeout)) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            FetchError::Build(error) if error.is_for_lack_of_room() => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            FetchError::Limited(refusal) => Self::of_limit(refusal),
            FetchError::Cache(error) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            FetchError::Workers(error @ WorkerError::Full) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            FetchError::Spawn(SpawnError::Io { .. })
            | FetchError::Workers(WorkerError::Panicked)
            | FetchError::Config(_)
            | FetchError::Desk(_)
            | FetchError::Pipe(_)
            | FetchError::Build(_)
            | FetchError::Stream(_)
            | FetchError::Child { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the fetch failed on the server")
            }
        }
    }

    /// For a push that failed before its first byte.
    pub(super) fn of_push(error: &PushError) -> Self {
        match error {
            PushError::Gone(gone) => Self::new(StatusCode::BAD_REQUEST, gone.to_string()),
            PushError::Input(error) => Self::new(input_status(error), error.to_string()),
            PushError::Client(failure) => Self::new(StatusCode::BAD_REQUEST, failure.to_string()),
            PushError::Spawn(error @ (SpawnError::Full | SpawnError::Timeout)) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            PushError::Memory(error) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            PushError::Workers(error @ WorkerError::Full) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            PushError::Spawn(SpawnError::Io { .. })
            | PushError::Workers(WorkerError::Panicked)
            | PushError::Config(_)
            | PushError::Desk(_)
            | PushError::Look(_)
            | PushError::Pipe(_)
            | PushError::Quarantine(_)
            | PushError::Child { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the push failed on the server")
            }
        }
    }
}

fn input_status(error: &io::Error) -> StatusCode {
    if error.kind() == io::ErrorKind::FileTooLarge {
        StatusCode::PAYLOAD_TOO_LARGE
    } else if error.kind() == io::ErrorKind::TimedOut {
        StatusCode::REQUEST_TIMEOUT
    } else {
        StatusCode::BAD_REQUEST
    }
}
