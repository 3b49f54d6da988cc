//! The refs of a push: locked, voted on, made visible together with their objects.
//!
//! ```text
//!   prepare: locks, old values, new values fsynced
//!     └► vote PREPARED ─► Carried ─► objects published ─► refs committed ─► vote COMMITTED
//! ```
//!
//! Always true:
//! - objects are published before the first ref that needs them, and never without a vote that was
//!   carried: [`Quarantine::migrate`] asks for it;
//! - what the report calls done is on stable storage;
//! - between the vote and the commit only renames and syncs of directories are left to do.
//!
//! Never here: rules and hooks other than `update`.

use super::gate::Push;
use super::judging::Judging;
use super::line::Line;
use super::objects::Quarantine;
use super::voice::Voice;
use super::{Call, PushError};
use crate::rpc::Services;
use crate::rpc::votes::{HookName, VoteError};
use crate::rpc::wire::Gone;
use crate::storage::Held;
use bstr::ByteSlice;
use gitring_daemon::log;
use gitring_git::objects::Store;
use gitring_git::quarantine::{Kept, QuarantineError};
use gitring_git::receive_pack::judge::settle_atomic;
use gitring_git::receive_pack::{Command, Judge, PushRequest};
use gitring_git::ref_transaction::{
    Change, CommitError, Expected, PrepareError, Prepared, RefFiles, Update, prepare,
};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A push whose commands may be done.
pub(super) struct Landing {
    pub(super) services: Rc<Services>,
    pub(super) call: Rc<Call>,
    /// Sees the quarantine.
    pub(super) store: Arc<Store>,
    /// Until it is published.
    pub(super) quarantine: Option<Held<Quarantine>>,
    /// Whether an `update` hook judges single refs.
    pub(super) has_update: bool,
}

/// How long votes on what is done already wait for an answer once the client has left.
pub(super) const LATE_VOTE_MAX: Duration = Duration::from_secs(2);

/// The client of a push that lands.
type Ear<'l> = Voice<'l, Line>;

/// Why refs are as they were.
enum NotLanded {
    Prepare(PrepareError),
    Publish(QuarantineError),
    Commit(CommitError),
    Vote(VoteError),
}

// === impl Landing ===

impl Landing {
    /// Does what is open of `request`: all of it or nothing where it is atomic, else ref by ref.
    ///
    /// # Errors
    /// Then nothing was done. What fails later is told for the refs that it concerns.
    pub(super) async fn land(
        mut self,
        judging: &mut Judging,
        request: PushRequest,
        voice: &mut Ear<'_>,
    ) -> Result<PushRequest, PushError> {
        let aliases = |judge: &mut Judge, request: &mut PushRequest| Ok(judge.aliases(request));
        let request = judging.all(request, aliases, voice).await?;
        match request.atomic {
            true => self.all_or_nothing(judging, request, voice).await,
            false => Ok(self.one_by_one(judging, request, voice).await),
        }
    }

    async fn one_by_one(
        &mut self,
        judging: &mut Judging,
        mut request: PushRequest,
        voice: &mut Ear<'_>,
    ) -> PushRequest {
        for at in 0..request.commands.len() {
            match self.one(judging, &mut request, at, voice).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let reason = error.reason("failed to update ref");
                    let _ = voice.say(error.line().as_bytes()).await;
                    request.commands[at].refuse(reason);
                    if matches!(error, NotLanded::Publish(_)) {
                        refuse_open(&mut request, at, reason);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = log::chain(&error), "land a push");
                    refuse_open(&mut request, at, "failed to update ref");
                }
            }
        }
        request
    }

    async fn one(
        &mut self,
        judging: &mut Judging,
        request: &mut PushRequest,
        at: usize,
        voice: &mut Ear<'_>,
    ) -> Result<Result<(), NotLanded>, PushError> {
        if request.commands[at].is_open() {
            self.judge(judging, request, at, voice).await?;
        }
        match request.commands[at].is_open() {
            true => self.transact(vec![self.update(&request.commands[at])], voice).await,
            false => Ok(Ok(())),
        }
    }

    async fn all_or_nothing(
        &mut self,
        judging: &mut Judging,
        mut request: PushRequest,
        voice: &mut Ear<'_>,
    ) -> Result<PushRequest, PushError> {
        let open: Vec<usize> =
            (0..request.commands.len()).filter(|at| request.commands[*at].is_open()).collect();
        for at in &open {
            self.judge(judging, &mut request, *at, voice).await?;
            if request.commands[*at].refused.is_some() {
                settle_atomic(&mut request);
                return Ok(request);
            }
        }
        let updates = open.iter().map(|at| self.update(&request.commands[*at])).collect();
        if let Err(error) = self.transact(updates, voice).await? {
            let reason = error.reason("atomic transaction failed");
            voice.say(error.line().as_bytes()).await?;
            request.commands.iter_mut().for_each(|command| command.refuse(reason));
        }
        Ok(request)
    }

    /// The rules for one ref and its hook, in git's order.
    async fn judge(
        &mut self,
        judging: &mut Judging,
        request: &mut PushRequest,
        at: usize,
        voice: &mut Ear<'_>,
    ) -> Result<(), PushError> {
        let command = request.commands[at].clone();
        request.commands[at] = judging.one(command, voice).await?;
        if request.commands[at].is_open() && !self.may_update(request, at, voice).await? {
            let line = format!("error: hook declined to update {}\n", request.commands[at].name);
            voice.say(line.as_bytes()).await?;
            request.commands[at].refuse("hook declined");
        }
        Ok(())
    }

    async fn may_update(
        &self,
        request: &PushRequest,
        at: usize,
        voice: &mut Ear<'_>,
    ) -> Result<bool, PushError> {
        let (services, call) = (&*self.services, &*self.call);
        let Call { ballot, gate, .. } = call;
        if ballot.is_primary() && self.has_update {
            let quarantine = self.quarantine.as_deref();
            let push = Push { services, call, request, quarantine };
            if !gate.update(push, &request.commands[at], voice).await? {
                ballot.stop().await;
                return Ok(false);
            }
        }
        match voice.ask(ballot.synchronize(HookName::Update), Duration::ZERO).await? {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::warn!(error = log::chain(&error), "vote on update");
                Ok(false)
            }
        }
    }

    fn update(&self, command: &Command) -> Update {
        let name = self.call.namespace.full_name(command.name.as_bstr());
        let old = match command.is_old_unchecked {
            true => Expected::Any,
            false => Expected::Is(command.old),
        };
        let change = match command.is_deletion() {
            true => Change::Delete,
            false => Change::Set(command.new),
        };
        Update::new(name, old, change)
    }

    /// One reference transaction, from its locks to the last vote.
    async fn transact(
        &mut self,
        updates: Vec<Update>,
        voice: &mut Ear<'_>,
    ) -> Result<Result<(), NotLanded>, PushError> {
        let (writing, ballot) = (&self.services.writing, &self.call.ballot);
        let (snapshot, store) = (Arc::clone(&self.call.snapshot), Arc::clone(&self.store));
        let (calls, committer) = (writing.calls(), self.call.committer.clone());
        let preparing = writing.make(move || {
            let files = RefFiles::of(&snapshot)?.with_calls(calls);
            let files = files.with_log_entry(committer, "push");
            prepare(&files, &store, updates)
        });
        let prepared = match voice.wait_for(preparing).await?? {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(NotLanded::Prepare(error))),
        };
        let lines = prepared.vote_input().to_vec();
        // While the others are asked the client may still change its mind.
        let vote = voice.ask(ballot.prepared_updates(&lines), Duration::ZERO).await?;
        let carried = match vote {
            Ok(carried) => carried,
            Err(error) => return Ok(Err(NotLanded::Vote(error))),
        };
        let quarantine = self.quarantine.take();
        let landing = writing.run(move || {
            let quarantine = quarantine.map(Held::into_inner);
            let kept = quarantine.map(|quarantine| quarantine.migrate(&carried)).transpose();
            let kept = kept.map_err(NotLanded::Publish)?;
            land(prepared.into_inner(), kept)
        });
        if let Err(error) = voice.wait_for(landing).await?? {
            return Ok(Err(error));
        }
        match voice.ask(ballot.committed_updates(&lines), LATE_VOTE_MAX).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(error = log::chain(&error), "vote on what is committed");
            }
            Err(Gone) => tracing::warn!("nobody answers the vote on what is committed"),
        }
        Ok(Ok(()))
    }
}

/// For what is behind one that failed in a way that leaves no objects to refer to.
fn refuse_open(request: &mut PushRequest, from: usize, reason: &str) {
    let open = request.commands.iter_mut().skip(from).filter(|command| command.is_open());
    open.for_each(|command| command.refuse(reason));
}

/// Commits, and lets go of the packs that had to be kept until refs lead to them.
fn land(prepared: Prepared, kept: Option<Kept>) -> Result<(), NotLanded> {
    let committed = prepared.commit().map_err(NotLanded::Commit);
    drop(kept);
    committed
}

// === impl NotLanded ===

impl NotLanded {
    /// What the report says, in git's words; `refused` where the refs were not updated.
    fn reason(&self, refused: &'static str) -> &'static str {
        match self {
            Self::Publish(_) => "unable to migrate objects to permanent storage",
            Self::Prepare(_) | Self::Commit(_) | Self::Vote(_) => refused,
        }
    }

    /// What stands on band 2. What only concerns the server is for its log.
    fn line(&self) -> String {
        match self {
            Self::Prepare(error) => format!("error: {error}\n"),
            Self::Vote(error) => {
                tracing::warn!(error = log::chain(error), "vote on what is prepared");
                "error: ref updates aborted by hook\n".to_owned()
            }
            Self::Publish(error) => {
                tracing::error!(error = log::chain(error), "publish what was pushed");
                String::new()
            }
            Self::Commit(error) => {
                tracing::error!(error = log::chain(error), "commit what was pushed");
                "error: the disk failed\n".to_owned()
            }
        }
    }
}
