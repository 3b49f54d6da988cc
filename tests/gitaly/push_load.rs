//! Much asked at once about a push, and clients that leave.

use std::time::Duration;

use gitring_proto::gitaly::blob_service_client::BlobServiceClient;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::diff_service_client::DiffServiceClient;
use gitring_proto::gitaly::find_changed_paths_request::Request;
use gitring_proto::gitaly::find_changed_paths_request::request::{CommitRequest, Type};
use gitring_proto::gitaly::{
    CheckObjectsExistRequest, CommitIsAncestorRequest, FindChangedPathsRequest,
    ListAllBlobsRequest, ListAllCommitsRequest, ListBlobsRequest, ListCommitsByOidRequest,
    ListCommitsRequest,
};
use gitring_tests::gitaly::run;
use gitring_tests::process;
use gitring_tests::random::Random;
use tonic::codegen::tokio_stream;

use super::quarantined::{Push, View, all};

#[test]
fn thousands_of_questions_in_one_call() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let mut commits = CommitServiceClient::new(client.clone());
        let listed = push.git(View::Plain, &["rev-list", "--all"]);
        let ids: Vec<_> = listed.lines().collect();
        let many = || ids.iter().cycle().take(20_000).map(|id| (*id).to_owned());
        let request = ListCommitsRequest {
            repository: push.named(View::Pushed),
            revisions: many().collect(),
            ..ListCommitsRequest::default()
        };
        let found = all(commits.list_commits(request).await).await.expect("commits");
        assert_eq!(found.iter().map(|message| message.commits.len()).sum::<usize>(), ids.len());
        let request =
            ListCommitsByOidRequest { repository: push.named(View::Pushed), oid: many().collect() };
        let found = all(commits.list_commits_by_oid(request).await).await.expect("commits");
        assert!(found.len() > 1, "more than one message");
        assert_eq!(found.iter().map(|message| message.commits.len()).sum::<usize>(), 20_000);
        let request = CheckObjectsExistRequest {
            repository: push.named(View::Pushed),
            revisions: many().chain(["main:README".to_owned()]).map(Into::into).collect(),
        };
        let found = commits.check_objects_exist(tokio_stream::iter(vec![request; 2])).await;
        let found = all(found).await.expect("answers");
        let existing = found.iter().flat_map(|message| &message.revisions);
        assert_eq!(existing.filter(|one| one.exists).count(), 40_000);
        let line = |commit_revision| Request {
            r#type: Some(Type::CommitRequest(CommitRequest {
                commit_revision,
                parent_commit_revisions: Vec::new(),
            })),
        };
        let request = FindChangedPathsRequest {
            repository: push.named(View::Pushed),
            requests: many().map(line).collect(),
            ..FindChangedPathsRequest::default()
        };
        let mut diffs = DiffServiceClient::new(client);
        let found = all(diffs.find_changed_paths(request).await).await.expect("paths");
        assert!(found.iter().map(|message| message.paths.len()).sum::<usize>() > 20_000);
    });
}

#[test]
fn a_push_costs_few_children() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let mut commits = CommitServiceClient::new(client.clone());
        let mut blobs = BlobServiceClient::new(client.clone());
        let mut diffs = DiffServiceClient::new(client);
        let before = push.node.children_started();
        let after = |expected: usize, what: &str| {
            assert_eq!(push.node.children_started() - before, expected, "{what}");
        };
        let repository = || push.named(View::Pushed);
        let (ancestor_id, child_id) = (push.repository.id("main"), push.merge.clone());
        let request = CommitIsAncestorRequest { repository: repository(), ancestor_id, child_id };
        assert!(commits.commit_is_ancestor(request).await.expect("an answer").into_inner().value);
        let revisions = vec![push.merge.clone().into()];
        let request = CheckObjectsExistRequest { repository: repository(), revisions };
        all(commits.check_objects_exist(tokio_stream::iter([request])).await).await.expect("one");
        let oid = vec![push.merge.clone()];
        let request = ListCommitsByOidRequest { repository: repository(), oid };
        all(commits.list_commits_by_oid(request).await).await.expect("one");
        after(0, "ancestry, existence, commits by id");
        let request =
            ListAllCommitsRequest { repository: push.named(View::Alone), ..Default::default() };
        all(commits.list_all_commits(request).await).await.expect("two");
        after(1, "all commits");
        let new = vec![push.merge.clone(), "--not".to_owned(), "--all".to_owned()];
        let request = ListCommitsRequest {
            repository: repository(),
            revisions: new.clone(),
            ..ListCommitsRequest::default()
        };
        all(commits.list_commits(request).await).await.expect("two");
        after(2, "new commits");
        let request =
            ListAllBlobsRequest { repository: push.named(View::Alone), ..Default::default() };
        all(blobs.list_all_blobs(request).await).await.expect("sizes");
        after(3, "sizes of all blobs");
        let request =
            ListBlobsRequest { repository: repository(), revisions: new, ..Default::default() };
        all(blobs.list_blobs(request).await).await.expect("sizes");
        after(5, "sizes of new blobs");
        let request = CommitRequest {
            commit_revision: push.first.clone(),
            parent_commit_revisions: Vec::new(),
        };
        let requests = vec![Request { r#type: Some(Type::CommitRequest(request)) }];
        let request =
            FindChangedPathsRequest { repository: repository(), requests, ..Default::default() };
        all(diffs.find_changed_paths(request).await).await.expect("paths");
        after(6, "changed paths");
    });
}

#[test]
fn who_leaves_takes_the_children_along() {
    let push = Push::begin();
    let pid = push.node.pid();
    // Far more than fits between git and a client that does not read.
    let noise = Random::new(7).bytes(24 << 20);
    let blob = push.git_with(View::Plain, &["hash-object", "-w", "--stdin"], &noise);
    run(async {
        let mut streams = Vec::new();
        for _ in 0..4 {
            // Answers that nobody reads would stop others on the same connection.
            let client = push.client().await;
            let mut blobs = BlobServiceClient::new(client).max_decoding_message_size(8 << 20);
            let request = ListBlobsRequest {
                repository: push.named(View::Pushed),
                revisions: vec![blob.clone()],
                bytes_limit: -1,
                ..ListBlobsRequest::default()
            };
            let mut stream = blobs.list_blobs(request).await.expect("blobs").into_inner();
            stream.message().await.expect("goes on").expect("a message");
            streams.push(stream);
        }
        assert!(!process::children(pid).is_empty(), "git waits for the client");
        drop(streams);
        let gone = move || process::children(pid).is_empty();
        let limit = Duration::from_secs(20);
        tokio::task::spawn_blocking(move || process::wait_until("no children", limit, gone))
            .await
            .expect("they are gone");
    });
}
