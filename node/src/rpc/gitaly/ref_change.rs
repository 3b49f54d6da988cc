//! One reference transaction of a call: prepared, voted on, carried out.
//!
//! Always true:
//! - what is carried out was voted for, or there is nobody to ask; what was voted for is carried
//!   out, though its caller leaves: the other nodes were told so;
//! - what is reported as done is on stable storage; what is refused has changed nothing;
//! - locks are gone before a refusal is told, and where a caller leaves soon after.
//!
//! Never here: what is changed, and what of it a client is told.

mod by_git;
pub(super) mod delete_refs;
mod names;
mod refusal;
pub(super) mod update_references;
pub(super) mod write_ref;

use self::refusal::Refusal;
use super::Resources;
use super::errors;
use super::target::Target;
use super::voting;
use crate::rpc::votes::{Ballot, Carried, Vote, VoteError};
use crate::storage::{Held, Opened, Patience};
use gitring_git::ObjectId;
use gitring_git::object_sync::{ObjectSyncError, sync_tips};
use gitring_git::ref_transaction::{Change, CommitError, PrepareError, Prepared, Update, prepare};
use gitring_git::repository::Snapshot;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// What is said where the disk failed half way.
const MAY_HAVE_CHANGED: &str = "the disk failed: references may have changed";

/// What becomes of refs, and what is voted on it.
#[derive(Debug)]
pub(super) struct RefChange {
    pub(super) updates: Vec<Update>,
    /// Else what git's hook would read.
    pub(super) vote: Option<Vote>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// Done.
    Done,
    /// Only git can do it, which is to run in this directory. Nothing was changed.
    AskGit(PathBuf),
}

/// Why refs were not changed, or not for sure.
#[derive(Debug)]
pub(super) enum ChangeError {
    /// The call makes no sense, or there is no such repository.
    Status(Status),
    /// Refs are not as they have to be.
    Refused(Refusal),
    /// There was no majority. Nothing was changed.
    Preparatory(VoteError),
    /// The disk failed before anything was changed.
    Objects(ObjectSyncError),
    /// The disk failed half way.
    Broken(CommitError),
    /// Changed here; what the others did is not known.
    Committing(VoteError),
}

/// Which step of it failed, in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub(super) preparing: &'static str,
    pub(super) preparatory_vote: &'static str,
    pub(super) committing: &'static str,
    pub(super) committing_vote: &'static str,
}

/// What a writer made of it.
enum Stage {
    Done,
    /// With its locks on disk: wherever it is dropped, a writer removes them.
    Prepared(Box<Held<Prepared>>, Option<Vote>),
    AskGit(PathBuf),
    /// Too many wait for locks: to be tried again for so long.
    Crowded(RefChange, Duration, PrepareError),
}

/// What makes a change of a repository.
type Plan = Box<dyn FnOnce(&Arc<Snapshot>) -> Result<RefChange, Status> + Send>;

/// Does what `plan` makes of the repository, whose refs it must not look at.
pub(super) async fn change(
    resources: &Resources,
    target: &Target,
    ballot: &Ballot,
    plan: impl FnOnce(&Arc<Snapshot>) -> Result<RefChange, Status> + Send + 'static,
) -> Result<Changed, ChangeError> {
    let mut plan: Plan = Box::new(plan);
    let mut patience = Patience::begin();
    loop {
        match attempt(resources, target, ballot, plan).await? {
            Stage::Done => return Ok(Changed::Done),
            Stage::AskGit(git_dir) => return Ok(Changed::AskGit(git_dir)),
            Stage::Prepared(held, vote) => {
                return vote_and_commit(*held, ballot, vote).await.map(|()| Changed::Done);
            }
            Stage::Crowded(change, most, error) => {
                if !patience.pause(most).await {
                    return Err(error.into());
                }
                plan = Box::new(move |_| Ok(change));
            }
        }
    }
}

async fn attempt(
    resources: &Resources,
    target: &Target,
    ballot: &Ballot,
    plan: Plan,
) -> Result<Stage, ChangeError> {
    let repositories = &resources.repositories;
    let writing = repositories.writing().clone();
    let carried = ballot.alone_is_enough();
    let place = writing.reserve();
    let place = place.map_err(|error| ChangeError::Status(errors::workers(&error)))?;
    let begin = move |opened: &Opened| {
        let snapshot = &opened.snapshot;
        let ask_git = || Ok(Stage::AskGit(opened.repository.git_dir().to_owned()));
        let files = match writing.ref_files(snapshot) {
            Ok(files) => files,
            Err(PrepareError::Unsupported(_)) => return ask_git(),
            Err(error) => return Err(error.into()),
        };
        let RefChange { updates, vote } = plan(snapshot).map_err(ChangeError::Status)?;
        sync_tips(snapshot, updates.iter().filter_map(new_object), &writing.calls())?;
        let prepared = match prepare(&files, &snapshot.store, updates.clone()) {
            Ok(prepared) => prepared,
            Err(PrepareError::TooMany(_)) => return ask_git(),
            Err(error @ PrepareError::Crowded { patience, .. }) => {
                return Ok(Stage::Crowded(RefChange { updates, vote }, patience, error));
            }
            Err(error) => return Err(error.into()),
        };
        match carried {
            // One trip to a thread, not two.
            Some(carried) => commit(prepared, &carried).map(|()| Stage::Done),
            None => Ok(Stage::Prepared(Box::new(Held::new(prepared, place)), vote)),
        }
    };
    let begun = repositories.write(&target.storage, &target.path, begin).await;
    begun.map_err(|error| ChangeError::Status(errors::open(&error)))?
}

/// What a ref is to point to, which must be on stable storage by then.
fn new_object(update: &Update) -> Option<ObjectId> {
    match &update.change {
        Change::Set(id) if !id.is_null() => Some(*id),
        Change::Set(_) | Change::Delete | Change::Point(_) | Change::Verify => None,
    }
}

async fn vote_and_commit(
    prepared: Held<Prepared>,
    ballot: &Ballot,
    vote: Option<Vote>,
) -> Result<(), ChangeError> {
    let lines = if vote.is_none() { prepared.vote_input().to_vec() } else { Vec::new() };
    let voted = match vote {
        Some(vote) => ballot.prepared(vote).await,
        None => ballot.prepared_updates(&lines).await,
    };
    let ended = prepared.finish(move |prepared| match voted {
        Ok(carried) => commit(prepared, &carried),
        // Its locks go here, before anybody hears of it.
        Err(error) => Err(ChangeError::Preparatory(error)),
    });
    ended.await.map_err(|error| ChangeError::Status(errors::workers(&error)))??;
    let voted = match vote {
        Some(vote) => ballot.committed(vote).await,
        None => ballot.committed_updates(&lines).await,
    };
    voted.map_err(ChangeError::Committing)
}

fn commit(prepared: Prepared, _: &Carried) -> Result<(), ChangeError> {
    prepared.commit().map_err(ChangeError::Broken)
}

// === impl ChangeError ===

impl ChangeError {
    /// As INTERNAL, unless a better code is known, in the words of these steps.
    pub(super) fn into_status(self, steps: Steps) -> Status {
        match self {
            Self::Status(status) => status,
            Self::Refused(refusal) => Status::internal(format!("{}: {refusal}", steps.preparing)),
            Self::Preparatory(error) => {
                voting::failure(Code::Internal, steps.preparatory_vote, &error)
            }
            Self::Objects(error) => errors::internal(steps.preparing, &error),
            Self::Broken(error) => {
                // `internal` keeps to the log what stands behind a failure.
                let uncertain = matches!(error, CommitError::Uncertain { .. });
                let status = errors::internal(steps.committing, &error);
                match uncertain {
                    false => status,
                    true => Status::internal(format!("{}: {MAY_HAVE_CHANGED}", steps.committing)),
                }
            }
            Self::Committing(error) => {
                voting::failure(Code::Internal, steps.committing_vote, &error)
            }
        }
    }
}

impl From<PrepareError> for ChangeError {
    fn from(error: PrepareError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<ObjectSyncError> for ChangeError {
    fn from(error: ObjectSyncError) -> Self {
        Self::Objects(error)
    }
}
