//! Votes on refs: hash for hash as Gitaly 16.7 was seen to cast them, over the same commits, and
//! what becomes of refs that are not voted for.

use std::time::Duration;

use gitring_daemon::client::Client;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::update_references_request::Update;
use gitring_proto::gitaly::vote_transaction_request::Phase;
use gitring_proto::gitaly::{DeleteRefsRequest, UpdateReferencesRequest, WriteRefRequest};
use gitring_tests::gitaly::{Door, named, refusal, run};
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::voter::{Answer, Vote, Voter, in_transaction};
use tonic::{Code, Status};

/// The commits of the recording.
const FIRST: &str = "52afc8c609ea25cec6ddf16d432af63e5d3e6a1a";
const SECOND: &str = "7a63920df539886e21615395dbe0d86e488f4272";

/// A vote that is cast twice: before and after.
fn twice(hash: &str) -> Vec<Vote> {
    vec![(hash.to_owned(), Phase::PreparedPhase), (hash.to_owned(), Phase::CommittedPhase)]
}

/// Two commits as in the recording: one line `line <n>`, message `c<n>`.
fn recorded(node: &Node) -> Repository {
    let repository = Repository::create(&node.storage(), "a", Kind::Empty);
    let mut stream = Vec::new();
    for n in 0..2 {
        let person = "A <a@x> 1700000000 +0000";
        let (message, content) = (format!("c{n}\n"), format!("line {n}\n"));
        stream.extend_from_slice(
            format!(
                "commit refs/heads/main\nmark :{}\nauthor {person}\ncommitter {person}\n\
                 data {}\n{message}M 100644 inline f\ndata {}\n{content}\n",
                n + 1,
                message.len(),
                content.len(),
            )
            .as_bytes(),
        );
    }
    stream.extend_from_slice(b"done\n");
    repository.import(&stream);
    assert_eq!((repository.id("main~"), repository.id("main")), (FIRST.into(), SECOND.into()));
    repository
}

/// A node with the recorded repository, and a client whose votes are counted.
struct Counted {
    client: Client,
    voter: Voter,
    repository: Repository,
}

// === impl Counted ===

impl Counted {
    async fn start(node: &Node) -> Self {
        let voter = Voter::default();
        let client = voter.connect(node, Door::UnixMux).await;
        Self { client, voter, repository: recorded(node) }
    }

    async fn write(&self, name: &str, new: &str, old: &str) -> Result<(), Status> {
        let request = WriteRefRequest {
            repository: named("a.git"),
            r#ref: name.to_owned().into(),
            revision: new.to_owned().into(),
            old_revision: old.to_owned().into(),
        };
        let mut repositories = RepositoryServiceClient::new(self.client.clone());
        repositories.write_ref(in_transaction(request, true)).await.map(drop)
    }

    /// Names, new and old ids.
    async fn update(&self, updates: &[(&str, &str, &str)]) -> Result<(), Status> {
        let update = |(name, new, old): &(&str, &str, &str)| Update {
            reference: name.to_string().into(),
            old_object_id: old.to_string().into(),
            new_object_id: new.to_string().into(),
        };
        let updates = updates.iter().map(update).collect();
        let request = UpdateReferencesRequest { repository: named("a.git"), updates };
        let request = in_transaction(tonic::codegen::tokio_stream::once(request), true);
        let mut refs = RefServiceClient::new(self.client.clone());
        refs.update_references(request).await.map(drop)
    }

    async fn delete(&self, refs: &[&str], except: &[&str]) -> Result<(), Status> {
        let bytes = |names: &[&str]| names.iter().map(|name| name.to_string().into()).collect();
        let request = DeleteRefsRequest {
            repository: named("a.git"),
            refs: bytes(refs),
            except_with_prefix: bytes(except),
        };
        let mut refs = RefServiceClient::new(self.client.clone());
        refs.delete_refs(in_transaction(request, true)).await.map(drop)
    }

    /// All refs and HEAD, as git sees them.
    fn refs(&self) -> String {
        let refs = self.repository.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        format!("{refs}\n{}", self.repository.git(&["symbolic-ref", "HEAD"]))
    }

    #[track_caller]
    fn voted(&self, hash: &str) {
        assert_eq!(self.voter.votes(), twice(hash));
    }
}

#[test]
fn refs_change_as_gitaly_votes() {
    let node = Node::start();
    let zero = "0".repeat(40);
    run(async {
        let counted = Counted::start(&node).await;
        // Not among the refs of the recording at this time.
        counted.repository.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
        counted.write("refs/heads/w", FIRST, "").await.expect("carried");
        counted.voted("ee21b1b5c3882416b0599c62f832e85f610e6776");
        counted.write("refs/heads/w", SECOND, FIRST).await.expect("carried");
        counted.voted("a4d870affa2c5110bcd8ab051ba036e7818c1444");
        assert_eq!(counted.repository.id("refs/heads/w"), SECOND);
        counted.write("HEAD", "refs/heads/w", "").await.expect("carried");
        counted.voted("395e99b60d0134e05bce192100b8eb4a05d6ad5f");
        assert_eq!(counted.repository.git(&["symbolic-ref", "HEAD"]), "refs/heads/w");
        counted.write("HEAD", "refs/heads/main", "").await.expect("carried");
        counted.voted("9f1df7eea4156be8a871c292b549b3325e425aa2");

        let created = [("refs/heads/u1", FIRST, &*zero), ("refs/heads/u2", SECOND, &*zero)];
        counted.update(&created).await.expect("carried");
        counted.voted("d39805fe3c9b4dbd48341d9b8f704ad1ef8360ef");
        counted.update(&[("refs/heads/u1", &zero, FIRST)]).await.expect("carried");
        counted.voted("e269ba4da8fcf1fd6ec08b5dadd97d3f5f9205a1");
        counted.delete(&["refs/heads/u2", "refs/heads/w"], &[]).await.expect("carried");
        counted.voted("d566c0c4e721dbf134ef11033a7de09bef8ed7d0");
        assert_eq!(counted.refs(), format!("refs/heads/main {SECOND}\nrefs/heads/main"));
        counted.delete(&[], &["refs/heads/main", "refs/tags"]).await.expect("carried");
        counted.voted("da39a3ee5e6b4b0d3255bfef95601890afd80709");
        // The second line is HEAD's.
        counted.write("refs/heads/main", FIRST, "").await.expect("carried");
        counted.voted("524533a24add8ed0281345bb0d2030f498e426f2");
    });
}

#[test]
fn refs_that_are_not_voted_for_stay() {
    let node = Node::start();
    run(async {
        let counted = Counted::start(&node).await;
        let before = counted.refs();
        for (answer, reason) in
            [(Answer::Abort, "transaction was aborted"), (Answer::Stop, "transaction was stopped")]
        {
            let check = |result: Result<(), Status>, text: &str| {
                let expected = (Code::Internal, format!("{text}: {reason}"));
                assert_eq!(refusal(result), expected);
                assert_eq!(counted.refs(), before, "{text}");
                assert_eq!(counted.voter.votes().len(), 1);
            };
            counted.voter.answer(&[answer]);
            let text = "error when running update-ref command: preparatory vote";
            check(counted.write("refs/heads/w", FIRST, "").await, text);
            counted.voter.answer(&[answer]);
            let text = "setting default branch: committing temporary HEAD: \
                        voting on locked file: preimage vote";
            check(counted.write("HEAD", "refs/heads/w", "").await, text);
            counted.voter.answer(&[answer]);
            let text = "committing update: preparatory vote";
            check(counted.update(&[("refs/heads/u", FIRST, "")]).await, text);
            counted.voter.answer(&[answer]);
            check(counted.delete(&["refs/heads/main"], &[]).await, "preparatory vote");
        }
        // No lock is left.
        counted.write("refs/heads/main", FIRST, SECOND).await.expect("carried");
        counted.delete(&["refs/heads/main"], &[]).await.expect("carried");
        counted.voter.votes();
        counted.voter.answer(&[Answer::Commit, Answer::Stop]);
        let text = "error when running update-ref command: committing vote: \
                    transaction was stopped";
        let expected = (Code::Internal, text.to_owned());
        assert_eq!(refusal(counted.write("refs/heads/w", FIRST, "").await), expected);
        assert_eq!(counted.repository.id("refs/heads/w"), FIRST);
    });
}

#[test]
fn whoever_leaves_while_others_vote_leaves_no_lock() {
    let node = Node::start();
    run(async {
        let counted = Counted::start(&node).await;
        let before = counted.refs();
        counted.voter.answer(&[Answer::Never]);
        let writing = counted.write("refs/heads/w", FIRST, "");
        let left = tokio::time::timeout(Duration::from_millis(500), writing).await;
        assert!(left.is_err(), "nobody answers: {left:?}");
        assert_eq!(counted.voter.votes().len(), 1);
        assert_eq!(counted.refs(), before);
        // The lock goes a moment after the call.
        while counted.write("refs/heads/w", SECOND, "").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(counted.repository.id("refs/heads/w"), SECOND);
    });
}
