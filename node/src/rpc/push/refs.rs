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
use super::not_landed::NotLanded;
use super::objects::Quarantine;
use super::share::Share;
use super::voice::Voice;
use super::{Call, PushError, uncertain};
use crate::rpc::Services;
use crate::rpc::votes::HookName;
use crate::rpc::wire::Gone;
use crate::storage::{Held, Patience};
use bstr::ByteSlice;
use gitring_daemon::log;
use gitring_git::ObjectId;
use gitring_git::object_sync::sync_objects;
use gitring_git::objects::Store;
use gitring_git::quarantine::Kept;
use gitring_git::receive_pack::judge::settle_atomic;
use gitring_git::receive_pack::{Command, Judge, PushRequest};
use gitring_git::ref_transaction::{Change, Expected, PrepareError, Prepared, Update, prepare};
use gitring_git::repository::Snapshot;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A push whose commands may be done.
pub(super) struct Landing {
    pub(super) services: Rc<Services>,
    pub(super) call: Rc<Call>,
    /// The repository as it was when the pack had come.
    pub(super) snapshot: Arc<Snapshot>,
    /// Sees the quarantine.
    pub(super) store: Arc<Store>,
    /// Until it is published.
    pub(super) quarantine: Option<Held<Quarantine>>,
    /// What is needed besides, and may not be on stable storage.
    pub(super) outside: Vec<ObjectId>,
    /// Whether an `update` hook judges single refs.
    pub(super) has_update: bool,
    /// Of the memory for commands, as long as it lands.
    pub(super) _share: Share,
}

/// How long votes on what is done already wait for an answer once the client has left.
pub(super) const LATE_VOTE_MAX: Duration = Duration::from_secs(2);

/// The client of a push that lands.
type Ear<'l> = Voice<'l, Line>;

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
        let mut request = judging.all(request, aliases, voice).await?;
        if let Err(error) = self.settle(voice).await? {
            let _ = voice.say(error.line().as_bytes()).await;
            refuse_open(&mut request, 0, error.reason("failed to update ref"));
            return Ok(request);
        }
        let request = match request.atomic {
            true => self.all_or_nothing(judging, request, voice).await?,
            false => self.one_by_one(judging, request, voice).await,
        };
        Ok(uncertain::look_again(&self.services, &self.call, request).await)
    }

    /// Brings to stable storage what others wrote of the objects that refs will lead to.
    async fn settle(&mut self, voice: &mut Ear<'_>) -> Result<Result<(), NotLanded>, PushError> {
        if self.outside.is_empty() {
            return Ok(Ok(()));
        }
        let (store, calls) = (Arc::clone(&self.store), self.services.writing.calls());
        let outside = std::mem::take(&mut self.outside);
        let syncing = self.services.writing.run(move || sync_objects(&store, &outside, &calls));
        Ok(voice.wait_for(syncing).await??.map_err(NotLanded::Objects))
    }

    async fn one_by_one(
        &mut self,
        judging: &mut Judging,
        mut request: PushRequest,
        voice: &mut Ear<'_>,
    ) -> PushRequest {
        let began = Instant::now();
        for at in 0..request.commands.len() {
            if let Some(reason) = self.services.landings.stop(began) {
                refuse_open(&mut request, at, reason);
                break;
            }
            match self.one(judging, &mut request, at, voice).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let reason = error.reason("failed to update ref");
                    let _ = voice.say(error.line().as_bytes()).await;
                    request.commands.state_mut(at).refuse(reason);
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
        if request.commands.state(at).is_open() {
            self.judge(judging, request, at, voice).await?;
        }
        match request.commands.state(at).is_open() {
            true => self.transact(vec![self.update(&request.commands.get(at))], voice).await,
            false => Ok(Ok(())),
        }
    }

    async fn all_or_nothing(
        &mut self,
        judging: &mut Judging,
        mut request: PushRequest,
        voice: &mut Ear<'_>,
    ) -> Result<PushRequest, PushError> {
        let open: Vec<usize> = (0..request.commands.len())
            .filter(|at| request.commands.state(*at).is_open())
            .collect();
        for at in &open {
            self.judge(judging, &mut request, *at, voice).await?;
            if request.commands.state(*at).refused.is_some() {
                settle_atomic(&mut request);
                return Ok(request);
            }
        }
        let updates = open.iter().map(|at| self.update(&request.commands.get(*at))).collect();
        if let Err(error) = self.transact(updates, voice).await? {
            let reason = error.reason("atomic transaction failed");
            voice.say(error.line().as_bytes()).await?;
            request.commands.refuse_all(reason);
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
        let command = judging.one(request.commands.get(at), voice).await?;
        *request.commands.state_mut(at) = command.state;
        if command.state.is_open() && !self.may_update(request, &command, voice).await? {
            let line = format!("error: hook declined to update {}\n", command.name);
            voice.say(line.as_bytes()).await?;
            request.commands.state_mut(at).refuse("hook declined");
        }
        Ok(())
    }

    async fn may_update(
        &self,
        request: &PushRequest,
        command: &Command,
        voice: &mut Ear<'_>,
    ) -> Result<bool, PushError> {
        let (services, call) = (&*self.services, &*self.call);
        let Call { ballot, gate, .. } = call;
        if ballot.is_primary() && self.has_update {
            let quarantine = self.quarantine.as_deref();
            let push = Push { services, call, request, quarantine };
            if !gate.update(push, command, voice).await? {
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
        let old = match command.state.is_old_unchecked {
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
        let prepared = match self.prepare(updates, voice).await? {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(NotLanded::Prepare(error))),
        };
        let ballot = &self.call.ballot;
        let lines = prepared.vote_input().to_vec();
        // While the others are asked the client may still change its mind.
        let vote = voice.ask(ballot.prepared_updates(&lines), Duration::ZERO).await?;
        let carried = match vote {
            Ok(carried) => carried,
            Err(error) => return Ok(Err(NotLanded::Vote(error))),
        };
        let quarantine = self.quarantine.take();
        let landing = prepared.finish(move |prepared| {
            let quarantine = quarantine.map(Held::into_inner);
            let kept = quarantine.map(|quarantine| quarantine.migrate(&carried)).transpose();
            let kept = kept.map_err(NotLanded::Publish)?;
            land(prepared, kept)
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

impl Landing {
    /// Locks refs and writes their new values. Where too many threads wait for locks, this waits
    /// without one.
    async fn prepare(
        &self,
        updates: Vec<Update>,
        voice: &mut Ear<'_>,
    ) -> Result<Result<Held<Prepared>, PrepareError>, PushError> {
        let writing = &self.services.writing;
        let mut patience = Patience::begin();
        loop {
            let (snapshot, store) = (Arc::clone(&self.snapshot), Arc::clone(&self.store));
            let (committer, updates) = (self.call.committer.clone(), updates.clone());
            let files = writing.ref_files(&snapshot);
            let preparing = writing.make(move || {
                let files = files?.with_log_entry(committer, "push");
                prepare(&files, &store, updates)
            });
            match voice.wait_for(preparing).await?? {
                Err(PrepareError::Crowded { patience: most, .. })
                    if voice.wait_for(patience.pause(most)).await? => {}
                prepared => return Ok(prepared),
            }
        }
    }
}

/// For what is behind one that failed in a way that leaves no objects to refer to.
fn refuse_open(request: &mut PushRequest, from: usize, reason: &'static str) {
    for at in from..request.commands.len() {
        if request.commands.state(at).is_open() {
            request.commands.state_mut(at).refuse(reason);
        }
    }
}

/// Commits, and lets go of the packs that had to be kept until refs lead to them.
fn land(prepared: Prepared, kept: Option<Kept>) -> Result<(), NotLanded> {
    let committed = prepared.commit().map_err(NotLanded::Commit);
    drop(kept);
    committed
}
