//! Votes: hash for hash and in the order in which Gitaly 16.7 was seen to cast them, and what
//! becomes of a change that is not carried.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use gitring_daemon::client::Client;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::vote_transaction_request::Phase;
use gitring_proto::gitaly::{
    CreateRepositoryRequest, RemoveRepositoryRequest, SetCustomHooksRequest,
};
use gitring_tests::gitaly::{DOORS, Door, connect, named, refusal, run};
use gitring_tests::node::Node;
use gitring_tests::voter::{Answer, Vote, Voter, in_transaction};
use tonic::codegen::tokio_stream::iter;
use tonic::{Code, Status};

/// A vote that is cast twice: before and after.
fn twice(hash: &str) -> Vec<Vote> {
    vec![(hash.to_owned(), Phase::PreparedPhase), (hash.to_owned(), Phase::CommittedPhase)]
}

async fn create(client: &Client, path: &str) -> Result<(), Status> {
    let request = CreateRepositoryRequest { repository: named(path), ..Default::default() };
    let mut repositories = RepositoryServiceClient::new(client.clone());
    repositories.create_repository(in_transaction(request, true)).await.map(drop)
}

async fn remove(client: &Client, path: &str) -> Result<(), Status> {
    let request = RemoveRepositoryRequest { repository: named(path) };
    let mut repositories = RepositoryServiceClient::new(client.clone());
    repositories.remove_repository(in_transaction(request, false)).await.map(drop)
}

/// A node, and one who counts its votes.
struct Counted {
    node: Node,
    voter: Voter,
}

// === impl Counted ===

impl Counted {
    fn start() -> Self {
        Self { node: Node::start(), voter: Voter::default() }
    }

    async fn client(&self) -> Client {
        self.voter.connect(&self.node, Door::Mux).await
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.node.storage().join(relative)
    }
}

#[test]
fn repositories_come_and_go_as_gitaly_votes() {
    let counted = Counted::start();
    for door in DOORS {
        run(async {
            if !matches!(door, Door::Mux | Door::UnixMux) {
                let client = connect(&counted.node, door, "").await;
                let text = "get backchannel: the call came over a connection without one";
                let expected = (Code::FailedPrecondition, text.to_owned());
                assert_eq!(refusal(create(&client, "a.git").await), expected, "{door:?}");
                return;
            }
            let client = counted.voter.connect(&counted.node, door).await;
            create(&client, "a.git").await.expect("carried");
            assert_eq!(counted.voter.votes(), twice("2940f7a6bc1e0ff99c8ff0bcd2a48e1266ebc794"));
            assert!(counted.path("a.git/HEAD").exists());
            remove(&client, "a.git").await.expect("carried");
            // `pre-remove a.git`, `post-remove a.git`
            let expected = [
                ("76596ce3123039c2297f2c02e8d61a0609659087", Phase::PreparedPhase),
                ("abdb06cb2062893d291059917ddc9d7138f76c61", Phase::CommittedPhase),
            ];
            let expected = expected.map(|(hash, phase)| (hash.to_owned(), phase));
            assert_eq!(counted.voter.votes(), expected);
            assert!(!counted.path("a.git").exists());
        });
    }
}

/// `custom_hooks` as tar has it, with one hook.
fn hooks() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hooks = folder.path().join("custom_hooks");
    fs::create_dir(&hooks).expect("the folder is fresh");
    fs::write(hooks.join("pre-receive"), "#!/bin/sh\nexit 0\n").expect("a file can be written");
    for path in [&hooks, &hooks.join("pre-receive")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let mut tar = Command::new("tar");
    tar.args(["--create", "--file=-", "custom_hooks"]).current_dir(folder.path());
    let output = tar.output().expect("tar can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn custom_hooks_are_set_as_gitaly_votes() {
    let counted = Counted::start();
    run(async {
        let client = counted.client().await;
        create(&client, "a.git").await.expect("carried");
        counted.voter.votes();
        let set = async |client: &Client| {
            let message =
                SetCustomHooksRequest { repository: named("a.git"), data: hooks().into() };
            let request = in_transaction(iter([message]), true);
            let mut repositories = RepositoryServiceClient::new(client.clone());
            repositories.set_custom_hooks(request).await.map(drop)
        };
        counted.voter.answer(&[Answer::Abort]);
        refusal(set(&client).await);
        assert_eq!(counted.voter.votes().len(), 1);
        assert!(!counted.path("a.git/custom_hooks").exists());
        set(&client).await.expect("carried");
        assert_eq!(counted.voter.votes(), twice("a5aeb88440b6a85a7b1b509270f147f6c54383eb"));
        assert!(counted.path("a.git/custom_hooks/pre-receive").exists());
    });
}

/// A vote on creating `a.git` that is answered like this: how the call ends, and whether the
/// repository is there then. It is created anew afterwards, so no lock is left.
async fn check(counted: &Counted, answers: &[Answer], expected: (Code, &str), is_there: bool) {
    let client = counted.client().await;
    counted.voter.answer(answers);
    let (code, text) = refusal(create(&client, "a.git").await);
    assert_eq!((code, &*text), expected, "{answers:?}");
    assert_eq!(counted.path("a.git").exists(), is_there, "{answers:?}");
    if !is_there {
        create(&client, "a.git").await.expect("the path is free");
    }
    remove(&client, "a.git").await.expect("it is there");
    counted.voter.votes();
    assert_eq!(counted.voter.stops(), 0);
}

#[test]
fn what_is_not_carried_does_not_happen() {
    use Answer::{Abort, Commit, Fail, Stop};
    let counted = Counted::start();
    run(async {
        let refused = Code::FailedPrecondition;
        let text = "creating repository: preparatory vote: transaction was aborted";
        check(&counted, &[Abort], (refused, text), false).await;
        let text = "creating repository: preparatory vote: transaction was stopped";
        check(&counted, &[Stop], (refused, text), false).await;
        let text = "creating repository: preparatory vote: the vote failed";
        check(&counted, &[Fail(Code::NotFound)], (Code::NotFound, text), false).await;
        // What is visible stays, as with Gitaly; whoever counts repairs it.
        let text = "creating repository: committing vote: transaction was aborted";
        check(&counted, &[Commit, Abort], (refused, text), true).await;

        let client = counted.client().await;
        create(&client, "a.git").await.expect("carried");
        counted.voter.answer(&[Abort]);
        let expected = (Code::Internal, "vote on rename: transaction was aborted".to_owned());
        assert_eq!(refusal(remove(&client, "a.git").await), expected);
        assert!(counted.path("a.git/HEAD").exists());
        counted.voter.answer(&[Commit, Stop]);
        let expected = (Code::Internal, "vote on finalizing: transaction was stopped".to_owned());
        assert_eq!(refusal(remove(&client, "a.git").await), expected);
        assert!(!counted.path("a.git").exists());
    });
}

#[test]
fn late_votes_count_and_those_who_leave_leave_nothing() {
    let counted = Counted::start();
    run(async {
        let client = counted.client().await;
        counted.voter.answer(&[Answer::Late(Duration::from_millis(200))]);
        create(&client, "late.git").await.expect("carried");
        counted.voter.votes();

        counted.voter.answer(&[Answer::Never]);
        let creating = create(&client, "a.git");
        let left = tokio::time::timeout(Duration::from_millis(500), creating).await;
        assert!(left.is_err(), "nobody answers: {left:?}");
        drop(client);
        while counted.voter.votes().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = counted.client().await;
        // The lock goes a moment after the call.
        while create(&client, "a.git").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
