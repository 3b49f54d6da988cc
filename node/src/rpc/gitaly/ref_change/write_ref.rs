//! `WriteRef`: one ref, or which branch HEAD names.
//!
//! Always true: a ref is changed without looking at the others, unless a revision has to be
//! resolved that is no full id.
//! Never here: how refs are changed (`ref_change`).

use super::by_git::{Asking, GitUpdate};
use super::names::check_reference;
use super::refusal::Refusal;
use super::{ChangeError, Changed, RefChange, Steps, change};
use crate::rpc::gitaly::ask::revisions::refusal;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::look::{Seen, look, unreadable};
use crate::rpc::gitaly::refs::quoted;
use crate::rpc::gitaly::target::{Target, target};
use crate::rpc::gitaly::{Resources, errors};
use crate::rpc::votes::{self, Ballot};
use bytes::Bytes;
use gitring_git::ObjectId;
use gitring_git::ref_transaction::{Change, Expected, Update};
use gitring_git::repository::Snapshot;
use gitring_git::revision::{Resolved, Revision, Target as Kind};
use gitring_proto::gitaly::{ReferenceNotFoundError, WriteRefRequest, WriteRefResponse};
use std::path::Path;
use std::sync::Arc;
use tonic::{Code, Request, Response, Status};

/// No object (gitformat-signature: as many digits as SHA-1 has).
const ZERO_ID: &[u8] = &[b'0'; 40];

/// In Gitaly's words.
const STEPS: Steps = Steps {
    preparing: "error when running update-ref command",
    preparatory_vote: "error when running update-ref command: preparatory vote",
    committing: "error when running update-ref command",
    committing_vote: "error when running update-ref command: committing vote",
};
const HEAD_STEPS: Steps = Steps {
    preparing: "setting default branch: committing temporary HEAD",
    preparatory_vote: "setting default branch: committing temporary HEAD: \
                       voting on locked file: preimage vote",
    committing: "setting default branch: committing temporary HEAD: committing file",
    committing_vote: "setting default branch: committing temporary HEAD: postimage vote",
};

/// One call on its way.
struct Writing<'a> {
    resources: &'a Resources,
    context: &'a Context,
    target: Target,
    ballot: Ballot,
}

/// The new and the old object of a ref.
#[derive(Debug, Clone, Copy)]
struct Ids {
    new: ObjectId,
    old: Option<ObjectId>,
}

/// Answers `WriteRef`.
pub(in crate::rpc::gitaly) async fn write_ref(
    resources: &Resources,
    request: Request<WriteRefRequest>,
) -> Result<Response<WriteRefResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let target = target(&context, message.repository.take())?;
    let ballot = context.ballot(resources)?;
    let writing = Writing { resources, context: &context, target, ballot };
    if &message.r#ref[..] == b"HEAD" {
        writing.point_head(message).await?;
    } else {
        writing.update(message).await?;
    }
    Ok(Response::new(WriteRefResponse {}))
}

/// Refuses what Gitaly refuses after it has found the repository.
fn check(message: &WriteRefRequest) -> Result<(), Status> {
    let check = |what: &str, revision: &[u8]| match refusal(revision, &[]) {
        Some(reason) => Err(Status::invalid_argument(format!("invalid {what}: {reason}"))),
        None => Ok(()),
    };
    check("ref", &message.r#ref)?;
    check("revision", &message.revision)?;
    if !message.old_revision.is_empty() {
        check("OldRevision", &message.old_revision)?;
    }
    if &message.r#ref[..] != b"HEAD" && !message.r#ref.starts_with(b"refs/") {
        return Err(Status::invalid_argument("ref has to be a full reference"));
    }
    Ok(())
}

/// Whether a revision names the same object whatever refs there are.
fn is_id(revision: &[u8]) -> bool {
    revision.is_empty() || ObjectId::from_hex(revision).is_ok_and(|id| id.kind() == KIND)
}

const KIND: gix_hash::Kind = gix_hash::Kind::Sha1;

/// The ids of a message, where they can be told.
fn ids(snapshot: &Snapshot, message: &WriteRefRequest) -> Result<Resolved<Ids>, Status> {
    let new = match resolve(snapshot, &message.revision, "new")? {
        Some(new) => new,
        None => return Ok(Resolved::Unsupported),
    };
    let old = match &message.old_revision[..] {
        [] => None,
        old => match resolve(snapshot, old, "old")? {
            Some(old) => Some(old),
            None => return Ok(Resolved::Unsupported),
        },
    };
    Ok(Resolved::Found(Ids { new, old }))
}

/// The object that a revision names; `None` where only git can tell.
fn resolve(snapshot: &Snapshot, revision: &[u8], which: &str) -> Result<Option<ObjectId>, Status> {
    if revision == ZERO_ID {
        return Ok(Some(ObjectId::null(KIND)));
    }
    if is_id(revision) {
        let id = ObjectId::from_hex(revision).map_err(|_| not_found(revision, which))?;
        let exists = snapshot.store.contains(&id).map_err(|error| unreadable(&error))?;
        return if exists { Ok(Some(id)) } else { Err(not_found(revision, which)) };
    }
    let resolved = Revision::parse(revision.into()).resolve_to(snapshot, Kind::Object);
    match resolved.map_err(|error| unreadable(&error))? {
        Resolved::Found(id) => Ok(Some(id)),
        Resolved::Missing => Err(not_found(revision, which)),
        Resolved::Unsupported => Ok(None),
    }
}

fn not_found(revision: &[u8], which: &str) -> Status {
    let detail = ReferenceNotFoundError { reference_name: Bytes::copy_from_slice(revision) };
    let text = format!("resolving {which} revision: reference not found");
    errors::detailed(Code::NotFound, text, "ReferenceNotFoundError", &detail)
}

fn failure(error: ChangeError) -> Status {
    if matches!(error, ChangeError::Refused(Refusal::Locked(_))) {
        return Status::aborted("reference is locked already");
    }
    error.into_status(STEPS)
}

// === impl Ids ===

impl Ids {
    fn change(self, name: &[u8]) -> RefChange {
        let old = self.old.map_or(Expected::Any, Expected::Is);
        RefChange { updates: vec![Update::new(name, old, Change::Set(self.new))], vote: None }
    }
}

// === impl Writing ===

impl Writing<'_> {
    async fn update(self, message: WriteRefRequest) -> Result<(), Status> {
        let name = message.r#ref.clone();
        let changed = if is_id(&message.revision) && is_id(&message.old_revision) {
            let asked = message.clone();
            let plan = move |snapshot: &Arc<Snapshot>| {
                check(&asked)?;
                let ids = ids(snapshot, &asked)?;
                let Resolved::Found(ids) = ids else {
                    return Err(Status::internal("an id cannot be resolved"));
                };
                Ok(ids.change(&asked.r#ref))
            };
            self.change(plan).await?
        } else {
            let asked = message.clone();
            let find = look(self.resources, &self.target, move |snapshot| {
                check(&asked)?;
                ids(snapshot, &asked)
            });
            match find.await? {
                Seen::Found(ids) => self.change(move |_| Ok(ids.change(&name))).await?,
                Seen::Missing => Changed::Done,
                Seen::AskGit(git_dir) => Changed::AskGit(git_dir),
            }
        };
        match changed {
            Changed::Done => Ok(()),
            Changed::AskGit(git_dir) => {
                check(&message)?;
                self.update_by_git(&git_dir, &message).await
            }
        }
    }

    async fn change(
        &self,
        plan: impl FnOnce(&Arc<Snapshot>) -> Result<RefChange, Status> + Send + 'static,
    ) -> Result<Changed, Status> {
        change(self.resources, &self.target, &self.ballot, plan).await.map_err(failure)
    }

    async fn update_by_git(&self, git_dir: &Path, message: &WriteRefRequest) -> Result<(), Status> {
        let asking = self.asking(git_dir);
        let new = self.resolve_by_git(asking, &message.revision, "new").await?;
        let old = match message.old_revision.is_empty() {
            true => Bytes::new(),
            false => self.resolve_by_git(asking, &message.old_revision, "old").await?,
        };
        let update = GitUpdate { name: message.r#ref.clone(), new, old };
        asking.change(&[update], true).await.map_err(failure)
    }

    async fn resolve_by_git(
        &self,
        asking: Asking<'_>,
        revision: &Bytes,
        which: &str,
    ) -> Result<Bytes, Status> {
        // Zeros of either length of ids.
        if matches!(revision.len(), 40 | 64) && revision.iter().all(|byte| *byte == b'0') {
            return Ok(revision.clone());
        }
        let found = asking.resolve(revision).await?;
        found.ok_or_else(|| not_found(revision, which))
    }

    async fn point_head(self, message: WriteRefRequest) -> Result<(), Status> {
        let name = message.revision.clone();
        let malformed = |name: &[u8]| {
            let text = format!("setting default branch: {} is a malformed refname", quoted(name));
            Status::internal(text)
        };
        let checked = move |message: &WriteRefRequest| {
            check(message)?;
            check_reference(&message.revision).map_err(|_| malformed(&message.revision))
        };
        let asked = message.clone();
        let plan = move |_: &Arc<Snapshot>| {
            checked(&asked)?;
            let content = [b"ref: ", &asked.revision[..], b"\n"].concat();
            let vote =
                votes::hash(&content).map_err(|error| Status::internal(error.to_string()))?;
            let head = Change::Point(asked.revision.to_vec().into());
            let updates = vec![Update::of_itself("HEAD", Expected::Any, head)];
            Ok(RefChange { updates, vote: Some(vote) })
        };
        let failure = |error: ChangeError| {
            if matches!(error, ChangeError::Refused(Refusal::Locked(_))) {
                let text = "locking file: file already locked";
                return Status::internal(format!("{}: {text}", HEAD_STEPS.preparing));
            }
            error.into_status(HEAD_STEPS)
        };
        let changed = change(self.resources, &self.target, &self.ballot, plan).await;
        match changed.map_err(failure)? {
            Changed::Done => Ok(()),
            Changed::AskGit(git_dir) => {
                checked(&message)?;
                self.asking(&git_dir).point_head(&name).await.map_err(failure)
            }
        }
    }

    fn asking<'s>(&'s self, git_dir: &'s Path) -> Asking<'s> {
        let Self { resources, context, ballot, .. } = self;
        Asking { resources, context, git_dir, ballot }
    }
}
