//! One git client and its fetch.
//!
//! Always true: it begins as a copy of the same clone, and is gone when its fetch has ended.
//!
//! Never here: whom it asks.

use std::fs;
use std::path::Path;
use std::process::Command;

use gitring_tests::git;

/// When clients made their own commits: later than all that they have, in the seconds of
/// [`gitring_tests::history`], and earlier than what the server has made since.
const OWN_DATE: u64 = 1_600_026_000;

/// How a client reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Http,
    Ssh,
}

/// What tells one client from another.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) version: u8,
    pub(super) door: Door,
    pub(super) progress: bool,
    /// An option, or nothing.
    pub(super) tags: &'static str,
    /// Value of `fetch.negotiationAlgorithm`.
    pub(super) negotiator: &'static str,
    pub(super) own_commits: usize,
}

// === impl Client ===

impl Client {
    /// Fetches with `command`, a git of whoever serves, from `url`; ends with `main` at `target`.
    pub(super) fn fetch(
        &self,
        base: &Path,
        (mut command, url): (Command, &str),
        target: &str,
    ) -> Result<(), String> {
        let folder = base.with_file_name(format!("client-{}", self.number));
        let copied = Command::new("cp").arg("-a").arg(base).arg(&folder).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy a clone");
        self.commit(&folder);
        let version = format!("protocol.version={}", self.version);
        let negotiator = format!("fetch.negotiationAlgorithm={}", self.negotiator);
        let settings = [&version, &negotiator, "maintenance.auto=false", "gc.auto=0"];
        git::run(&folder, &["config", "remote.origin.url", url]);
        command.current_dir(&folder).args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.args(["fetch", if self.progress { "--progress" } else { "--quiet" }]);
        command.args(Some(self.tags).filter(|tags| !tags.is_empty())).arg("origin");
        let output = command.output().expect("git can be started");
        let found = git::run(&folder, &["rev-parse", "refs/remotes/origin/main"]);
        drop(fs::remove_dir_all(&folder));
        match () {
            () if !output.status.success() => Err(git::describe(&["fetch"], &output)),
            () if found != target => Err(format!("{self:?} has {found}")),
            () => Ok(()),
        }
    }

    /// Its own work, which no server has.
    fn commit(&self, folder: &Path) {
        let mut stream = String::new();
        for n in 0..self.own_commits {
            let message = format!("commit {n} of client {}", self.number);
            let from = if n == 0 { "from refs/heads/main^0\n" } else { "" };
            stream.push_str(&format!(
                "commit refs/heads/main\ncommitter C <c@example.com> {} +0000\ndata {}\n{message}\n\
                 {from}\n",
                OWN_DATE + n as u64,
                message.len(),
            ));
        }
        stream.push_str("done\n");
        git::run_with(folder, &["fast-import", "--quiet", "--done"], stream.as_bytes());
    }
}
