//! Stock Gitaly behind the node, on the same disks.
//!
//! Goal: its answers come word for word, and what it changes the node sees with the next call.
//! Method: the same call goes to the node and straight to the Gitaly; changes are looked for at
//! once, many times. Runs where `GITRING_TEST_GITALY` names a Gitaly.

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::get_archive_request::Format;
use gitring_proto::gitaly::operation_service_client::OperationServiceClient;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::ssh_service_client::SshServiceClient;
use gitring_proto::gitaly::user_commit_files_action::UserCommitFilesActionPayload;
use gitring_proto::gitaly::user_commit_files_request::UserCommitFilesRequestPayload;
use gitring_proto::gitaly::*;
use gitring_tests::gitaly::{Door, Raw, connect, dial, run};
use gitring_tests::gitlab::{Gitlab, Listens};
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::repository::{self, Kind};
use gitring_tests::stock_gitaly::{StockGitaly, TOKEN, program};
use gitring_tests::{client, git};
use prost::Message;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::iter;

/// A node, a Gitaly behind it, and a client of each.
struct Pair {
    node: Node,
    repository: repository::Repository,
    near: Client,
    far: Client,
    gitaly: StockGitaly,
    _gitlab: Gitlab,
}

impl Pair {
    /// Runs a test, if there is a Gitaly.
    fn play<F: Future<Output = ()>>(test: impl FnOnce(Pair) -> F) {
        let Some(program) = program() else {
            eprintln!("GITRING_TEST_GITALY names no Gitaly: skipped");
            return;
        };
        let gitlab = Gitlab::friendly(&Listens::Tcp);
        let mut gitaly = StockGitaly::new(program);
        let node = Node::start_with(&gitaly.upstream());
        let repository = repository::Repository::create(&node.storage(), "varied", Kind::Varied);
        gitaly.start(&node.storage(), gitlab.url());
        run(async {
            let near = connect(&node, Door::Mux, "").await;
            let far = dial(&gitaly.address(), Door::UnixMux, TOKEN).await;
            let pair = Pair { node, repository, near, far, gitaly, _gitlab: gitlab };
            test(pair).await;
        });
    }
}

/// As Rails names it: hooks ask GitLab by the other names.
fn named(relative_path: &str) -> Option<Repository> {
    Some(Repository {
        storage_name: "default".to_owned(),
        relative_path: relative_path.to_owned(),
        gl_repository: "project-1".to_owned(),
        gl_project_path: "group/project".to_owned(),
        ..d()
    })
}

fn user() -> Option<User> {
    Some(User {
        gl_id: "user-1".to_owned(),
        name: Bytes::from_static(b"Jane"),
        email: Bytes::from_static(b"jane@example.com"),
        gl_username: "jane".to_owned(),
        timezone: "UTC".to_owned(),
    })
}

/// All messages of an answer, as they came, and how it ended. Gitaly cuts what git prints into
/// messages as it comes: such an answer is one text.
async fn answer(client: &Client, path: &'static str, request: Bytes) -> Vec<String> {
    let request = Request::new(iter([request]));
    let is_text = path.ends_with("/RawDiff") || path.ends_with("/GetArchive");
    let mut text = Vec::new();
    let mut grpc = Grpc::new(client.clone()).max_decoding_message_size(64 << 20);
    let mut said = Vec::new();
    match grpc.streaming(request, PathAndQuery::from_static(path), Raw).await {
        Err(status) => said.push(ending(&status)),
        Ok(replies) => {
            let mut replies = replies.into_inner();
            loop {
                match replies.message().await {
                    Ok(Some(message)) if is_text => {
                        let piece = GetArchiveResponse::decode(message).expect("a piece");
                        text.extend_from_slice(&piece.data);
                    }
                    Ok(Some(message)) => said.push(format!("{message:?}")),
                    Ok(None) => break,
                    Err(status) => {
                        said.push(ending(&status));
                        break;
                    }
                }
            }
        }
    }
    said.push(format!("{:?}", Bytes::from(text)));
    said
}

fn ending(status: &tonic::Status) -> String {
    format!("{:?} {} {:?}", status.code(), status.message(), status.details())
}

#[test]
fn answers_come_word_for_word() {
    Pair::play(async |pair| {
        let (main, v0) = (pair.repository.id("main"), pair.repository.id("v0^{commit}"));
        let check = async |path: &'static str, request: Bytes, expected: usize| {
            let near = answer(&pair.near, path, request.clone()).await;
            let far = answer(&pair.far, path, request).await;
            let beginnings =
                || [&near, &far].map(|said| said.iter().map(|one| one.len()).collect::<Vec<_>>());
            assert!(near == far, "{path}: {:?}", beginnings());
            assert!(far.len() > expected, "{path}: {:?}", beginnings());
        };
        let request = FindAllCommitsRequest { repository: named("varied.git"), ..d() };
        check("/gitaly.CommitService/FindAllCommits", encoded(&request), 1).await;
        let request = CommitDiffRequest {
            repository: named("varied.git"),
            left_commit_id: v0.clone(),
            right_commit_id: main.clone(),
            ..d()
        };
        check("/gitaly.DiffService/CommitDiff", encoded(&request), 2).await;
        let request = RawDiffRequest {
            repository: named("varied.git"),
            left_commit_id: v0.clone(),
            right_commit_id: main.clone(),
        };
        check("/gitaly.DiffService/RawDiff", encoded(&request), 0).await;
        let request = GetArchiveRequest {
            repository: named("varied.git"),
            commit_id: main.clone(),
            prefix: "a".to_owned(),
            format: Format::Tar.into(),
            ..d()
        };
        check("/gitaly.RepositoryService/GetArchive", encoded(&request), 0).await;
        let request = GetArchiveRequest { commit_id: "nothing".to_owned(), ..request };
        check("/gitaly.RepositoryService/GetArchive", encoded(&request), 1).await;
        let request = CommitStatsRequest {
            repository: named("varied.git"),
            revision: Bytes::from_static(b"main"),
        };
        check("/gitaly.CommitService/CommitStats", encoded(&request), 1).await;
        let request = FsckRequest { repository: named("none.git") };
        check("/gitaly.RepositoryService/Fsck", encoded(&request), 1).await;
        check("/gitaly.RefService/Newest", Bytes::new(), 1).await;
        check("/gitaly.Nobody/Newest", Bytes::new(), 1).await;
        let ok = [("code", "OK")];
        assert_eq!(metrics::sum(&pair.node, "gitring_upstream_calls_total", &ok), 5);
        assert_eq!(metrics::sum(&pair.node, "gitring_upstream_calls_open", &[]), 0);
    });
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn d<T: Default>() -> T {
    T::default()
}

/// What the node says of a branch and its commit.
async fn seen(near: &Client, branch: &str) -> (bool, Option<String>, Vec<u8>) {
    let (mut refs, mut commits) =
        (RefServiceClient::new(near.clone()), CommitServiceClient::new(near.clone()));
    let reference = Bytes::from(format!("refs/heads/{branch}"));
    let request = RefExistsRequest { repository: named("varied.git"), r#ref: reference.clone() };
    let exists = refs.ref_exists(request).await.expect("answered").into_inner().value;
    let request = FindCommitRequest { repository: named("varied.git"), revision: reference, ..d() };
    let commit = commits.find_commit(request).await.expect("answered").into_inner().commit;
    let request = FindDefaultBranchNameRequest { repository: named("varied.git"), ..d() };
    let default = refs.find_default_branch_name(request).await.expect("answered").into_inner();
    (exists, commit.map(|commit| commit.id), default.name.to_vec())
}

fn commit_files(branch: &str, round: usize) -> Vec<UserCommitFilesRequest> {
    let header = UserCommitFilesRequestHeader {
        repository: named("varied.git"),
        user: user(),
        branch_name: Bytes::from(branch.to_owned()),
        commit_message: Bytes::from_static(b"by the web"),
        ..d()
    };
    let file =
        UserCommitFilesActionHeader { file_path: Bytes::from(format!("web/{round}")), ..d() };
    let action = |payload| {
        let action = UserCommitFilesAction { user_commit_files_action_payload: Some(payload) };
        UserCommitFilesRequestPayload::Action(action)
    };
    let payloads = [
        UserCommitFilesRequestPayload::Header(header),
        action(UserCommitFilesActionPayload::Header(file)),
        action(UserCommitFilesActionPayload::Content(Bytes::from_static(b"text\n"))),
    ];
    let request =
        |payload| UserCommitFilesRequest { user_commit_files_request_payload: Some(payload) };
    payloads.into_iter().map(request).collect()
}

/// Refs, commits and HEAD that the node had in memory a moment ago.
#[test]
fn changes_are_seen_with_the_next_call() {
    Pair::play(async |pair| {
        let mut operations = OperationServiceClient::new(pair.near.clone());
        let main = pair.repository.id("main");
        for round in 0..15 {
            let branch = format!("web-{round}");
            assert_eq!(seen(&pair.near, &branch).await, (false, None, b"refs/heads/main".into()));
            let request = UserCreateBranchRequest {
                repository: named("varied.git"),
                branch_name: Bytes::from(branch.clone()),
                user: user(),
                start_point: Bytes::from_static(b"main"),
            };
            operations.user_create_branch(request).await.expect("created");
            let (exists, commit, _) = seen(&pair.near, &branch).await;
            assert_eq!((exists, commit), (true, Some(main.clone())), "{branch}");
            let files = iter(commit_files(&branch, round));
            let reply = operations.user_commit_files(files).await.expect("committed");
            let update = reply.into_inner().branch_update.expect("an update");
            let (_, commit, _) = seen(&pair.near, &branch).await;
            assert_eq!(commit, Some(update.commit_id), "{branch}");
            let request = UserDeleteBranchRequest {
                repository: named("varied.git"),
                branch_name: Bytes::from(branch.clone()),
                user: user(),
                ..d()
            };
            operations.user_delete_branch(request).await.expect("deleted");
            let (exists, commit, _) = seen(&pair.near, &branch).await;
            assert_eq!((exists, commit), (false, None), "{branch}");
        }
        // Housekeeping moves what the node has mapped and remembered.
        let request = OptimizeRepositoryRequest {
            repository: named("varied.git"),
            strategy: optimize_repository_request::Strategy::Eager.into(),
        };
        let mut repositories = RepositoryServiceClient::new(pair.near.clone());
        repositories.optimize_repository(request).await.expect("optimized");
        assert_eq!(seen(&pair.near, "main").await.1, Some(main));
    });
}

#[test]
fn forks_and_removals_are_seen_by_both() {
    Pair::play(async |pair| {
        let mut repositories = RepositoryServiceClient::new(pair.near.clone());
        let exists = async |client: &Client| {
            let request = RepositoryExistsRequest { repository: named("fork.git") };
            let mut repositories = RepositoryServiceClient::new(client.clone());
            let reply = repositories.repository_exists(request).await.expect("answered");
            reply.into_inner().exists
        };
        for round in 0..3 {
            assert!(!exists(&pair.near).await);
            let request = CreateForkRequest {
                repository: named("fork.git"),
                source_repository: named("varied.git"),
                ..d()
            };
            repositories.create_fork(with_servers(request, &pair)).await.expect("forked");
            assert!(exists(&pair.near).await && exists(&pair.far).await, "round {round}");
            let folder = tempfile::tempdir().expect("a temporary folder");
            let clone = client::Served::Gateway(&pair.node);
            let clone = client::Client::new(folder.path(), clone, 2);
            clone.clone_of("fork", &[]);
            assert_eq!(clone.git(&["rev-parse", "HEAD"]).trim_end(), pair.repository.id("main"));
            let request = RemoveRepositoryRequest { repository: named("fork.git") };
            repositories.remove_repository(request).await.expect("removed");
            assert!(!exists(&pair.far).await, "round {round}");
        }
    });
}

/// Rails tells where storages are; the fork fetches from there, which is the Gitaly itself.
fn with_servers<M>(message: M, pair: &Pair) -> Request<M> {
    use base64::Engine;
    let address = pair.gitaly.address().to_string();
    let json = format!(r#"{{"default":{{"address":"{address}","token":"{TOKEN}"}}}}"#);
    let value = base64::prelude::BASE64_STANDARD.encode(json);
    let mut request = Request::new(message);
    request.metadata_mut().insert("gitaly-servers", value.parse().expect("ASCII"));
    request
}

/// What the node writes, the Gitaly sees; archives over SSH are the node's own.
#[test]
fn both_write_to_the_same_refs() {
    Pair::play(async |pair| {
        let mut repositories = RepositoryServiceClient::new(pair.near.clone());
        let (main, v0) = (pair.repository.id("main"), pair.repository.id("v0^{commit}"));
        for (round, id) in [&main, &v0, &main, &v0].into_iter().enumerate() {
            let request = WriteRefRequest {
                repository: named("varied.git"),
                r#ref: Bytes::from_static(b"refs/heads/turns"),
                revision: Bytes::from(id.clone()),
                ..d()
            };
            repositories.write_ref(request).await.expect("written");
            let request = LastCommitForPathRequest {
                repository: named("varied.git"),
                revision: Bytes::from_static(b"refs/heads/turns"),
                path: Bytes::from_static(b"README"),
                ..d()
            };
            let mut near = CommitServiceClient::new(pair.near.clone());
            let commit = near.last_commit_for_path(request).await.expect("answered").into_inner();
            let commit = commit.commit.expect("a commit").id;
            let last = pair.repository.git(&["log", "-1", "--format=%H", id, "--", "README"]);
            assert_eq!(commit, last, "round {round}");
        }
        let archive = [("grpc_method", "SSHUploadArchive")];
        let mut ssh = SshServiceClient::new(pair.near.clone());
        let first = SshUploadArchiveRequest { repository: named("varied.git"), ..d() };
        let lines = ["argument --format=tar", "argument main"];
        let lines = lines.map(|line| format!("{:04x}{line}", line.len() + 4)).concat() + "0000";
        let stdin = SshUploadArchiveRequest { stdin: Bytes::from(lines), ..d() };
        let mut replies = ssh.ssh_upload_archive(iter([first, stdin])).await.expect("begun");
        let mut bytes = 0;
        while let Some(reply) = replies.get_mut().message().await.expect("it goes on") {
            bytes += reply.stdout.len();
        }
        assert!(bytes > 10_000, "{bytes} bytes");
        assert_eq!(metrics::sum(&pair.node, "gitring_upstream_calls_total", &archive), 0);
        git::run(&pair.repository.path, &["fsck", "--no-dangling"]);
    });
}
