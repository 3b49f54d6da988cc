//! Who judges a push, and who hears of it: GitLab and custom hooks, or the repository's own hooks.
//!
//! Always true: what a judge says reaches the pusher before the report does; a judge that cannot be
//! asked has refused.
//! Never here: votes; rules of git itself.

use super::objects::Quarantine;
use super::voice::Voice;
use super::{Call, PushError};
use crate::hooks::{
    Change, GitHooks, HookError, HookName, Left, ObjectDirectories, Push as Seen, Pusher, Sink,
};
use crate::rpc::Services;
use crate::rpc::wire::{Gone, Output};
use gitring_git::receive_pack::list::Entry;
use gitring_git::receive_pack::{Command, Fallback, PushRequest, State};
use std::sync::Arc;

/// Who judges.
#[derive(Debug, Clone)]
pub enum Gate {
    /// GitLab and custom hooks, as for every push to a Gitaly.
    GitLab {
        /// In GitLab's words.
        pusher: Pusher,
        /// The repository, as clients of the node name it.
        relative_path: String,
    },
    /// The hooks of the repository, as for `git receive-pack` (githooks(5)).
    Repository(GitHooks),
}

/// A push at the gate.
#[derive(Clone, Copy)]
pub(super) struct Push<'a> {
    pub(super) services: &'a Services,
    pub(super) call: &'a Call,
    pub(super) request: &'a PushRequest,
    /// Until its objects are published.
    pub(super) quarantine: Option<&'a Quarantine>,
}

/// A push in the words of hooks.
struct Described<'a> {
    push: Push<'a>,
    pusher: Pusher,
    relative_path: &'a str,
    changes: Vec<Change>,
    options: Vec<Vec<u8>>,
    directories: Option<ObjectDirectories>,
}

// === impl Gate ===

impl Gate {
    /// Why a push that git itself would have to serve is refused: its hooks are not ours.
    pub(super) fn refusal_of_fallback(&self) -> Option<&'static str> {
        match self {
            Self::GitLab { .. } => {
                Some("pushes to this repository are not supported by this server")
            }
            Self::Repository(_) => None,
        }
    }

    /// Why git itself has to serve a push: it has a hook that is not run here.
    pub(in crate::rpc) fn fallback(&self) -> Option<Fallback> {
        match self {
            Self::GitLab { .. } => None,
            Self::Repository(own) => {
                own.has("reference-transaction").then_some(Fallback::ReferenceTransaction)
            }
        }
    }

    /// Whether all of the push may go on.
    pub(super) async fn pre_receive<O: Output>(
        &self,
        push: Push<'_>,
        voice: &mut Voice<'_, O>,
    ) -> Result<bool, PushError> {
        let described = self.describe(push, |_| true);
        let seen = described.seen();
        decided(match self {
            Self::GitLab { .. } => push.services.hooks.pre_receive(&seen, voice).await,
            Self::Repository(own) => own.judge(&push.services.hooks, &seen, None, voice).await,
        })
    }

    /// Whether single refs are asked about: many need not be one by one where nobody answers.
    pub(super) async fn has_update(&self, services: &Services, call: &Call) -> bool {
        let git_dir = call.repository.git_dir();
        match self {
            // Whoever cannot be looked for is asked, and refuses.
            Self::GitLab { .. } => {
                services.hooks.has(HookName::Update, git_dir).await.unwrap_or(true)
            }
            Self::Repository(own) => own.has("update"),
        }
    }

    /// Whether one ref may be updated.
    pub(super) async fn update<O: Output>(
        &self,
        push: Push<'_>,
        command: &Command,
        voice: &mut Voice<'_, O>,
    ) -> Result<bool, PushError> {
        let described = self.describe(push, |_| false);
        let (seen, change) = (described.seen(), change(command));
        decided(match self {
            Self::GitLab { .. } => push.services.hooks.update(&seen, &change, voice).await,
            Self::Repository(own) => {
                own.judge(&push.services.hooks, &seen, Some(&change), voice).await
            }
        })
    }

    /// Tells those who want to know of what was done. That some of it failed was told and logged.
    pub(super) async fn post_receive<O: Output>(&self, push: Push<'_>, voice: &mut Voice<'_, O>) {
        let described = self.describe(push, |state| state.is_told());
        if described.changes.is_empty() {
            return;
        }
        let seen = described.seen();
        let outcome = match self {
            Self::GitLab { .. } => push.services.hooks.post_receive(&seen, voice).await,
            Self::Repository(own) => own.post_receive(&push.services.hooks, &seen, voice).await,
        };
        // It was logged where it happened, and what is done is done.
        drop(outcome);
    }

    fn describe<'a>(&'a self, push: Push<'a>, is_told: fn(&State) -> bool) -> Described<'a> {
        let (pusher, relative_path) = match self {
            Self::GitLab { pusher, relative_path } => (pusher.clone(), relative_path.as_str()),
            Self::Repository(_) => (Pusher::nobody(), ""),
        };
        let told = push.request.commands.iter().filter(|command| is_told(&command.state));
        let change = |command: Entry<'_>| Change {
            old: command.old,
            new: command.new,
            name: command.name.to_vec(),
        };
        let directories = push.quarantine.map(|quarantine| ObjectDirectories {
            object_directory: quarantine.path().to_owned(),
            alternates: vec![push.call.snapshot.objects_dir().to_owned()],
        });
        Described {
            push,
            pusher,
            relative_path,
            changes: told.map(change).collect(),
            options: push.request.push_options.iter().map(|option| option.to_vec()).collect(),
            directories,
        }
    }
}

fn change(command: &Command) -> Change {
    Change { old: command.old, new: command.new, name: command.name.to_vec() }
}

/// Only a client that has left ends the push; everything else is a refusal that was told.
fn decided(outcome: Result<(), HookError>) -> Result<bool, PushError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(HookError::Left(_)) => Err(Gone.into()),
        Err(_) => Ok(false),
    }
}

// === impl Described ===

impl Described<'_> {
    fn seen(&self) -> Seen<'_> {
        let call = self.push.call;
        Seen {
            git_dir: call.repository.git_dir(),
            relative_path: self.relative_path,
            changes: &self.changes,
            push_options: &self.options,
            quarantine: self.directories.as_ref(),
            pusher: &self.pusher,
            account: Arc::clone(&call.account),
        }
    }
}

// === impl Voice ===

impl<O: Output> Sink for Voice<'_, O> {
    /// git's hooks have one stream to the pusher: their standard output is their standard error.
    async fn stdout(&mut self, bytes: &[u8]) -> Result<(), Left> {
        self.say(bytes).await.map_err(|Gone| Left)
    }

    async fn stderr(&mut self, bytes: &[u8]) -> Result<(), Left> {
        self.say(bytes).await.map_err(|Gone| Left)
    }
}
