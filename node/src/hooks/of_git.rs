//! The hooks of the repository itself, as `git receive-pack` runs them (githooks(5)): for the
//! drop-in, whose caller has the repository in their hands.
//!
//! Always true: `pre-receive`, `update`, `post-receive` and `post-update` run where they are
//! executable, with the caller's environment; one that fails refuses, as far as there is something
//! to refuse. What they print comes in the order in which they printed it: standard output goes where
//! standard error goes.
//! Never here: `proc-receive`, `push-to-checkout`, `reference-transaction`. Where one of them counts,
//! git itself takes the push.

use super::environment::{Variables, joined};
use super::run::{Leaving, Task};
use super::{Change, HookError, HookName, Hooks, ObjectDirectories, Push, Sink, changes};
use crate::reactor::children::Output;
use rustix::fs::{Access, access};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One hook and what it is given.
struct Work<'a> {
    name: HookName,
    file: &'a str,
    args: Vec<OsString>,
    stdin: &'a [u8],
}

/// Where the hooks of a repository are.
#[derive(Debug, Clone)]
pub struct GitHooks {
    directory: PathBuf,
    /// The caller's.
    environment: Variables,
}

// === impl GitHooks ===

impl GitHooks {
    /// The hooks of a repository; `hooks_path` is `core.hooksPath`, as seen from the git directory.
    pub fn of(git_dir: &Path, hooks_path: Option<&Path>, environment: Variables) -> Self {
        let directory = git_dir.join(hooks_path.unwrap_or(Path::new("hooks")));
        Self { directory, environment }
    }

    /// Whether there is a hook of this name that git would run.
    pub fn has(&self, name: &str) -> bool {
        access(self.directory.join(name), Access::EXEC_OK).is_ok()
    }

    /// Runs `pre-receive`, or `update` for one change.
    ///
    /// # Errors
    /// [`HookError::Failed`], or why it did not run.
    pub async fn judge(
        &self,
        hooks: &Hooks,
        push: &Push<'_>,
        change: Option<&Change>,
        sink: &mut impl Sink,
    ) -> Result<(), HookError> {
        let Some(change) = change else {
            let input = changes(push.changes);
            let (name, file) = (HookName::PreReceive, "pre-receive");
            let work = Work { name, file, args: Vec::new(), stdin: &input };
            return self.run(hooks, work, push, sink).await;
        };
        let args = vec![
            OsString::from_vec(change.name.clone()),
            change.old.to_string().into(),
            change.new.to_string().into(),
        ];
        let work = Work { name: HookName::Update, file: "update", args, stdin: b"" };
        self.run(hooks, work, push, sink).await
    }

    /// Runs `post-receive` and `post-update`; goes on when the sink has left.
    ///
    /// # Errors
    /// What stood in the way of the first that failed; the push stands.
    pub async fn post_receive(
        &self,
        hooks: &Hooks,
        push: &Push<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), HookError> {
        let mut sink = Leaving::new(sink);
        let (name, input) = (HookName::PostReceive, changes(push.changes));
        let work = Work { name, file: "post-receive", args: Vec::new(), stdin: &input };
        let received = self.run(hooks, work, push, &mut sink).await;
        let names = push.changes.iter().map(|change| OsString::from_vec(change.name.clone()));
        let work = Work { name, file: "post-update", args: names.collect(), stdin: b"" };
        let push = Push { push_options: &[], ..push.clone() };
        received.and(self.run(hooks, work, &push, &mut sink).await)
    }

    async fn run(
        &self,
        hooks: &Hooks,
        Work { name, file, args, stdin }: Work<'_>,
        push: &Push<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), HookError> {
        if !self.has(file) {
            return Ok(());
        }
        let task = Task {
            name,
            program: self.directory.join(file),
            args,
            env: self.environment(push, file),
            git_dir: push.git_dir.to_owned(),
            stdin,
            // As git joins them.
            output: Output::Joined,
            account: Arc::clone(&push.account),
        };
        hooks.runner.run(task, sink).await
    }

    /// As git sets it; a hook stands in the git directory.
    fn environment(&self, push: &Push<'_>, file: &str) -> Variables {
        let mut variables = self.environment.clone();
        let mut set = |name: &str, value: &OsStr| {
            variables.retain(|(known, _)| known != name);
            variables.push((name.into(), value.to_owned()));
        };
        set("GIT_DIR", OsStr::new("."));
        if let Some(ObjectDirectories { object_directory, alternates }) = push.quarantine {
            set("GIT_OBJECT_DIRECTORY", object_directory.as_os_str());
            set("GIT_QUARANTINE_PATH", object_directory.as_os_str());
            set("GIT_ALTERNATE_OBJECT_DIRECTORIES", &joined(alternates));
        }
        if matches!(file, "pre-receive" | "post-receive") {
            set("GIT_PUSH_OPTION_COUNT", push.push_options.len().to_string().as_ref());
            for (index, option) in push.push_options.iter().enumerate() {
                set(&format!("GIT_PUSH_OPTION_{index}"), OsStr::from_bytes(option));
            }
        }
        variables
    }
}
