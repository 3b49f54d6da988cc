//! Stock git as Gitaly starts it, and the keys that Gitaly's rule makes of what it starts.
//!
//! Always true: each run of `git pack-objects` leaves one line: a digest of its arguments, of
//! GIT_PROTOCOL and of its standard input.
//!
//! Never here: the repository's name, which is the same for all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gitring_tests::git;
use gitring_tests::repository::Repository;
use gitring_tests::stock_http::StockHttp;

use super::client::Door;

/// Servers of the same folder over HTTP and over a pipe.
#[derive(Debug)]
pub(super) struct Stock {
    http: StockHttp,
    folder: PathBuf,
    /// What a client starts as its upload-pack.
    upload_pack: String,
    log: PathBuf,
}

// === impl Stock ===

impl Stock {
    /// Serves `storage`; keeps its files in `folder`.
    pub(super) fn start(storage: &Path, folder: &Path) -> Self {
        let (hook, log) = (folder.join("hook"), folder.join("packs"));
        let text = format!(
            "#!/bin/sh\ninput=$(mktemp '{0}/input.XXXXXX')\ncat >\"$input\"\n\
             {{ printf '%s\\n' \"$*\" \"$GIT_PROTOCOL\"; cat \"$input\"; }} | sha1sum >>'{1}'\n\
             exec \"$@\" <\"$input\"\n",
            folder.display(),
            log.display()
        );
        fs::write(&hook, text).expect("the hook can be written");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&hook, executable).expect("the hook can be made executable");
        let hook = hook.to_string_lossy();
        // Taken from the command line only (git-config, uploadpack.packObjectsHook).
        let upload_pack = format!(
            "'{}' -c uploadpack.packObjectsHook='{hook}' upload-pack",
            git::program().display()
        );
        let http = StockHttp::start_with(storage, &[("uploadpack.packObjectsHook", &hook)]);
        Self { http, folder: folder.to_owned(), upload_pack, log }
    }

    /// A git client and the URL that it fetches from.
    pub(super) fn reach(&self, door: Door, repository: &Repository) -> (Command, String) {
        let mut command = git::command(&self.folder);
        match door {
            Door::Http => (command, self.http.url(&repository.relative())),
            Door::Ssh => {
                let setting = format!("remote.origin.uploadpack={}", self.upload_pack);
                command.args(["-c", &setting]);
                (command, format!("file://{}", repository.path.display()))
            }
        }
    }

    /// Distinct keys so far.
    pub(super) fn keys(&self) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().collect::<BTreeSet<_>>().len()
    }
}
