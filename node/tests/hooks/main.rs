//! What is asked and told around a push: GitLab's side played by a server, hooks by scripts.
//!
//! Method: the public interface alone, as receive-pack uses it. What GitLab is asked, and what
//! pushers read, are facts about Gitaly 16.11.

#![expect(clippy::disallowed_methods, reason = "a test prepares files and runs programs")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod archives;
mod connections;
#[path = "../../../tests/harness/gitlab.rs"]
pub mod gitlab;
mod scripts;
mod sequence;

use gitring_node::gitlab::{Client, Endpoint, GitlabConfig, READ_TIMEOUT_DEFAULT, Secret};
use gitring_node::hooks::{
    Change, HookError, Hooks, HooksConfig, Left, ObjectDirectories, Protocol, Push, Pusher, Sink,
};
use gitring_node::reactor::children::{Account, Budget, Children, Standing};
use gitring_node::reactor::workers::Workers;
use prometheus::Registry;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A repository's directory, pools, and a pusher.
struct World {
    folder: TempDir,
    git_dir: PathBuf,
    workers: Workers,
    children: Children,
    changes: Vec<Change>,
    push_options: Vec<Vec<u8>>,
    quarantine: Option<ObjectDirectories>,
    pusher: Pusher,
}

/// A terminal that keeps what it is shown, in order.
#[derive(Default)]
struct Terminal {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// From so many bytes on it is gone.
    gone_after: Option<usize>,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = folder.path().join("storage/a.git");
        fs::create_dir_all(git_dir.join("objects")).unwrap();
        let registry = Registry::new();
        let id = |digit: &str| gix_hash::ObjectId::from_hex(digit.repeat(40).as_bytes()).unwrap();
        let change =
            |old, new, name: &str| Change { old: id(old), new: id(new), name: name.into() };
        let changes = vec![change("0", "1", "refs/heads/new"), change("2", "0", "refs/heads/gone")];
        let pusher = Pusher {
            gl_id: "user-7".into(),
            gl_username: "alex".into(),
            gl_repository: "project-42".into(),
            gl_project_path: "group/project".into(),
            protocol: Protocol::Ssh,
        };
        let budget = Budget { children_max: 4, memory_bytes_max: 1 << 30 };
        Self {
            folder,
            git_dir,
            workers: Workers::start(1, &registry).unwrap(),
            children: Children::start(budget, Standing::same(), "", &registry).unwrap(),
            changes,
            push_options: Vec::new(),
            quarantine: None,
            pusher,
        }
    }

    /// A file of the world's folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A hook of the repository: a script of sh.
    fn hook(&self, name: &str, script: &str) {
        self.script(&self.git_dir.join("custom_hooks").join(name), script);
    }

    /// A hook of all repositories.
    fn global_hook(&self, name: &str, script: &str) {
        self.script(&self.path("global").join(name), script);
    }

    fn script(&self, path: &Path, script: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Written by a child: a descriptor of ours that is open for writing could leak into
        // another test's child, and then the script would be busy.
        let staged = path.with_extension("new");
        fs::write(&staged, format!("#!/bin/sh\n{script}")).unwrap();
        let copied = std::process::Command::new("cp").arg(&staged).arg(path).status().unwrap();
        assert!(copied.success());
        fs::remove_file(staged).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    fn push(&self) -> Push<'_> {
        Push {
            git_dir: &self.git_dir,
            relative_path: "a.git",
            changes: &self.changes,
            push_options: &self.push_options,
            quarantine: self.quarantine.as_ref(),
            pusher: &self.pusher,
            account: Arc::new(Account::new("", "", "the-correlation".to_owned())),
        }
    }

    fn config(&self) -> HooksConfig {
        HooksConfig { custom_hooks_dir: Some(self.path("global")), ..HooksConfig::default() }
    }

    fn hooks(&self, config: HooksConfig, gitlab: Option<Client>) -> Hooks {
        let (workers, children) = (self.workers.clone(), self.children.clone());
        Hooks::new(config, gitlab, workers, children, Path::new("/opt/git/bin/git"))
    }

    /// Hooks that ask a GitLab.
    fn asking(&self, gitlab: &gitlab::Gitlab) -> Hooks {
        self.hooks(self.config(), Some(client(&asking(gitlab))))
    }
}

/// How a GitLab is reached.
/// The exit code of the custom hook that refused; -1 where a signal ended it.
fn exit_code(error: &HookError) -> Option<i32> {
    let HookError::Failed { status, .. } = error else { return None };
    Some(status.code().unwrap_or(-1))
}

fn asking(gitlab: &gitlab::Gitlab) -> GitlabConfig {
    GitlabConfig {
        endpoint: Endpoint::parse(gitlab.url(), "").unwrap(),
        secret: Secret::Inline(format!("\n {}\t\n", gitlab::SECRET)),
        read_timeout: READ_TIMEOUT_DEFAULT,
        basic: None,
        ca_file: None,
        ca_path: None,
        client_certificate: None,
    }
}

fn client(config: &GitlabConfig) -> Client {
    Client::new(config, &Registry::new(), &[]).unwrap()
}

// === impl Terminal ===

impl Terminal {
    fn shown(&self) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&self.stdout), text(&self.stderr))
    }

    fn is_gone(&self) -> bool {
        self.gone_after.is_some_and(|bytes| self.stdout.len() + self.stderr.len() >= bytes)
    }
}

impl Sink for Terminal {
    async fn stdout(&mut self, bytes: &[u8]) -> Result<(), Left> {
        if self.is_gone() {
            return Err(Left);
        }
        self.stdout.extend_from_slice(bytes);
        Ok(())
    }

    async fn stderr(&mut self, bytes: &[u8]) -> Result<(), Left> {
        if self.is_gone() {
            return Err(Left);
        }
        self.stderr.extend_from_slice(bytes);
        Ok(())
    }
}
