//! Pushes made beforehand as the requests that carry them, and how they reach a server.
//!
//! Always true: the node and stock git get the same bytes; a push whose ref the report does not call
//! `ok` has failed.
//!
//! Never here: what is counted.

use std::path::Path;
use std::process::{Command, Stdio};

use gitring_tests::gitaly::{self, Door};
use gitring_tests::node::Node;
use gitring_tests::push::{CAPABILITIES, Method, Push as Call, ZERO, commands, pack};
use gitring_tests::repository::Repository;
use gitring_tests::{git, http, metrics};

/// A node's configuration, behind its table `[gateway]`: everybody may push.
pub(super) const OPEN: &str = "receive_pack = true\n[hooks]\nwithout_gitlab = \"allow\"\n";

/// One push, which creates one branch.
#[derive(Debug)]
pub(super) struct Push {
    /// Commands and a pack: the body of a stateless request.
    body: Vec<u8>,
    /// The line of the report that is wanted.
    wanted: String,
}

/// How the node is reached.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// Smart HTTP.
    Gateway,
    /// Gitaly's `PostReceivePack`, on a connection of its own.
    Gitaly,
}

/// What `git receive-pack` is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stock {
    /// What a stock Gitaly tells it: git's fsck of what comes, everything synced, no upkeep.
    AsServer,
    /// The same, but nothing is synced.
    Volatile,
    /// Nothing, but that it keeps no house behind a push.
    AsItComes,
}

// === impl Push ===

impl Push {
    /// A push that makes the branch `name` of a commit of `client`'s, where the server has `known`.
    pub(super) fn new(client: &Repository, name: &str, known: &[&str]) -> Self {
        let name = format!("refs/heads/{name}");
        let line = format!("{ZERO} {} {name}", client.id(&name));
        let mut body = commands(&[&line], CAPABILITIES);
        let known = known.iter().map(|id| format!("^{id}"));
        let revisions: Vec<String> = [name.clone()].into_iter().chain(known).collect();
        body.extend(pack(&client.path, &revisions.iter().map(String::as_str).collect::<Vec<_>>()));
        Self { body, wanted: format!("ok {name}\n") }
    }

    /// `count` pushes of one commit each upon HEAD of `server`: another file each, `push-<n>`.
    /// The commits come into being in a clone in `folder`.
    pub(super) fn one_commit_each(server: &Repository, folder: &Path, count: usize) -> Vec<Self> {
        let client = Repository { path: folder.join("client.git") };
        let from = server.path.to_string_lossy().into_owned();
        git::run(folder, &["clone", "-q", "--bare", "--shared", &from, "client.git"]);
        // With bitmaps no pack is thin, and clones of those who push have none.
        client.set("pack.useBitmaps", "false");
        let head = client.id("HEAD");
        let files = client.git(&["ls-tree", "-r", "--name-only", "HEAD"]);
        let is_plain = |path: &&str| !path.contains(['"', ' ']);
        let files: Vec<&str> = files.lines().filter(is_plain).collect();
        let mut stream = String::new();
        for n in 0..count {
            let path = files[n * 97 % files.len()];
            stream.push_str(&format!(
                "commit refs/heads/push-{n}\ncommitter A U Thor <author@example.com> 1700000000 \
                 +0000\ndata 8\nA change\nfrom {head}\nM 100644 inline {path}\ndata 40\n\
                 {n:039}\n\n"
            ));
        }
        client.import((stream + "done\n").as_bytes());
        (0..count).map(|n| Self::new(&client, &format!("push-{n}"), &[&head])).collect()
    }

    /// How long the request is.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Sends it to a repository of the node; whether it arrived.
    pub(super) fn to_node(&self, node: &Node, repository: &Repository, way: Way) -> bool {
        let relative = repository.relative();
        let answer = match way {
            Way::Gateway => {
                let path = format!("/{relative}/git-receive-pack");
                let headers = [("Content-Type", "application/x-git-receive-pack-request")];
                http::send(node.gateway(), "POST", &path, &headers, &self.body).body
            }
            Way::Gitaly => gitaly::run(async {
                let client = gitaly::connect(node, Door::Tcp, "").await;
                Call::whole(&client, Method::Http, &relative, &self.body).await.stdout
            }),
        };
        self.is_reported_in(&answer)
    }

    /// Gives it to a `git receive-pack`; whether it arrived.
    pub(super) fn to_stock(&self, repository: &Repository, stock: Stock) -> bool {
        self.to_command(stock.command(repository))
    }

    /// How many processes `git receive-pack` is for this push, itself among them.
    pub(super) fn stock_processes(&self, repository: &Repository, stock: Stock) -> usize {
        let trace = repository.path.join("trace");
        let mut command = stock.command(repository);
        command.env("GIT_TRACE", &trace);
        assert!(self.to_command(command), "git receive-pack takes a push");
        let trace = std::fs::read_to_string(trace).unwrap_or_default();
        1 + trace.lines().filter(|line| line.contains("run_command:")).count()
    }

    fn to_command(&self, mut command: Command) -> bool {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        self.is_reported_in(&git::feed(command, &self.body).stdout)
    }

    /// Whether the report, which is one packet of a side-band, has the line.
    fn is_reported_in(&self, answer: &[u8]) -> bool {
        String::from_utf8_lossy(answer).contains(&self.wanted)
    }
}

// === impl Stock ===

impl Stock {
    fn command(self, repository: &Repository) -> Command {
        let mut command = git::command(&repository.path);
        let settings: &[&str] = match self {
            Self::AsServer => &[
                "receive.fsckObjects=true",
                "core.fsync=objects,derived-metadata,reference",
                "core.fsyncMethod=fsync",
            ],
            Self::Volatile => &["receive.fsckObjects=true", "core.fsync=none"],
            Self::AsItComes => &[],
        };
        for setting in ["receive.autogc=false"].iter().chain(settings) {
            command.args(["-c", setting]);
        }
        command.args(["receive-pack", "--stateless-rpc", "."]);
        command
    }
}

/// How many processes the node says it has started.
pub(super) fn processes(node: &Node) -> u64 {
    metrics::sum(node, "gitring_children_spawned_total", &[])
}

/// A copy of `repository` in its own folder that shares the files of its objects.
pub(super) fn linked_copy(repository: &Repository, name: &str) -> Repository {
    let copy = Repository { path: repository.path.with_file_name(format!("{name}.git")) };
    // Packs never change; refs and settings are replaced, never written to.
    let status = Command::new("cp").arg("-al").arg(&repository.path).arg(&copy.path).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot copy {}", copy.path.display());
    copy
}
