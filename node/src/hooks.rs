//! What is asked and told around a push: GitLab, and custom hooks.
//!
//! ```text
//!   pre_receive:  POST /allowed ──► custom hooks ──► POST /pre_receive
//!   update:                         custom hooks
//!   post_receive: POST /post_receive ──► messages ──► custom hooks
//! ```
//!
//! Always true:
//! - without a GitLab, nobody may push unless the configuration says so;
//! - hooks run one after another; the first that fails ends the sequence;
//! - what a hook prints reaches the pusher as it comes; a slow pusher makes the hook wait;
//! - dropping a future kills the hook that runs.
//!
//! Never here: gRPC, the protocol of receive-pack, refs, votes.

mod archive;
mod environment;
mod error;
mod found;
mod messages;
mod of_git;
mod push;
mod replace;
mod run;
mod vote;

pub use self::archive::{ArchiveError, ArchiveLimits};
pub use self::environment::Variables;
pub use self::error::HookError;
pub use self::of_git::GitHooks;
pub use self::push::{Change, HookName, ObjectDirectories, Protocol, Push, Pusher};
pub use self::replace::{Intake, Packed, ReplaceError, Replacement, pack};
pub use self::run::{CHUNK_BYTES_MAX, Left, Sink};
pub use self::vote::vote_of;

use self::run::{Runner, Task};
use crate::gitlab::{AllowedRequest, Client, PostReceiveRequest};
use crate::reactor::children::{Children, Output};
use crate::reactor::workers::Workers;
use gitring_daemon::log;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A hook that runs for longer hangs. Gitaly waits for ever.
pub const RUN_TIME_MAX: Duration = Duration::from_secs(3600);

/// `[hooks]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HooksConfig {
    /// Holds `pre-receive.d`, `update.d` and `post-receive.d` for all repositories.
    pub custom_hooks_dir: Option<PathBuf>,
    /// Who may push while no GitLab is configured.
    pub without_gitlab: WithoutGitlab,
    /// A hook that runs for longer is killed and has failed.
    pub run_time_max: Duration,
}

/// Who may push while no GitLab is configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WithoutGitlab {
    /// Everybody who reaches the node.
    Allow,
    /// Nobody.
    #[default]
    Deny,
}

/// Runs hooks, from any reactor. Clones share what is behind it.
#[derive(Debug, Clone)]
pub struct Hooks {
    gitlab: Option<Arc<Client>>,
    without_gitlab: WithoutGitlab,
    runner: Arc<Runner>,
    workers: Workers,
}

// === impl Hooks ===

impl Hooks {
    /// `git_program` is the git that hooks find first.
    pub fn new(
        config: HooksConfig,
        gitlab: Option<Client>,
        workers: Workers,
        children: Children,
        git_program: &Path,
    ) -> Self {
        let inherited = environment::inherited(git_program);
        let HooksConfig { custom_hooks_dir, without_gitlab, run_time_max } = config;
        let runner = Runner { children, inherited, custom_hooks_dir, run_time_max };
        let gitlab = gitlab.map(Arc::new);
        Self { gitlab, without_gitlab, runner: Arc::new(runner), workers }
    }

    /// Asks whether the push may be made. Whoever is refused was told why when this returns: what
    /// is left to say is `pre-receive hook declined`.
    pub async fn pre_receive(
        &self,
        push: &Push<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), HookError> {
        let outcome = self.judge(push, sink).await;
        tell(HookName::PreReceive, outcome, sink).await
    }

    /// Asks whether one ref may be changed. Whoever is refused was told why when this returns:
    /// what is left to say is `hook declined`.
    pub async fn update(
        &self,
        push: &Push<'_>,
        change: &Change,
        sink: &mut impl Sink,
    ) -> Result<(), HookError> {
        let args = vec![
            OsString::from_vec(change.name.clone()),
            change.old.to_string().into(),
            change.new.to_string().into(),
        ];
        // Gitaly's update hooks see no push options.
        let push = Push { push_options: &[], ..push.clone() };
        let outcome = self.run(HookName::Update, &push, args, sink).await;
        tell(HookName::Update, outcome, sink).await
    }

    /// Whether the repository, or the node, has a hook of this name. Many refs need not be asked
    /// about one by one where there is none.
    pub async fn has(&self, name: HookName, git_dir: &Path) -> Result<bool, HookError> {
        Ok(!self.find(name, git_dir).await?.is_empty())
    }

    /// Tells GitLab and the hooks that the push was made. A failure is in the log and was told
    /// when this returns; the push remains made. It is returned for those who vote on it.
    ///
    /// Goes on when the sink has left; a caller whose client may leave drives it in a task.
    pub async fn post_receive(
        &self,
        push: &Push<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), HookError> {
        let mut sink = run::Leaving::new(sink);
        let outcome = self.announce(push, &mut sink).await;
        tell(HookName::PostReceive, outcome, &mut sink).await
    }

    async fn judge(&self, push: &Push<'_>, sink: &mut impl Sink) -> Result<(), HookError> {
        let Some(gitlab) = &self.gitlab else {
            return match self.without_gitlab {
                WithoutGitlab::Deny => Err(HookError::NoGitlab),
                WithoutGitlab::Allow => self.run(HookName::PreReceive, push, vec![], sink).await,
            };
        };
        let pusher = fit(push)?;
        let changes = changes(push.changes);
        let (object_directory, alternates) = environment::relative_directories(push);
        let request = AllowedRequest {
            gl_repository: &pusher.gl_repository,
            gl_id: &pusher.gl_id,
            protocol: pusher.protocol.name(),
            project: &push.git_dir.to_string_lossy(),
            relative_path: push.relative_path,
            changes: &String::from_utf8_lossy(&changes),
            object_directory: &object_directory,
            alternates: &alternates,
        };
        let correlation_id = push.account.correlation_id();
        // Gitaly cannot tell a refusal from a failure here: pushers read both in the same form.
        let refused = |message| HookError::NotAllowed { message };
        let answer = gitlab.allowed(request, correlation_id).await;
        let answer = answer.map_err(|error| refused(error.to_string()))?;
        if !answer.status {
            return Err(refused(answer.message));
        }
        self.run(HookName::PreReceive, push, vec![], sink).await?;
        let counted = gitlab.pre_receive(&pusher.gl_repository, correlation_id).await;
        match counted.map_err(HookError::PreReceive)? {
            true => Ok(()),
            false => Err(HookError::NotCounted),
        }
    }

    async fn announce(&self, push: &Push<'_>, sink: &mut impl Sink) -> Result<(), HookError> {
        if let Some(gitlab) = &self.gitlab {
            let pusher = fit(push)?;
            let options = push.push_options.iter();
            let options: Vec<String> =
                options.map(|option| String::from_utf8_lossy(option).into_owned()).collect();
            let changes = changes(push.changes);
            let request = PostReceiveRequest {
                gl_repository: &pusher.gl_repository,
                gl_id: &pusher.gl_id,
                changes: &String::from_utf8_lossy(&changes),
                push_options: &options,
            };
            let told = gitlab.post_receive(request, push.account.correlation_id()).await;
            let told = told.map_err(HookError::PostReceive)?;
            let (text, outcome) = messages::format(&told.messages);
            if !text.is_empty() {
                sink.stdout(text.as_bytes()).await?;
            }
            outcome?;
            if !told.reference_counter_decreased {
                return Err(HookError::NotCounted);
            }
        }
        self.run(HookName::PostReceive, push, vec![], sink).await
    }

    async fn run(
        &self,
        name: HookName,
        push: &Push<'_>,
        args: Vec<OsString>,
        sink: &mut impl Sink,
    ) -> Result<(), HookError> {
        let found = self.find(name, push.git_dir).await?;
        if found.is_empty() {
            return Ok(());
        }
        let stdin = match name {
            HookName::PreReceive | HookName::PostReceive => changes(push.changes),
            HookName::Update => Vec::new(),
        };
        let env = environment::of(&self.runner.inherited, push);
        for program in found {
            let account = Arc::clone(&push.account);
            let git_dir = push.git_dir.to_owned();
            let (args, env, stdin) = (args.clone(), env.clone(), &stdin);
            let output = Output::Apart;
            let task = Task { name, program, args, env, git_dir, stdin, output, account };
            self.runner.run(task, sink).await?;
        }
        Ok(())
    }

    async fn find(&self, name: HookName, git_dir: &Path) -> Result<Vec<PathBuf>, HookError> {
        let (git_dir, global) = (git_dir.to_owned(), self.runner.custom_hooks_dir.clone());
        let look = move || found::find(name.as_str(), &git_dir, global.as_deref());
        self.workers.run(look).await?.map_err(HookError::Find)
    }
}

/// What GitLab must be told, or Gitaly's words for what is missing.
fn fit<'a>(push: &Push<'a>) -> Result<&'a Pusher, HookError> {
    let pusher = push.pusher;
    match () {
        () if push.changes.is_empty() => Err(HookError::Unfit("hook got no reference updates")),
        () if pusher.gl_repository.is_empty() => Err(HookError::Unfit("repository not set")),
        () if pusher.gl_id.is_empty() => Err(HookError::Unfit("user ID not set")),
        () => Ok(pusher),
    }
}

/// What pre-receive and post-receive read: githooks(5).
fn changes(changes: &[Change]) -> Vec<u8> {
    let mut lines = Vec::new();
    for Change { old, new, name } in changes {
        lines.extend_from_slice(format!("{old} {new} ").as_bytes());
        lines.extend_from_slice(name);
        lines.push(b'\n');
    }
    lines
}

/// Logs a failure, and says on the pusher's terminal what Gitaly would say there.
async fn tell(
    name: HookName,
    outcome: Result<(), HookError>,
    sink: &mut impl Sink,
) -> Result<(), HookError> {
    if let Err(error) = &outcome {
        let error_text = log::chain(error);
        tracing::warn!(error = error_text.as_str(), "{} hook failed", name.as_str());
        if let Some(text) = error.told(name) {
            // Who has left is not there to be told.
            let _ = sink.stderr(text.as_bytes()).await;
        }
    }
    outcome
}

// === impl HooksConfig ===

impl Default for HooksConfig {
    fn default() -> Self {
        let without_gitlab = WithoutGitlab::default();
        Self { custom_hooks_dir: None, without_gitlab, run_time_max: RUN_TIME_MAX }
    }
}
