//! From commands and a pack to a report: the order in which a push is judged and done.
//!
//! ```text
//!   objects ─► judge: all there? hidden? ─► gate: may this user? ─┐
//!   ┌────────────────────────────── a task of its own ◄───────────┘
//!   └► refs, one by one or all ─► report ─► gate: hooks that run after the report
//! ```
//!
//! Always true: a client that leaves before its push lands ends it, one that leaves later does not;
//! on members of a transaction that are not its primary no hook runs, they wait for it;
//! whoever refuses a command first decides what the client reads.
//! Never here: how objects are taken and refs written.

use super::gate::{Gate, Push};
use super::judging::Judging;
use super::line::{Line, line};
use super::objects::{Quarantine, Taking};
use super::refs::{LATE_VOTE_MAX, Landing};
use super::voice::Voice;
use super::{Call, Conversation, PushError, upkeep};
use crate::reactor::workers::WorkerError;
use crate::rpc::Services;
use crate::rpc::votes::HookName;
use crate::rpc::wire::{Gone, Input, Output};
use gitring_daemon::log;
use gitring_git::receive_pack::{Judge, Outcome, PushRequest, Settings};
use gitring_git::ref_transaction::UPDATES_MAX;
use gitring_git::repository::Snapshot;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What git says where the hook refused.
const PRE_RECEIVE_DECLINED: &str = "pre-receive hook declined";

impl<I: Input, O: Output> Conversation<'_, I, O> {
    /// Takes the pack, judges the commands and does those that stand.
    pub(super) async fn receive(&mut self, request: PushRequest) -> Result<Outcome, PushError> {
        if request.atomic && request.commands.len() > UPDATES_MAX {
            let refs = request.commands.len();
            let reason = format!("an atomic push of {refs} refs, allowed: {UPDATES_MAX}");
            return Ok(Outcome::not_unpacked(request, reason));
        }
        let keep_alive = self.settings.keep_alive;
        let mut voice = Voice::new(self.output, request.sideband, keep_alive);
        let taken = if request.has_pack() {
            let (services, call, settings) = (self.services, &self.call, &self.settings);
            let packets = &mut self.packets;
            let taking = Taking { services, call, settings, packets };
            match taking.take(&request, &mut voice).await? {
                Ok(taken) => Some(taken),
                Err(reason) => return Ok(Outcome::not_unpacked(request, reason)),
            }
        } else {
            None
        };
        let (snapshot, store, quarantine) = match taken {
            Some(taken) => (taken.snapshot, taken.store, Some(taken.quarantine)),
            None => {
                let snapshot = look(self.services, &self.call).await?;
                let store = Arc::clone(&snapshot.store);
                (snapshot, store, None)
            }
        };
        let (services, call) = (Rc::clone(self.services), Rc::clone(&self.call));
        let seen = (Arc::clone(&snapshot), Arc::clone(&store));
        let mut judging = Judging::new(&services, &call, self.settings.clone(), seen);
        let mut request = judging.all(request, Judge::objects, &mut voice).await?;
        if !call.may_push(&services, &request, quarantine.as_deref(), &mut voice).await? {
            request.commands.refuse_all(PRE_RECEIVE_DECLINED);
        }
        if request.commands.iter().all(|command| command.state.refused.is_some()) {
            return Ok(Outcome::of(request));
        }
        let has_update = call.gate.has_update(&services, &call).await;
        let outside = judging.take_outside();
        let _share = std::mem::replace(&mut self.share, services.command_memory.share());
        let landing =
            Landing { services, call, snapshot, store, quarantine, outside, has_update, _share };
        self.land(landing, judging, request).await
    }

    /// From here on the push goes on whether or not the client waits for it.
    async fn land(
        &mut self,
        landing: Landing,
        judging: Judging,
        request: PushRequest,
    ) -> Result<Outcome, PushError> {
        let (line, shore, told) = line();
        let settings = self.settings.clone();
        self.services.landings.begin(landing.run(judging, request, (line, told), settings));
        let landed = self.shore.insert(shore).landed(self.output).await?;
        landed.ok_or_else(|| WorkerError::Panicked.into())
    }

    /// Waits for what follows the report: it cannot change it any more.
    pub(super) async fn finish(&mut self) -> Result<(), PushError> {
        match &mut self.shore {
            Some(shore) => shore.end(self.output).await,
            None => Ok(()),
        }
    }
}

impl Landing {
    /// Does what stands of a push, and tells those who want to know.
    async fn run(
        self,
        mut judging: Judging,
        request: PushRequest,
        (mut line, told): (Line, oneshot::Receiver<()>),
        settings: Settings,
    ) {
        let keep_alive = settings.keep_alive;
        let (services, call) = (Rc::clone(&self.services), Rc::clone(&self.call));
        let sideband = request.sideband;
        let landed = {
            let mut voice = Voice::new(&mut line, sideband, keep_alive);
            self.land(&mut judging, request, &mut voice).await
        };
        let request = match landed {
            Ok(request) => Arc::new(request),
            Err(error) => return line.land(Err(error)).await,
        };
        line.land(Ok(Outcome::of(Arc::clone(&request)))).await;
        // An error: the client has left.
        let _ = told.await;
        let mut voice = Voice::new(&mut line, sideband, keep_alive);
        if call.ballot.is_primary() {
            let (services, call) = (&*services, &*call);
            let push = Push { services, call, request: &request, quarantine: None };
            call.gate.post_receive(push, &mut voice).await;
        }
        if push_happened(&request) {
            let vote = call.ballot.synchronize(HookName::PostReceive);
            match voice.ask(vote, LATE_VOTE_MAX).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(error = log::chain(&error), "vote on post-receive");
                }
                Err(Gone) => tracing::warn!("nobody answers the vote on post-receive"),
            }
        }
        if let Gate::Repository(_) = call.gate
            && let Err(error) = upkeep::keep_up(&services, &call, &settings, &mut voice).await
        {
            tracing::warn!(error = log::chain(&error), "keep the repository");
        }
    }
}

/// The repository as it is now: its client may have taken its time to say what it wants.
async fn look(services: &Services, call: &Call) -> Result<Arc<Snapshot>, PushError> {
    let repository = Arc::clone(&call.repository);
    Ok(services.workers.run(move || repository.snapshot()).await??)
}

/// git runs no post-receive hook where nothing was done.
fn push_happened(request: &PushRequest) -> bool {
    request.commands.iter().any(|command| command.state.is_told())
}

impl Call {
    /// Asks those who judge, on the primary; elsewhere waits for what they say there.
    async fn may_push<O: Output>(
        &self,
        services: &Services,
        request: &PushRequest,
        quarantine: Option<&Quarantine>,
        voice: &mut Voice<'_, O>,
    ) -> Result<bool, PushError> {
        if self.ballot.is_primary() {
            let push = Push { services, call: self, request, quarantine };
            if !self.gate.pre_receive(push, voice).await? {
                self.ballot.stop().await;
                return Ok(false);
            }
        }
        match voice.wait_for(self.ballot.synchronize(HookName::PreReceive)).await? {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::warn!(error = log::chain(&error), "vote on pre-receive");
                Ok(false)
            }
        }
    }
}
