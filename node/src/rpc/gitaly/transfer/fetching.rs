//! What fetches over HTTP and SSH have in common: the call, its input as it is watched, its
//! failures.

use super::negotiation::Negotiation;
use crate::reactor::children::SpawnError;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::target::target;
use crate::rpc::gitaly::{Resources, errors};
use crate::rpc::wire::{Call, FetchError, Input, Operation, Summary, Version};
use crate::storage::Opened;
use bytes::Bytes;
use gitring_daemon::log;
use gitring_git::refs::Namespace;
use gitring_git::upload_pack::Failure;
use gitring_proto::gitaly::Repository;
use std::io;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

/// What a message says of the fetch it wants.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) repository: Option<Repository>,
    pub(super) git_protocol: String,
    pub(super) git_config_options: Vec<String>,
}

/// How the fetch is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) operation: Operation,
    pub(super) stateless: bool,
    pub(super) nested: bool,
}

/// A client's side of a fetch, watched.
#[derive(Debug)]
pub(super) struct Heard<I> {
    pub(super) input: I,
    pub(super) negotiation: Negotiation,
    patience: Option<Patience>,
}

/// How long a client may negotiate. Whoever asked whether it may fetch asked at the beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) until: Instant,
    /// What ends the negotiation.
    pub(super) ended: fn(&Negotiation) -> bool,
}

/// Opens the repository and says what is to be served of it.
pub(super) async fn prepare(
    resources: &Resources,
    context: &Context,
    asked: Asked,
    manner: Manner,
) -> Result<Call, Status> {
    let target = target(context, asked.repository)?;
    let options = options(&asked.git_config_options)?;
    let version = version(resources, context, &asked.git_protocol);
    // Most fetch from what was fetched from a moment ago: no worker has to wake up.
    let (repositories, glances) = (&resources.repositories, &resources.glances);
    let (storage, path) = (&target.storage, &target.path);
    let opened = match repositories.at_once(glances, storage, path, Opened::clone).await {
        Some(opened) => opened,
        None => repositories.open(storage, path).await.map_err(|error| errors::open(&error))?,
    };
    Ok(Call {
        repository: opened.repository,
        snapshot: opened.snapshot,
        operation: manner.operation,
        version,
        stateless: manner.stateless,
        nested: manner.nested,
        options,
        namespace: Namespace::default(),
        account: context.account(),
        requester: context.requester(),
    })
}

/// Each is `key=value`.
pub(super) fn options(options: &[String]) -> Result<Vec<(String, Option<String>)>, Status> {
    let split = |option: &String| match option.split_once('=') {
        Some((key, value)) if !option.contains('\0') => {
            Ok((key.to_owned(), Some(value.to_owned())))
        }
        Some(_) | None => {
            let text = format!("cannot convert invalid config key: {option:?}");
            Err(Status::invalid_argument(text))
        }
    };
    options.iter().map(split).collect()
}

/// Only these two values mean anything to Gitaly, not a list with one of them in it.
pub(super) fn version(resources: &Resources, context: &Context, git_protocol: &str) -> Version {
    let (version, label) = match git_protocol {
        "version=2" => (Version::V2, "v2"),
        "version=1" => (Version::V1, "v1"),
        "" => (Version::V0, "v0"),
        _ => (Version::V0, "invalid"),
    };
    let mut record = context.record.borrow_mut();
    record.git_protocol = Some(label);
    let labels = [&*record.called.service, &*record.called.method, label];
    resources.services.metrics.protocols.with_label_values(&labels).inc();
    version
}

fn canceled() -> Status {
    Status::cancelled("running upload-pack: user canceled the request")
}

/// A fetch over SSH that failed. There, a client that hangs up has changed its mind.
pub(super) fn ssh_failure(error: &FetchError) -> Status {
    let broke = |error: &io::Error| error.kind() != io::ErrorKind::TimedOut;
    let has_left = matches!(error, FetchError::Client(Failure::HungUp))
        || matches!(error, FetchError::Input(error) if broke(error));
    if has_left { canceled() } else { failure(Code::Internal, error) }
}

/// To callers it makes no difference whether the client was told why it was refused.
pub(super) fn refusals_are_failures(
    served: Result<Summary, FetchError>,
) -> Result<Summary, FetchError> {
    match served {
        Ok(Summary { refused: Some(why), .. }) => Err(Failure::Refused(why).into()),
        other => other,
    }
}

/// What a client may know of a failure: its own fault, or git's words. Paths of the server are for
/// the log.
pub(super) fn told(error: &FetchError) -> String {
    match error {
        FetchError::Client(_) | FetchError::Child { .. } | FetchError::Config(_) => {
            log::chain(error)
        }
        FetchError::Gone(_)
        | FetchError::Input(_)
        | FetchError::Desk(_)
        | FetchError::Workers(_)
        | FetchError::Spawn(_)
        | FetchError::Pipe(_)
        | FetchError::Build(_)
        | FetchError::Stream(_)
        | FetchError::Limited(_)
        | FetchError::Cache(_) => error.to_string(),
    }
}

/// A fetch that failed. `code` is what the method answers for failures of upload-pack.
pub(super) fn failure(code: Code, error: &FetchError) -> Status {
    if matches!(error, FetchError::Desk(_) | FetchError::Pipe(_) | FetchError::Spawn(_)) {
        tracing::error!(error = log::chain(error).as_str(), "a fetch failed");
    }
    let said = || format!("running upload-pack: {}", told(error));
    match error {
        FetchError::Gone(_) => canceled(),
        FetchError::Input(error) if error.kind() == io::ErrorKind::TimedOut => {
            Status::deadline_exceeded("waiting for negotiation: context deadline exceeded")
        }
        FetchError::Workers(error) => errors::workers(error),
        FetchError::Limited(refusal) => errors::refused(refusal, said()),
        FetchError::Spawn(SpawnError::Full | SpawnError::Timeout) | FetchError::Cache(_) => {
            errors::limited(said())
        }
        FetchError::Build(error) if error.is_for_lack_of_room() => errors::limited(said()),
        // For one because the repository, where it was to run, is gone.
        FetchError::Spawn(SpawnError::Io { .. })
        | FetchError::Input(_)
        | FetchError::Client(_)
        | FetchError::Config(_)
        | FetchError::Desk(_)
        | FetchError::Pipe(_)
        | FetchError::Build(_)
        | FetchError::Stream(_)
        | FetchError::Child { .. } => Status::new(code, said()),
    }
}

// === impl Heard ===

impl<I: Input> Heard<I> {
    pub(super) fn new(input: I, patience: Option<Patience>) -> Self {
        Self { input, negotiation: Negotiation::default(), patience }
    }
}

impl<I: Input> Input for Heard<I> {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        let reading = self.input.read();
        let patience = self.patience.filter(|patience| !(patience.ended)(&self.negotiation));
        let read = match patience {
            None => reading.await?,
            Some(Patience { until, .. }) => timeout_at(until, reading)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
        };
        if let Some(bytes) = &read {
            self.negotiation.observe(bytes);
        }
        Ok(read)
    }
}
