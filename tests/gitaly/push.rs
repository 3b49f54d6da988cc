//! Pushes of stock clients through `SSHReceivePack`, and `InfoRefsReceivePack` with
//! `PostReceivePack`: what is pushed arrives, and who may not ask is told why.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gitring_daemon::client::Client;
use gitring_proto::gitaly::InfoRefsRequest;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::ssh_service_client::SshServiceClient;
use gitring_tests::gitaly::{DOORS, Door, connect, refusal, run};
use gitring_tests::node::Node;
use gitring_tests::picture::fsck;
use gitring_tests::push::{Method, Push, ZERO, commands, first_of_http, first_of_ssh};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shell::{Carrier, Shell};
use gitring_tests::workhorse::Workhorse;
use gitring_tests::{git, metrics, process};
use tempfile::TempDir;
use tonic::codegen::tokio_stream::iter;
use tonic::{Code, Request};

/// Everybody may push.
pub(super) const OPEN: &str = "[hooks]\nwithout_gitlab = \"allow\"\n";

/// A node with the empty repository `target.git`, and commits to push.
pub(super) struct Ground {
    pub(super) node: Node,
    pub(super) target: Repository,
    _folder: TempDir,
    /// The client's repository: `c0`, `c1` and `c2` are tags, `main` is `c2`.
    pub(super) work: PathBuf,
}

// === impl Ground ===

impl Ground {
    pub(super) fn start(more: &str) -> Self {
        let node = Node::start_with(more);
        let target = Repository::create(&node.storage(), "target", Kind::Empty);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let work = folder.path().join("work");
        git::run(folder.path(), &["init", "--quiet", "--initial-branch=main", "work"]);
        git::run_with(&work, &["fast-import", "--quiet", "--done"], &stream());
        Self { node, target, _folder: folder, work }
    }

    /// What a tag of the client's repository stands for.
    pub(super) fn id(&self, tag: &str) -> String {
        git::run(&self.work, &["rev-parse", "--verify", tag])
    }

    /// The bytes of a push that makes `main` of a tag.
    pub(super) fn creation(&self, tag: &str) -> Vec<u8> {
        let line = format!("{ZERO} {} refs/heads/main", self.id(tag));
        let mut bytes = commands(&[&line], gitring_tests::push::CAPABILITIES);
        bytes.extend(gitring_tests::push::pack(&self.work, &[tag]));
        bytes
    }

    /// Every ref of the target with its object, one a line.
    pub(super) fn refs(&self) -> String {
        self.target.git(&["for-each-ref", "--format=%(refname) %(objectname)"])
    }

    /// Whether the target has an object.
    pub(super) fn has(&self, id: &str) -> bool {
        git::try_run(&self.target.path, &["cat-file", "-e", id]).status.success()
    }

    /// Waits until nothing is left of pushes: quarantines, locks, processes.
    #[track_caller]
    pub(super) fn assert_clean(&self) {
        let left = || leftovers(&self.target.path);
        process::wait_until("quarantines and locks go", gitring_tests::gitaly::WAIT_MAX, || {
            left().is_empty() && process::children(self.node.pid()).is_empty()
        });
        fsck(&self.target.path);
    }

    pub(super) async fn client(&self, door: Door) -> Client {
        connect(&self.node, door, "").await
    }
}

/// The three commits of the recorded votes, each a line in the file `f`.
fn stream() -> Vec<u8> {
    let mut stream = String::new();
    for at in 0..3 {
        let line = format!("line {at}\n");
        let who = "A <a@x> 1700000000 +0000";
        stream += &format!("commit refs/heads/main\nmark :{}\n", at + 1);
        stream += &format!("author {who}\ncommitter {who}\ndata 3\nc{at}\n");
        if at > 0 {
            stream += &format!("from :{at}\n");
        }
        stream += &format!("M 644 inline f\ndata {}\n{line}\n", line.len());
        stream += &format!("reset refs/tags/c{at}\nfrom :{}\n\n", at + 1);
    }
    (stream + "done\n").into_bytes()
}

/// Locks and temporary things below a folder.
pub(super) fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_left = name.ends_with(".lock")
            || name.ends_with(".keep")
            || ["tmp_", "incoming", "quarantine"].iter().any(|begin| name.starts_with(begin));
        if is_left {
            found.push(path.clone());
        }
        if path.is_dir() {
            found.extend(leftovers(&path));
        }
    }
    found
}

/// A stock client's way to the node.
enum Way {
    Ssh(Shell),
    Http(Workhorse),
}

// === impl Way ===

impl Way {
    fn git(&self, folder: &Path) -> Command {
        match self {
            Self::Ssh(shell) => shell.git(folder),
            Self::Http(workhorse) => workhorse.git(folder),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Ssh(_) => "ssh://git@node/target.git".to_owned(),
            Self::Http(workhorse) => workhorse.url("target.git"),
        }
    }

    fn push(&self, folder: &Path, words: &[&str]) -> Output {
        let mut command = self.git(folder);
        let (options, refs) =
            words.split_at(words.iter().take_while(|w| w.starts_with('-')).count());
        command.arg("push").args(options).arg(self.url()).args(refs);
        command.output().expect("git can be started")
    }
}

/// Creates, updates, forces and deletes, and compares refs after each.
fn check(ground: &Ground, way: &Way) {
    let steps: [(&[&str], &str); 6] = [
        (&["c0^{}:refs/heads/main"], "refs/heads/main c0"),
        (&["c1:main", "c0:refs/heads/b"], "refs/heads/b c0\nrefs/heads/main c1"),
        (&["--atomic", "c2:main", "c1:refs/heads/b"], "refs/heads/b c1\nrefs/heads/main c2"),
        (&["--force", "c0:refs/heads/b"], "refs/heads/b c0\nrefs/heads/main c2"),
        (&["c2:refs/tags/t"], "refs/heads/b c0\nrefs/heads/main c2\nrefs/tags/t c2"),
        (&[":refs/heads/b", ":refs/tags/t"], "refs/heads/main c2"),
    ];
    for (words, expected) in steps {
        let output = way.push(&ground.work, words);
        assert!(
            output.status.success(),
            "{}\n{}",
            git::describe(words, &output),
            ground.node.log()
        );
        let mut expected = expected.to_owned();
        for tag in ["c0", "c1", "c2"] {
            expected = expected.replace(&format!(" {tag}"), &format!(" {}", ground.id(tag)));
        }
        assert_eq!(ground.refs(), expected, "{words:?}");
        ground.assert_clean();
    }
}

#[test]
fn stock_clients_over_ssh() {
    let ground = Ground::start(OPEN);
    let shell = Shell::start(&ground.node, Carrier::Messages);
    let way = Way::Ssh(shell);
    check(&ground, &way);
    let Way::Ssh(shell) = &way else { return };
    for visit in shell.visits() {
        assert_eq!(visit.command, "git-receive-pack '/target.git'");
        assert_eq!((&visit.failure, visit.exit_status), (&None, None), "{visit:?}");
        assert_eq!(visit.stderr, "");
    }
    let of = |method| [("grpc_method", method), ("git_protocol", "v0")];
    let name = "gitaly_git_protocol_requests_total";
    assert_eq!(metrics::sum(&ground.node, name, &of("SSHReceivePack")), 6);
}

#[test]
fn stock_clients_over_http() {
    let ground = Ground::start(OPEN);
    for door in DOORS {
        check(&ground, &Way::Http(Workhorse::start(&ground.node, door)));
        ground.target.git(&["update-ref", "-d", "refs/heads/main"]);
    }
    let name = "gitaly_git_protocol_requests_total";
    for method in ["InfoRefsReceivePack", "PostReceivePack"] {
        let of = [("grpc_method", method), ("git_protocol", "v0")];
        assert_eq!(metrics::sum(&ground.node, name, &of), 24, "{method}");
    }
}

#[test]
fn a_push_costs_one_child() {
    let ground = Ground::start(OPEN);
    run(async {
        let client = ground.client(Door::Tcp).await;
        let pushed = Push::whole(&client, Method::Ssh, "target.git", &ground.creation("c2")).await;
        assert!(pushed.reply.is_ok(), "{pushed:?}");
        assert_eq!(pushed.told().1, ["unpack ok", "ok refs/heads/main"]);
    });
    assert_eq!(ground.node.children_started(), 1, "{}", ground.node.children_log());
    process::wait_until("the line is written", gitring_tests::gitaly::WAIT_MAX, || {
        ground.node.log().contains("finished streaming call with code OK")
    });
    let log = ground.node.log();
    let line = log.lines().find(|line| line.contains("finished streaming")).unwrap_or_default();
    for field in [
        "\"grpc.method\":\"SSHReceivePack\"",
        "\"grpc.request.glRepository\"",
        "\"grpc.request.glProjectPath\":\"group/project\"",
        "\"grpc.meta.method_operation\":\"mutator\"",
        "\"command.count\":1",
    ] {
        assert!(line.contains(field), "{field} in {line}");
    }
    let of = [("grpc_method", "SSHReceivePack"), ("subcmd", "unpack-objects")];
    assert!(metrics::sum(&ground.node, "gitaly_command_minor_page_faults_total", &of) > 50);
}

/// Stock Gitaly's words, in the order in which it looks.
#[test]
fn who_asks_wrongly_is_told() {
    let ground = Ground::start(OPEN);
    let doors = [Door::Tcp, Door::Unix];
    for door in doors {
        run(async {
            let client = ground.client(door).await;
            let ssh = async |change: &dyn Fn(&mut _)| {
                let mut first = first_of_ssh("target.git");
                change(&mut first);
                let mut ssh = SshServiceClient::new(client.clone());
                let reply = ssh.ssh_receive_pack(Request::new(iter([first]))).await;
                refusal(reply)
            };
            let http = async |change: &dyn Fn(&mut _)| {
                let mut first = first_of_http("target.git");
                change(&mut first);
                let mut http = SmartHttpServiceClient::new(client.clone());
                refusal(http.post_receive_pack(Request::new(iter([first]))).await)
            };
            let invalid = |text: &str| (Code::InvalidArgument, text.to_owned());
            let missing = (Code::NotFound, "repository not found".to_owned());
            assert_eq!(ssh(&|first| first.gl_id.clear()).await, invalid("empty GlId"));
            assert_eq!(http(&|first| first.gl_id.clear()).await, invalid("empty GlId"));
            let text = "non-empty data in first request";
            assert_eq!(ssh(&|first| first.stdin = "x".into()).await, invalid(text));
            assert_eq!(http(&|first| first.data = "x".into()).await, invalid("non-empty Data"));
            let text = "repository not set";
            assert_eq!(ssh(&|first| first.repository = None).await, invalid(text));
            assert_eq!(http(&|first| first.repository = None).await, invalid(text));
            let options = || vec!["noequals".to_owned()];
            let code = http(&|first| first.git_config_options = options()).await.0;
            assert_eq!(code, Code::InvalidArgument);
            let elsewhere = |named: &mut Option<gitring_proto::gitaly::Repository>| {
                if let Some(named) = named {
                    named.relative_path = "nothing.git".to_owned();
                }
            };
            assert_eq!(ssh(&|first| elsewhere(&mut first.repository)).await, missing);
            assert_eq!(http(&|first| elsewhere(&mut first.repository)).await, missing);
            let mut http = SmartHttpServiceClient::new(client.clone());
            let reply = http.info_refs_receive_pack(InfoRefsRequest::default()).await;
            assert_eq!(refusal(reply), invalid(text));
        });
    }
}
