//! A stock Gitaly on the storage of a node.
//!
//! Always true:
//! - The value exists before its Gitaly runs, so that a node can be told its address.
//! - Dropping it kills and reaps the Gitaly.
//!
//! Never here: building one. `GITRING_TEST_GITALY` names the program, beside which its other
//! programs lie, and `GITRING_TEST_GITALY_GIT` the git that it is to use, else that of the tests.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gitring_daemon::client::Address;
use tempfile::TempDir;

use crate::git;

/// Who calls must know it.
pub const TOKEN: &str = "of stock Gitaly";

/// How long it may take until it accepts connections.
const START_MAX: Duration = Duration::from_secs(30);

/// A Gitaly that runs, or will.
#[derive(Debug)]
pub struct StockGitaly {
    program: PathBuf,
    folder: TempDir,
    child: Option<Child>,
}

/// The program under test, if there is one.
pub fn program() -> Option<PathBuf> {
    std::env::var_os("GITRING_TEST_GITALY").map(PathBuf::from)
}

// === impl StockGitaly ===

impl StockGitaly {
    /// Has an address, and does not run yet.
    ///
    /// # Panics
    /// If there is no temporary folder.
    pub fn new(program: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["run", "log", "shell", "hooks"] {
            fs::create_dir(folder.path().join(name)).expect("a fresh folder is empty");
        }
        Self { program, folder, child: None }
    }

    /// Starts it on `storage`, with a GitLab that it asks about changes.
    ///
    /// # Panics
    /// If it does not accept connections in time, with its log.
    pub fn start(&mut self, storage: &Path, gitlab_url: &str) {
        let config = self.folder.path().join("gitaly.toml");
        let text = self.configuration(storage, gitlab_url);
        fs::write(&config, text).expect("the configuration is written");
        let log = File::options().create(true).append(true).open(self.log_path());
        let stdout = log.expect("the log can be opened");
        let stderr = stdout.try_clone().expect("a file can be cloned");
        let mut command = Command::new(&self.program);
        git::close_environment(&mut command);
        command.arg("serve").arg(config).env("HOME", self.folder.path());
        // Gitaly 18 takes a git of the system for its own only if it is told so.
        command.env("GITALY_TESTING_GIT_BINARY", git_of_gitaly());
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        self.child = Some(command.spawn().expect("Gitaly can be started"));
        let begun = Instant::now();
        while UnixStream::connect(self.socket_path()).is_err() {
            assert!(begun.elapsed() < START_MAX, "Gitaly does not accept\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it, as its service manager would in a hurry.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        drop(fs::remove_file(self.socket_path()));
    }

    /// Where it listens.
    pub fn socket_path(&self) -> PathBuf {
        self.folder.path().join("gitaly.sock")
    }

    /// The same as clients are told.
    pub fn address(&self) -> Address {
        Address::Unix(self.socket_path())
    }

    /// What makes it a node's upstream.
    pub fn upstream(&self) -> String {
        let socket = self.socket_path();
        format!("[upstream]\naddress = 'unix:{}'\ntoken = '{TOKEN}'\n", socket.display())
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log/gitaly.log")
    }

    fn configuration(&self, storage: &Path, gitlab_url: &str) -> String {
        let (folder, storage) = (self.folder.path().display(), storage.display());
        let bin = self.program.parent().expect("a program lies in a folder").display();
        format!(
            "socket_path = '{folder}/gitaly.sock'\nbin_dir = '{bin}'\n\
             runtime_dir = '{folder}/run'\n[auth]\ntoken = '{TOKEN}'\n\
             [[storage]]\nname = 'default'\npath = '{storage}'\n\
             [logging]\ndir = '{folder}/log'\nformat = 'json'\nlevel = 'info'\n\
             [gitlab]\nurl = '{gitlab_url}'\nsecret = 'of the tests'\n\
             [hooks]\ncustom_hooks_dir = '{folder}/hooks'\n\
             [gitlab-shell]\ndir = '{folder}/shell'\n[daily_maintenance]\ndisabled = true\n"
        )
    }
}

/// The git that Gitaly runs.
fn git_of_gitaly() -> PathBuf {
    std::env::var_os("GITRING_TEST_GITALY_GIT").map_or_else(git::program, PathBuf::from)
}

impl Drop for StockGitaly {
    fn drop(&mut self) {
        self.stop();
    }
}
