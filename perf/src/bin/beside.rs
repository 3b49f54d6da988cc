//! The steps of `node/guide/beside-gitaly.md`, one after the other, with a stock Gitaly: in front of
//! it, instead of it, and back.
//!
//! usage: `GITRING_TEST_GITALY=/path/to/gitaly beside`; `GITRING_TEST_GITALY_GIT` names the git that
//! Gitaly is to use.
//!
//! Always true: exit 0 only if every step came out as the guide says; each is told as it happens.
//!
//! Never here: figures.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gitring_daemon::client::{Address, Client};
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::operation_service_client::OperationServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::user_commit_files_action::UserCommitFilesActionPayload;
use gitring_proto::gitaly::user_commit_files_request::UserCommitFilesRequestPayload;
use gitring_proto::gitaly::*;
use gitring_tests::gitaly::{Door, dial, run};
use gitring_tests::gitlab::{Gitlab, Listens};
use gitring_tests::node::Node;
use gitring_tests::stock_gitaly::{StockGitaly, TOKEN, program};
use gitring_tests::{git, metrics, process};
use tonic::Status;
use tonic::codegen::tokio_stream::iter;

const REPOSITORY: &str = "group/project.git";
/// How long a node may take to drain.
const STOP_MAX: Duration = Duration::from_secs(15);
/// The token is Gitaly's. The gateway, which git pushes to here, knows no projects that GitLab could
/// be asked about.
const DOORS: &str = "[auth]\ntoken = 'of stock Gitaly'\n[hooks]\nwithout_gitlab = 'allow'\n";

fn main() -> ExitCode {
    let Some(program) = program() else {
        eprintln!("usage: GITRING_TEST_GITALY=/path/to/gitaly beside");
        return ExitCode::from(2);
    };
    let walk = Walk::new(program);
    walk.all();
    println!("\nEvery step came out as the guide says.");
    ExitCode::SUCCESS
}

struct Walk {
    gitlab: Gitlab,
    gitaly: StockGitaly,
    /// Holds the storage, whoever serves it.
    node: Node,
    work: tempfile::TempDir,
    began: Instant,
}

// === impl Walk ===

impl Walk {
    fn new(program: std::path::PathBuf) -> Self {
        let gitlab = Gitlab::friendly(&Listens::Tcp);
        let gitaly = StockGitaly::new(program);
        let node = Node::start_with(&gateway(&format!("{}{DOORS}", gitaly.upstream())));
        let work = tempfile::tempdir().expect("a temporary folder");
        Self { gitlab, gitaly, node, work, began: Instant::now() }
    }

    fn all(mut self) {
        let storage = self.node.storage();
        // The first node only lends its storage until its turn comes.
        stop(&mut self.node);
        self.head("Gitaly alone");
        self.gitaly.start(&storage, self.gitlab.url());
        let gitaly = self.gitaly.address();
        create(&gitaly);
        let first = commit(&gitaly, "main", "one").expect("Gitaly commits");
        self.tell(&format!("Gitaly made {REPOSITORY} and commit {first:.8}"));
        assert_eq!(advertised(&gitaly, "refs/heads/main"), Some(first.clone()));

        self.head("The node in front of Gitaly: clients change one address");
        self.node.restart();
        let node = address(&self.node);
        assert_eq!(advertised(&node, "refs/heads/main"), Some(first.clone()));
        let clone = self.clone_of("first");
        assert_eq!(git::run(&clone, &["rev-parse", "HEAD"]), first);
        self.tell("a clone from the node has Gitaly's commit");
        let second = commit(&node, "main", "two").expect("the upstream commits");
        assert_eq!(found(&node, "main"), Some(second.clone()));
        self.tell(&format!("UserCommitFiles passed on: the node finds {second:.8} at once"));
        assert_eq!(advertised(&gitaly, "refs/heads/main"), Some(second));
        let third = push(&clone, "three");
        assert_eq!(found(&node, "main"), Some(third.clone()));
        assert_eq!(stats(&node, "main"), Ok(1));
        self.tell(&format!("git push to the node: {third:.8}; CommitStats, passed on, knows it"));
        let stale = advertised(&gitaly, "refs/heads/main");
        let is_stale = stale.as_ref() != Some(&third);
        self.tell(&format!(
            "who still asks Gitaly itself for its refs hears of {:.8}{}",
            stale.unwrap_or_default(),
            if is_stale { ": its cache has not heard of the push" } else { "" }
        ));
        for method in ["UserCommitFiles", "CommitStats"] {
            let labels = [("grpc_method", method), ("code", "OK")];
            let passed = metrics::sum(&self.node, "gitring_upstream_calls_total", &labels);
            assert!(passed > 0, "{method}");
            self.tell(&format!("gitring_upstream_calls_total: {method} {passed}"));
        }

        self.head("The node instead of Gitaly");
        stop(&mut self.node);
        self.gitaly.stop();
        let mut alone = self.node.start_beside(&gateway(DOORS));
        let node = address(&alone);
        assert_eq!(advertised(&node, "refs/heads/main"), Some(third.clone()));
        git::run(&clone, &["remote", "set-url", "origin", &alone.url(REPOSITORY)]);
        let fourth = push(&clone, "four");
        assert_eq!(found(&node, "main"), Some(fourth.clone()));
        self.tell(&format!("clones and pushes go on: {fourth:.8}"));
        let refused = commit(&node, "main", "five").expect_err("nobody commits");
        self.tell(&format!("UserCommitFiles: {:?}, {}", refused.code(), refused.message()));
        assert_eq!(refused.code(), tonic::Code::Unimplemented);
        stop(&mut alone);

        self.head("Back to Gitaly");
        self.gitaly.start(&storage, self.gitlab.url());
        assert_eq!(advertised(&gitaly, "refs/heads/main"), Some(fourth.clone()));
        assert_eq!(found(&gitaly, "main"), Some(fourth));
        self.tell("Gitaly, started anew, has all that was pushed to the node");
        let fifth = commit(&gitaly, "main", "five").expect("Gitaly commits");
        self.tell(&format!("and commits on top of it: {fifth:.8}"));
        let path = storage.join(REPOSITORY);
        git::run(&path, &["fsck", "--no-dangling"]);
        let commits = git::run(&path, &["rev-list", "--count", "main"]);
        assert_eq!(commits, "5");
        self.tell("git fsck is content; main has its five commits");
    }

    fn head(&self, text: &str) {
        println!("\n{text}");
    }

    fn tell(&self, text: &str) {
        println!("  {:6.2} s  {text}", self.began.elapsed().as_secs_f64());
    }

    fn clone_of(&self, name: &str) -> std::path::PathBuf {
        let clone = self.work.path().join(name);
        let (url, folder) = (self.node.url(REPOSITORY), clone.display().to_string());
        git::run(self.work.path(), &["clone", "--quiet", &url, &folder]);
        clone
    }
}

fn gateway(more: &str) -> String {
    // The harness ends its configuration with the table of the gateway.
    format!("receive_pack = true\n{more}")
}

/// SIGTERM: requests may finish.
fn stop(node: &mut Node) {
    process::signal(node.pid(), "TERM");
    node.wait(STOP_MAX);
}

fn address(node: &Node) -> Address {
    Address::Unix(node.socket_path())
}

/// Makes one call, as a new client.
fn ask<T, F: Future<Output = T>>(address: &Address, call: impl FnOnce(Client) -> F) -> T {
    run(async { call(dial(address, Door::UnixMux, TOKEN).await).await })
}

fn named() -> Option<Repository> {
    Some(Repository {
        storage_name: "default".to_owned(),
        relative_path: REPOSITORY.to_owned(),
        gl_repository: "project-1".to_owned(),
        gl_project_path: "group/project".to_owned(),
        ..Default::default()
    })
}

fn create(address: &Address) {
    let request = CreateRepositoryRequest {
        repository: named(),
        default_branch: Bytes::from_static(b"main"),
        ..Default::default()
    };
    ask(address, async |client| {
        RepositoryServiceClient::new(client).create_repository(request).await
    })
    .expect("Gitaly creates a repository");
}

/// A commit as GitLab's editor makes it; its id.
fn commit(address: &Address, branch: &str, file: &str) -> Result<String, Status> {
    let user = User {
        gl_id: "user-1".to_owned(),
        name: Bytes::from_static(b"Jane"),
        email: Bytes::from_static(b"jane@example.com"),
        gl_username: "jane".to_owned(),
        timezone: "UTC".to_owned(),
    };
    let header = UserCommitFilesRequestHeader {
        repository: named(),
        user: Some(user),
        branch_name: Bytes::from(branch.to_owned()),
        commit_message: Bytes::from(file.to_owned()),
        ..Default::default()
    };
    let of_file = UserCommitFilesActionHeader {
        file_path: Bytes::from(file.to_owned()),
        ..Default::default()
    };
    let action = |payload| {
        UserCommitFilesRequestPayload::Action(UserCommitFilesAction {
            user_commit_files_action_payload: Some(payload),
        })
    };
    let payloads = [
        UserCommitFilesRequestPayload::Header(header),
        action(UserCommitFilesActionPayload::Header(of_file)),
        action(UserCommitFilesActionPayload::Content(Bytes::from_static(b"text\n"))),
    ];
    let requests = payloads
        .map(|payload| UserCommitFilesRequest { user_commit_files_request_payload: Some(payload) });
    let reply = ask(address, async |client| {
        OperationServiceClient::new(client).user_commit_files(iter(requests)).await
    })?;
    let update = reply.into_inner().branch_update;
    Ok(update.ok_or_else(|| Status::internal("no update of a branch"))?.commit_id)
}

/// The commit that a branch leads to.
fn found(address: &Address, branch: &str) -> Option<String> {
    let revision = Bytes::from(branch.to_owned());
    let request = FindCommitRequest { repository: named(), revision, ..Default::default() };
    let reply =
        ask(address, async |client| CommitServiceClient::new(client).find_commit(request).await);
    reply.expect("answered").into_inner().commit.map(|commit| commit.id)
}

/// Lines that the last commit of a branch has added.
fn stats(address: &Address, branch: &str) -> Result<i32, String> {
    let revision = Bytes::from(branch.to_owned());
    let request = CommitStatsRequest { repository: named(), revision };
    let reply =
        ask(address, async |client| CommitServiceClient::new(client).commit_stats(request).await);
    reply.map(|reply| reply.into_inner().additions).map_err(|status| status.to_string())
}

/// What a ref is advertised with to clients of HTTP.
fn advertised(address: &Address, reference: &str) -> Option<String> {
    let request = InfoRefsRequest { repository: named(), ..Default::default() };
    let text = ask(address, async |client| {
        let mut http = SmartHttpServiceClient::new(client);
        let mut replies = http.info_refs_upload_pack(request).await?.into_inner();
        let mut text = Vec::new();
        while let Some(reply) = replies.message().await? {
            text.extend_from_slice(&reply.data);
        }
        Ok::<_, Status>(text)
    });
    let text = String::from_utf8_lossy(&text.expect("advertised")).into_owned();
    let line = text.lines().find(|line| line.ends_with(&format!(" {reference}")))?;
    let (id, _) = line.split_once(' ')?;
    // Behind the length of the packet.
    Some(id.get(id.len().saturating_sub(40)..)?.to_owned())
}

/// Commits a file in a clone and pushes it; the commit.
fn push(clone: &Path, file: &str) -> String {
    git::run(clone, &["pull", "--quiet", "--ff-only"]);
    std::fs::write(clone.join(file), "text\n").expect("a file can be written");
    git::run(clone, &["add", file]);
    git::run(clone, &["commit", "--quiet", "--message", file]);
    let mut command: Command = git::command(clone);
    let pushed = command.args(["push", "--quiet", "origin", "HEAD:main"]).output();
    let pushed = pushed.expect("git can be started");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    git::run(clone, &["rev-parse", "HEAD"])
}
