//! What pushes over HTTP and SSH have in common: the call, its pusher, its failures.

use super::fetching::{options, version};
use crate::hooks::{Protocol, Pusher};
use crate::reactor::children::SpawnError;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::target::target;
use crate::rpc::gitaly::{Resources, errors, voting};
use crate::rpc::push::gate::Gate;
use crate::rpc::push::{Call, Operation, PushError};
use crate::rpc::votes::Ballot;
use crate::rpc::wire::Summary;
use gitring_daemon::log;
use gitring_git::receive_pack::Failure;
use gitring_git::refs::Namespace;
use gitring_proto::gitaly::Repository;
use tonic::{Code, Status};

/// What a first message says of the push that follows.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) repository: Option<Repository>,
    pub(super) gl_id: String,
    pub(super) gl_repository: String,
    pub(super) gl_username: String,
    pub(super) git_protocol: String,
    pub(super) git_config_options: Vec<String>,
    pub(super) protocol: Protocol,
}

/// Refuses a first message that has `data` with it, for which methods have words of their own, or
/// that does not say who pushes.
pub(super) fn check(gl_id: &str, data: &[u8], has_data: &'static str) -> Result<(), Status> {
    match () {
        () if gl_id.is_empty() => Err(Status::invalid_argument("empty GlId")),
        () if !data.is_empty() => Err(Status::invalid_argument(has_data)),
        () => Ok(()),
    }
}

/// Opens the repository and says what is to be done to it.
pub(super) async fn prepare(
    resources: &Resources,
    context: &Context,
    asked: Asked,
    operation: Operation,
) -> Result<Call, Status> {
    let gl_project_path =
        asked.repository.as_ref().map(|named| named.gl_project_path.clone()).unwrap_or_default();
    let target = target(context, asked.repository)?;
    let options = options(&asked.git_config_options)?;
    let version = version(resources, context, &asked.git_protocol);
    let ballot = match operation {
        Operation::AdvertiseRefs => Ballot::alone(),
        Operation::ReceivePack => context.ballot(resources)?,
    };
    let opened = resources.repositories.open(&target.storage, &target.path).await;
    let opened = opened.map_err(|error| errors::open(&error))?;
    let pusher = Pusher {
        gl_id: asked.gl_id,
        gl_username: asked.gl_username,
        gl_repository: asked.gl_repository,
        gl_project_path,
        protocol: asked.protocol,
    };
    Ok(Call {
        repository: opened.repository,
        snapshot: opened.snapshot,
        operation,
        version,
        stateless: asked.protocol == Protocol::Http,
        options,
        namespace: Namespace::default(),
        account: context.account(),
        gate: Gate::GitLab { pusher, relative_path: target.path.to_string() },
        ballot,
        committer: None,
    })
}

/// Ends the transaction of a push that was served, as every node does.
pub(super) async fn finish(ballot: &Ballot) -> Result<(), Status> {
    let finished = ballot.finish().await;
    let failure = |error| voting::failure(Code::Aborted, "final transactional vote", &error);
    finished.map_err(failure)
}

/// To callers it makes no difference whether the client was told why it was refused.
pub(super) fn refusals_are_failures(
    served: Result<Summary, PushError>,
) -> Result<Summary, PushError> {
    match served {
        Ok(Summary { refused: Some(why), .. }) => Err(Failure::Refused(why).into()),
        other => other,
    }
}

/// A push that failed. `code` is what the method answers for failures of receive-pack.
pub(super) fn failure(code: Code, error: &PushError) -> Status {
    let is_ours = matches!(
        error,
        PushError::Desk(_)
            | PushError::Look(_)
            | PushError::Pipe(_)
            | PushError::Spawn(_)
            | PushError::Quarantine(_)
    );
    if is_ours {
        tracing::error!(error = log::chain(error).as_str(), "a push failed");
    }
    let said = || format!("running receive-pack: {}", told(error));
    match error {
        PushError::Gone(_) | PushError::Client(Failure::HungUp) if code == Code::Internal => {
            Status::cancelled("user canceled the push")
        }
        PushError::Workers(error) => errors::workers(error),
        PushError::Spawn(SpawnError::Full | SpawnError::Timeout) | PushError::Memory(_) => {
            errors::limited(said())
        }
        PushError::Gone(_)
        | PushError::Input(_)
        | PushError::Client(_)
        | PushError::Config(_)
        | PushError::Desk(_)
        | PushError::Look(_)
        | PushError::Spawn(SpawnError::Io { .. })
        | PushError::Pipe(_)
        | PushError::Quarantine(_)
        | PushError::Child { .. } => Status::new(code, said()),
    }
}

/// What a client may know of a failure: its own fault, or git's words.
pub(super) fn told(error: &PushError) -> String {
    match error {
        PushError::Client(_) | PushError::Child { .. } | PushError::Config(_) => log::chain(error),
        PushError::Gone(_)
        | PushError::Input(_)
        | PushError::Desk(_)
        | PushError::Look(_)
        | PushError::Memory(_)
        | PushError::Workers(_)
        | PushError::Spawn(_)
        | PushError::Pipe(_)
        | PushError::Quarantine(_) => error.to_string(),
    }
}
