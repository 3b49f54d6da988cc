//! One reference transaction of a call: prepared, voted on, carried out.
//!
//! Always true:
//! - what is carried out was voted for, or there is nobody to ask;
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
use crate::storage::{Opened, Writing};
use gitring_git::ref_transaction::{
    CommitError, PrepareError, Prepared, RefFiles, Update, prepare,
};
use gitring_git::repository::Snapshot;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::{Code, Status};

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
    Prepared(Box<Prepared>),
    AskGit(PathBuf),
}

/// A prepared transaction, whose locks are on disk. Wherever it is dropped, a writer removes them.
struct Held<'w> {
    prepared: Option<Box<Prepared>>,
    writing: &'w Writing,
}

/// Does what `plan` makes of the repository, whose refs it must not look at.
pub(super) async fn change(
    resources: &Resources,
    target: &Target,
    ballot: &Ballot,
    plan: impl FnOnce(&Arc<Snapshot>) -> Result<RefChange, Status> + Send + 'static,
) -> Result<Changed, ChangeError> {
    let repositories = &resources.repositories;
    let writing = repositories.writing();
    let (calls, carried) = (writing.calls(), ballot.alone_is_enough());
    let begin = move |opened: &Opened| {
        let snapshot = &opened.snapshot;
        let files = match RefFiles::of(snapshot) {
            Ok(files) => files.with_calls(calls),
            Err(PrepareError::Unsupported(_)) => {
                return Ok((Stage::AskGit(opened.repository.git_dir().to_owned()), None));
            }
            Err(error) => return Err(error.into()),
        };
        let RefChange { updates, vote } = plan(snapshot).map_err(ChangeError::Status)?;
        let prepared = match prepare(&files, &snapshot.store, updates) {
            Ok(prepared) => prepared,
            Err(PrepareError::TooMany(_)) => {
                return Ok((Stage::AskGit(opened.repository.git_dir().to_owned()), None));
            }
            Err(error) => return Err(error.into()),
        };
        match carried {
            // One trip to a thread, not two.
            Some(carried) => commit(prepared, &carried).map(|()| (Stage::Done, None)),
            None => Ok((Stage::Prepared(Box::new(prepared)), vote)),
        }
    };
    let begun = repositories.write(&target.storage, &target.path, begin).await;
    let (stage, vote) = begun.map_err(|error| ChangeError::Status(errors::open(&error)))??;
    match stage {
        Stage::Done => Ok(Changed::Done),
        Stage::AskGit(git_dir) => Ok(Changed::AskGit(git_dir)),
        Stage::Prepared(prepared) => {
            let held = Held { prepared: Some(prepared), writing };
            held.vote_and_commit(ballot, vote).await.map(|()| Changed::Done)
        }
    }
}

fn commit(prepared: Prepared, _: &Carried) -> Result<(), ChangeError> {
    prepared.commit().map_err(ChangeError::Broken)
}

// === impl Held ===

impl Held<'_> {
    async fn vote_and_commit(
        mut self,
        ballot: &Ballot,
        vote: Option<Vote>,
    ) -> Result<(), ChangeError> {
        let lines = match (&vote, &self.prepared) {
            (None, Some(prepared)) => prepared.vote_input().to_vec(),
            (Some(_), _) | (None, None) => Vec::new(),
        };
        let voted = match vote {
            Some(vote) => ballot.prepared(vote).await,
            None => ballot.prepared_updates(&lines).await,
        };
        let prepared = self.prepared.take();
        let end = move || match (voted, prepared) {
            (Ok(carried), Some(prepared)) => commit(*prepared, &carried),
            // Its locks go here, before anybody hears of it.
            (Err(error), _) => Err(ChangeError::Preparatory(error)),
            (Ok(_), None) => Ok(()),
        };
        let ended = self.writing.run(end).await;
        ended.map_err(|error| ChangeError::Status(errors::workers(&error)))??;
        let voted = match vote {
            Some(vote) => ballot.committed(vote).await,
            None => ballot.committed_updates(&lines).await,
        };
        voted.map_err(ChangeError::Committing)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            self.writing.drop_later(prepared);
        }
    }
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
            Self::Broken(error) => errors::internal(steps.committing, &error),
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
