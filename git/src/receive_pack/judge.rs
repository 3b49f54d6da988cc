//! The rules for single references, in git's words and order (`execute_commands` and `update` of
//! git's builtin/receive-pack.c).
//!
//! ```text
//!   objects:  shallow update ─> connectivity ─> hidden          before access check and hooks
//!   updates:  aliases ─> each: name, checked out branch, object,    behind pre-receive
//!             deletions, fast-forward
//! ```
//!
//! Always true: whoever finds a reason first decides; what git would tell the pusher in plain text
//! comes as [`Message`]s in the same order.
//! Never here: hooks, old values (the transaction compares them), writing.

mod aliases;
mod hints;

use std::sync::Arc;

use bstr::{BStr, ByteSlice};

use super::desk::DeskError;
use super::settings::{Deny, Settings};
use super::{Command, PushRequest, advertisement, fast_forward, shallow};
use crate::ObjectId;
use crate::connectivity::{Checker, ConnectivityError};
use crate::history::{Cancel, History};
use crate::objects::{Kind, Store, StoreError};
use crate::refs::{Head, is_valid_name};
use crate::repository::Snapshot;
use crate::upload_pack::Server;

/// Commands of one push that are found incomplete, each by a long look; the others are refused without.
const GAPS_MAX: usize = 200;

/// Something that the pusher is told beside the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Why something is refused.
    Error(String),
    /// Something is done that may not be meant.
    Warning(String),
}

/// Judges one push.
#[derive(Debug)]
pub struct Judge {
    snapshot: Arc<Snapshot>,
    store: Arc<Store>,
    server: Server,
    settings: Settings,
    history: History,
    outside: Vec<ObjectId>,
}

// === impl Message ===

impl Message {
    /// The text as git puts it on band 2, or on its standard error.
    pub fn line(&self) -> String {
        match self {
            Self::Error(text) => format!("error: {text}\n"),
            Self::Warning(text) => format!("warning: {text}\n"),
        }
    }
}

// === impl Judge ===

impl Judge {
    /// A judge over the refs of `snapshot` and the objects of `store`, which has the quarantine in
    /// front ([`Store::with_quarantine`]); without a pack it is the snapshot's own.
    pub fn new(
        snapshot: Arc<Snapshot>,
        store: Arc<Store>,
        server: Server,
        settings: Settings,
        cancel: Cancel,
    ) -> Self {
        let history = History::new(Arc::clone(&store), cancel);
        Self { snapshot, store, server, settings, history, outside: Vec::new() }
    }

    /// Before the access check and hooks: refuses what would make the repository shallow, what is
    /// not complete, and hidden refs. Hooks hear of refused commands all the same, as from git.
    ///
    /// # Errors
    /// What stands in the way of judging; an incomplete push is none.
    pub fn objects(&mut self, request: &mut PushRequest) -> Result<Vec<Message>, DeskError> {
        let mut messages = Vec::new();
        if request.has_pack() {
            shallow::refuse(&self.snapshot, &self.store, self.history.cancel(), request)?;
            self.connectivity(request, &mut messages)?;
        }
        let namespace = &self.server.namespace;
        for command in request.commands.iter_mut() {
            if command.state.refused.is_some() {
                continue;
            }
            let full = namespace.full_name(command.name);
            if self.settings.hide.hides(command.name, full.as_bstr()) {
                let is_deletion = command.is_deletion();
                command.state.refuse(match is_deletion {
                    true => "deny deleting a hidden ref",
                    false => "deny updating a hidden ref",
                });
            }
        }
        Ok(messages)
    }

    /// What [`Self::objects`] found needed outside of the quarantine ([`Checker::take_outside`]).
    pub fn take_outside(&mut self) -> Vec<ObjectId> {
        std::mem::take(&mut self.outside)
    }

    /// Behind pre-receive: [`Self::aliases`], then [`Self::update`] of each open command, and what
    /// `atomic` makes of that.
    ///
    /// # Errors
    /// What stands in the way of judging.
    pub fn updates(&mut self, request: &mut PushRequest) -> Result<Vec<Message>, DeskError> {
        let mut messages = self.aliases(request);
        for at in 0..request.commands.len() {
            if !request.commands.state(at).is_open() {
                continue;
            }
            let mut command = request.commands.get(at);
            messages.extend(self.update(&mut command)?);
            *request.commands.state_mut(at) = command.state;
            if request.atomic && command.state.refused.is_some() {
                break;
            }
        }
        if request.atomic {
            settle_atomic(request);
        }
        Ok(messages)
    }

    /// Whether the open commands are complete; if not, each is asked for on its own.
    fn connectivity(
        &mut self,
        request: &mut PushRequest,
        messages: &mut Vec<Message>,
    ) -> Result<(), DeskError> {
        let tips: Vec<ObjectId> = request.tips().collect();
        let mut checker = self.checker(request);
        let checked = checker.check(&tips);
        self.outside = checker.take_outside();
        let error = match checked {
            Ok(()) => return Ok(()),
            Err(error) if error.is_missing() => error,
            Err(error) => return Err(error.into()),
        };
        messages.push(Message::Error(error.to_string()));
        let mut gaps = 0;
        for command in request.commands.iter_mut().filter(|command| !command.is_deletion()) {
            let checked = match gaps < GAPS_MAX {
                true => checker.check(std::slice::from_ref(&command.new)),
                false => Err(ConnectivityError::Missing { id: command.new, what: "object" }),
            };
            match checked {
                Ok(()) => {}
                Err(error) if error.is_missing() => {
                    gaps += 1;
                    command.state.refused = Some("missing necessary objects");
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.outside.extend(checker.take_outside());
        Ok(())
    }

    /// Stops at what visible refs and those of alternates reach.
    fn checker(&self, request: &PushRequest) -> Checker {
        let (namespace, settings) = (&self.server.namespace, &self.settings);
        let mut complete = advertisement::alternate_tips(&self.snapshot, settings);
        for reference in self.snapshot.refs.iter() {
            let name = namespace.strip(reference.name.as_ref());
            if !reference.is_broken() && !advertisement::is_hidden(settings, name, reference) {
                complete.extend([Some(reference.target), reference.peeled].into_iter().flatten());
            }
        }
        let mut hints = Vec::new();
        match self.snapshot.head {
            Head::Detached(id) => complete.push(id),
            Head::Symbolic { id: Some(id), .. } => hints.push(id),
            Head::Symbolic { id: None, .. } | Head::Missing => {}
        }
        hints.extend(request.commands.iter().map(|command| command.old));
        let cancel = self.history.cancel().clone();
        Checker::new(Arc::clone(&self.store), complete, hints, cancel)
    }

    /// One command: all that git checks before the `update` hook.
    ///
    /// # Errors
    /// What stands in the way of judging.
    pub fn update(&mut self, command: &mut Command) -> Result<Vec<Message>, DeskError> {
        let mut messages = Vec::new();
        let reason = self.reason(command, &mut messages)?;
        match reason {
            Some(reason) => command.state.refuse(reason),
            None if command.is_deletion() => self.find_deleted(command, &mut messages)?,
            None => {}
        }
        Ok(messages)
    }

    fn reason(
        &mut self,
        command: &Command,
        messages: &mut Vec<Message>,
    ) -> Result<Option<&'static str>, DeskError> {
        let name = &command.name;
        let rest = name.strip_prefix(b"refs/");
        // Two levels below `refs/`, but what has one may go.
        let is_deep = |rest: &[u8]| command.is_deletion() || rest.contains(&b'/');
        if !rest.is_some_and(|rest| is_deep(rest) && is_valid_name(rest)) {
            let text = format!("refusing to update funny ref '{name}' remotely");
            messages.push(Message::Error(text));
            return Ok(Some("funny refname"));
        }
        let is_checked_out = self.settings.has_work_tree && self.is_head(command.name.as_bstr());
        if is_checked_out && let Some(reason) = self.checked_out(command, messages) {
            return Ok(Some(reason));
        }
        if !command.is_deletion() && !self.store.contains(&command.new)? {
            return Ok(Some("bad pack"));
        }
        if command.is_deletion() && !command.old.is_null() {
            if self.settings.deny_deletes && name.starts_with(b"refs/heads/") {
                messages.push(Message::Error(format!("denying ref deletion for {name}")));
                return Ok(Some("deletion prohibited"));
            }
            let full = self.server.namespace.full_name(name.as_bstr());
            if (is_checked_out || self.is_head(full.as_bstr()))
                && let Some(reason) = self.current_deletion(command, messages)
            {
                return Ok(Some(reason));
            }
        }
        self.fast_forward(command, messages)
    }

    /// The repository's HEAD stands for this ref.
    fn is_head(&self, name: &BStr) -> bool {
        matches!(&self.snapshot.head, Head::Symbolic { target, .. } if *target == name)
    }

    fn checked_out(&self, command: &Command, messages: &mut Vec<Message>) -> Option<&'static str> {
        match self.settings.deny_current_branch {
            Deny::Ignore => return None,
            Deny::Warn => {
                messages.push(Message::Warning("updating the current branch".into()));
                return None;
            }
            Deny::Unconfigured | Deny::Refuse | Deny::UpdateInstead => {}
        }
        let text = format!("refusing to update checked out branch: {}", command.name);
        messages.push(Message::Error(text));
        if self.settings.deny_current_branch == Deny::Unconfigured {
            messages.push(Message::Error(hints::UPDATE.into()));
        }
        Some("branch is currently checked out")
    }

    fn current_deletion(
        &self,
        command: &Command,
        messages: &mut Vec<Message>,
    ) -> Option<&'static str> {
        match self.settings.deny_delete_current {
            Deny::Ignore => return None,
            Deny::Warn => {
                messages.push(Message::Warning("deleting the current branch".into()));
                return None;
            }
            Deny::Unconfigured => messages.push(Message::Error(hints::DELETE.into())),
            Deny::Refuse | Deny::UpdateInstead => {}
        }
        let text = format!("refusing to delete the current branch: {}", command.name);
        messages.push(Message::Error(text));
        Some("deletion of the current branch prohibited")
    }

    fn fast_forward(
        &mut self,
        command: &Command,
        messages: &mut Vec<Message>,
    ) -> Result<Option<&'static str>, DeskError> {
        let Command { name, old, new, .. } = command;
        let is_judged = self.settings.deny_non_fast_forwards
            && !new.is_null()
            && !old.is_null()
            && name.starts_with(b"refs/heads/");
        if !is_judged {
            return Ok(None);
        }
        let mut nodes = Vec::with_capacity(2);
        for id in [old, new] {
            if self.store.kind(id)? == Some(Kind::Commit) {
                nodes.extend(self.history.commit(id)?);
            }
        }
        let [old, new] = nodes[..] else { return Ok(Some("bad ref")) };
        if fast_forward::is_ancestor(&mut self.history, old, new)? {
            return Ok(None);
        }
        let text = format!("denying non-fast-forward {name} (you should pull first)");
        messages.push(Message::Error(text));
        Ok(Some("non-fast-forward"))
    }

    /// A deletion of something that cannot be read is not held up by its old value.
    fn find_deleted(
        &self,
        command: &mut Command,
        messages: &mut Vec<Message>,
    ) -> Result<(), StoreError> {
        if !command.old.is_null() && self.store.contains(&command.old)? {
            return Ok(());
        }
        command.state.is_old_unchecked = true;
        // git looks for the name without its namespace, too.
        let exists = self.snapshot.find(command.name.as_bstr()).is_some();
        command.state.did_not_exist = !exists;
        messages.push(Message::Warning(match exists {
            true => "allowing deletion of corrupt ref".into(),
            false => "deleting a non-existent ref".into(),
        }));
        Ok(())
    }
}

/// All or nothing: once one command is refused, the others are. git does the rest of an atomic push
/// where one was refused before hooks ran (hidden, incomplete, shallow); here it fails.
pub fn settle_atomic(request: &mut PushRequest) {
    if request.commands.iter().any(|command| command.state.refused.is_some()) {
        request.commands.refuse_all("atomic push failure");
    }
}
