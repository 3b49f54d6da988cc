//! Failures as gRPC statuses, with Gitaly's codes, words and details.
//!
//! Always true: whoever is refused for a limit gets Gitaly's `LimitError`.
//! Never here: which limits there are.

use super::ask::child::ChildError;
use crate::limits::Refusal;
use crate::reactor::children::SpawnError;
use crate::reactor::workers::WorkerError;
use crate::storage::{
    BadObjectDirectory, BadRelativePath, CreateError, OpenError, PlaceError, RemoveError,
};
use gitring_daemon::log;
use gitring_proto::gitaly::LimitError;
use prost::Message;
use prost_types::{Any, Duration};
use tonic::{Code, Status};

/// What stands before the names of details.
const TYPES: &str = "type.googleapis.com/gitaly.";

/// `google.rpc.Status`, which travels as `grpc-status-details-bin` (google/rpc/status.proto).
#[derive(Clone, PartialEq, Message)]
struct Detailed {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// A path that no repository can have.
pub(super) fn path(error: &BadRelativePath) -> Status {
    match error {
        BadRelativePath::Empty => Status::invalid_argument("repository path not set"),
        BadRelativePath::Absolute
        | BadRelativePath::Component
        | BadRelativePath::Control
        | BadRelativePath::TooLong
        | BadRelativePath::Escapes => Status::invalid_argument(error.to_string()),
    }
}

/// A repository that could not be opened. Details of the file system stay in the log.
pub(super) fn open(error: &OpenError) -> Status {
    match error {
        OpenError::UnknownStorage(_) => Status::invalid_argument("storage name not found"),
        OpenError::NoStorage(_) => Status::not_found("storage does not exist"),
        OpenError::NotFound => Status::not_found("repository not found"),
        OpenError::NotARepository { missing } => {
            let text = match missing {
                Some(entry) => format!("repository not valid: \"{entry}\" does not exist"),
                None => "repository not valid".to_owned(),
            };
            Status::failed_precondition(text)
        }
        OpenError::Outside => Status::invalid_argument("relative path escapes root directory"),
        OpenError::ObjectDirectory(error) => object_directory(error),
        OpenError::Workers(error) => workers(error),
        OpenError::Io(_) | OpenError::Repository(_) => internal("open the repository", error),
    }
}

/// Objects of a push that cannot be read, for example because it has ended.
fn object_directory(error: &BadObjectDirectory) -> Status {
    match error {
        BadObjectDirectory::Missing(_) => Status::not_found(error.to_string()),
        BadObjectDirectory::Absolute(_)
        | BadObjectDirectory::Outside(_)
        | BadObjectDirectory::NoPath(_)
        | BadObjectDirectory::TooMany => Status::invalid_argument(error.to_string()),
        BadObjectDirectory::Io(..) => internal("look up the object directory", error),
    }
}

/// A repository that was not created.
pub(super) fn create(error: &CreateError) -> Status {
    match error {
        CreateError::Place(error) => place(error),
        CreateError::Exists => Status::already_exists(format!("creating repository: {error}")),
        CreateError::Locked => {
            Status::internal("creating repository: locking repository: file already locked")
        }
        // Gitaly hands on what git says before it dies.
        CreateError::BadBranch(_) => {
            Status::internal(format!("creating repository: creating repository: fatal: {error}"))
        }
        CreateError::Io { step, .. } => internal(&format!("creating repository: {step}"), error),
        CreateError::Workers(error) => workers(error),
    }
}

/// A repository that was not removed.
pub(super) fn remove(error: &RemoveError) -> Status {
    match error {
        RemoveError::Place(error) => place(error),
        RemoveError::NotFound | RemoveError::Raced => Status::not_found(error.to_string()),
        RemoveError::Locked => Status::failed_precondition(error.to_string()),
        RemoveError::Io { step, .. } => internal(step, error),
        RemoveError::Workers(error) => workers(error),
    }
}

/// A path where nothing can be created or removed.
fn place(error: &PlaceError) -> Status {
    match error {
        PlaceError::UnknownStorage(_) => Status::invalid_argument("storage name not found"),
        PlaceError::NoStorage(_) => Status::not_found(error.to_string()),
        PlaceError::Outside => Status::invalid_argument("relative path escapes root directory"),
        PlaceError::Internal => Status::invalid_argument(error.to_string()),
        PlaceError::Io(_) => internal("look up the directory", error),
    }
}

/// A git child that gave no answer.
pub(super) fn child(what: &str, error: &ChildError) -> Status {
    match error {
        ChildError::Spawn(error @ (SpawnError::Full | SpawnError::Timeout)) => {
            limited(error.to_string())
        }
        ChildError::Spawn(SpawnError::Io { .. })
        | ChildError::Pipe(_)
        | ChildError::Failed { .. } => internal(what, error),
    }
}

/// Work that was not done.
pub(super) fn workers(error: &WorkerError) -> Status {
    match error {
        WorkerError::Full => limited(error.to_string()),
        WorkerError::Panicked => Status::internal(error.to_string()),
    }
}

/// A pool of the node that a call found full. As Gitaly does, it does not say when to try again.
pub(super) fn limited(text: impl Into<String>) -> Status {
    let message = text.into();
    let detail =
        LimitError { error_message: message.clone(), retry_after: Some(Duration::default()) };
    detailed(Code::ResourceExhausted, message, "LimitError", &detail)
}

/// A limit that says when to try again. `text` is what the status says; the detail has the words
/// that Gitaly's clients look for.
pub(super) fn refused(refusal: &Refusal, text: impl Into<String>) -> Status {
    let retry_after = Duration::try_from(refusal.retry_after).unwrap_or_default();
    let detail = LimitError { error_message: refusal.to_string(), retry_after: Some(retry_after) };
    detailed(Code::ResourceExhausted, text, "LimitError", &detail)
}

/// A failure with a detail: a message of Gitaly's of this name.
pub(super) fn detailed(
    code: Code,
    text: impl Into<String>,
    name: &str,
    detail: &impl Message,
) -> Status {
    let message = text.into();
    let detail = Any { type_url: format!("{TYPES}{name}"), value: detail.encode_to_vec() };
    let detailed = Detailed { code: code.into(), message: message.clone(), details: vec![detail] };
    Status::with_details(code, message, detailed.encode_to_vec().into())
}

/// Something that should not happen: what it was is for the log, not for the client.
pub(super) fn internal(what: &str, error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error = log::chain(error).as_str(), "{what}");
    Status::new(Code::Internal, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &Status, text: &str) {
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
        let detailed = Detailed::decode(status.details()).unwrap();
        assert_eq!((detailed.code, &*detailed.message), (8, text));
        let [detail] = &detailed.details[..] else { panic!("one detail: {detailed:?}") };
        assert_eq!(detail.type_url, "type.googleapis.com/gitaly.LimitError");
        let limit = LimitError::decode(&*detail.value).unwrap();
        let retry_after = Some(Duration { seconds: 0, nanos: 0 });
        assert_eq!(limit, LimitError { error_message: text.to_owned(), retry_after });
    }

    #[test]
    fn limits_carry_the_detail_that_clients_of_gitaly_read() {
        check(&limited("too much"), "too much");
        check(&workers(&WorkerError::Full), &WorkerError::Full.to_string());
        for error in [SpawnError::Full, SpawnError::Timeout] {
            let text = error.to_string();
            check(&child("version", &ChildError::Spawn(error)), &text);
        }
    }
}
