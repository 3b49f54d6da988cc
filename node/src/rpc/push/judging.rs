//! The judge of a push, on a worker: it reads objects and walks history.
//!
//! Always true: the judge and what it judges travel to the worker and back; what it has to say
//! reaches the client before anything else does. Dropping the future ends its walk.

use super::voice::Voice;
use super::{Call, PushError};
use crate::reactor::workers::WorkerError;
use crate::rpc::Services;
use crate::rpc::wire::Output;
use gitring_git::ObjectId;
use gitring_git::history::Cancel;
use gitring_git::objects::Store;
use gitring_git::receive_pack::{
    Command, DeskError, Judge, Message, PushRequest, Server, Settings,
};
use gitring_git::repository::Snapshot;
use std::rc::Rc;
use std::sync::Arc;

/// A judge at work.
pub(super) struct Judging {
    services: Rc<Services>,
    /// Away only while it works.
    judge: Option<Judge>,
    cancel: Cancel,
}

impl Drop for Judging {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

// === impl Judging ===

impl Judging {
    /// Judges over the refs of `snapshot` and the objects of `store`.
    pub(super) fn new(
        services: &Rc<Services>,
        call: &Call,
        settings: Settings,
        (snapshot, store): (Arc<Snapshot>, Arc<Store>),
    ) -> Self {
        let server = Server {
            agent: services.agent.clone(),
            namespace: call.namespace.clone(),
            explain_errors: services.explain_errors,
        };
        let cancel = Cancel::default();
        let judge = Judge::new(snapshot, store, server, settings, cancel.clone());
        Self { services: Rc::clone(services), judge: Some(judge), cancel }
    }

    /// Judges all commands by `rule`.
    pub(super) async fn all<O: Output>(
        &mut self,
        request: PushRequest,
        rule: impl FnOnce(&mut Judge, &mut PushRequest) -> Result<Vec<Message>, DeskError>
        + Send
        + 'static,
        voice: &mut Voice<'_, O>,
    ) -> Result<PushRequest, PushError> {
        self.on_worker(request, rule, voice).await
    }

    /// What was found needed and lies outside of the quarantine ([`Judge::take_outside`]).
    pub(super) fn take_outside(&mut self) -> Vec<ObjectId> {
        self.judge.as_mut().map(Judge::take_outside).unwrap_or_default()
    }

    /// Judges one command, as git does directly before it updates the ref.
    pub(super) async fn one<O: Output>(
        &mut self,
        command: Command,
        voice: &mut Voice<'_, O>,
    ) -> Result<Command, PushError> {
        self.on_worker(command, Judge::update, voice).await
    }

    async fn on_worker<T: Send + 'static, O: Output>(
        &mut self,
        mut judged: T,
        rule: impl FnOnce(&mut Judge, &mut T) -> Result<Vec<Message>, DeskError> + Send + 'static,
        voice: &mut Voice<'_, O>,
    ) -> Result<T, PushError> {
        let mut judge = self.judge.take().ok_or(WorkerError::Panicked)?;
        let work = move || {
            let messages = rule(&mut judge, &mut judged);
            (judge, judged, messages)
        };
        let (judge, judged, messages) = voice.wait_for(self.services.workers.run(work)).await??;
        self.judge = Some(judge);
        for message in messages? {
            voice.say(message.line().as_bytes()).await?;
        }
        Ok(judged)
    }
}
