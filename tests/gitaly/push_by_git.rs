//! The same questions about a repository that only git reads: SHA-256, with a mailmap.

use gitring_daemon::client::Client;
use gitring_proto::gitaly::Repository as Named;
use gitring_proto::gitaly::blob_service_client::BlobServiceClient;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::diff_service_client::DiffServiceClient;
use gitring_proto::gitaly::find_changed_paths_request::Request;
use gitring_proto::gitaly::find_changed_paths_request::request::{TreeRequest, Type};
use gitring_proto::gitaly::{
    CheckObjectsExistRequest, CommitIsAncestorRequest, FindChangedPathsRequest, FindCommitRequest,
    GetTreeEntriesRequest, GitCommit, ListAllCommitsRequest, ListBlobsRequest,
    ListCommitsByOidRequest, ListCommitsRequest, TreeEntryRequest,
};
use gitring_tests::git;
use gitring_tests::gitaly::{Door, connect, named, run};
use gitring_tests::node::Node;
use std::path::Path;
use tonic::codegen::tokio_stream;

use super::quarantined::all;

/// Where a push to it keeps a commit.
const QUARANTINE: &str = "objects/incoming-1";

/// The ids of two commits and of one that is being pushed.
fn create(path: &Path, storage: &Path) -> [String; 3] {
    let words = ["init", "-q", "--bare", "--object-format=sha256", "-b", "main"];
    git::run(storage, &[&words[..], &[&path.to_string_lossy()]].concat());
    let mailmap = b"A Very Much Longer Name <somebody@example.com> <author@example.com>\n";
    let blob = git::run_with(path, &["hash-object", "-w", "--stdin"], mailmap);
    let tree =
        git::run_with(path, &["mktree"], format!("100644 blob {blob}\t.mailmap\n").as_bytes());
    let empty = git::run_with(path, &["mktree"], b"");
    let first = git::run(path, &["commit-tree", "-m", "first", &empty]);
    let second = git::run(path, &["commit-tree", "-m", "second", "-p", &first, &tree]);
    git::run(path, &["update-ref", "refs/heads/main", &second]);
    std::fs::create_dir_all(path.join(QUARANTINE)).expect("a quarantine");
    let mut command = git::command(path);
    command.env("GIT_OBJECT_DIRECTORY", path.join(QUARANTINE));
    command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", path.join("objects"));
    let output = command.args(["commit-tree", "-m", "third", "-p", &second, &tree]).output();
    let third = String::from_utf8(output.expect("git runs").stdout).expect("an id");
    [first, second, third.trim().to_owned()]
}

#[test]
fn git_reads_what_is_not_read_in_process() {
    let node = Node::start();
    let path = node.storage().join("other.git");
    let [first, second, third] = create(&path, &node.storage());
    let mut repository = named("other.git");
    let one = repository.as_mut().expect("named");
    QUARANTINE.clone_into(&mut one.git_object_directory);
    one.git_alternate_object_directories.push("objects".to_owned());
    run(async {
        let client = connect(&node, Door::Mux, "").await;
        check_lists(&client, &repository, [&first, &second, &third]).await;
        check_single(&client, &repository, [&first, &third]).await;
        let blob = git::run(&path, &["rev-parse", "main:.mailmap"]);
        check_files(&client, &repository, [&first, &third, &blob]).await;
    });
}

/// Their ids. All are by somebody whom the mailmap renames.
fn ids(commits: impl IntoIterator<Item = GitCommit>) -> Vec<String> {
    let id = |commit: GitCommit| {
        let author = commit.author.unwrap_or_default();
        assert_eq!(author.name, "A Very Much Longer Name");
        assert_eq!(author.email, "somebody@example.com");
        commit.id
    };
    commits.into_iter().map(id).collect()
}

async fn check_lists(
    client: &Client,
    repository: &Option<Named>,
    [first, second, third]: [&str; 3],
) {
    let mut commits = CommitServiceClient::new(client.clone());
    let request = ListCommitsRequest {
        repository: repository.clone(),
        revisions: vec![third.to_owned()],
        ..ListCommitsRequest::default()
    };
    let found = all(commits.list_commits(request).await).await.expect("commits");
    let found = found.into_iter().flat_map(|message| message.commits);
    assert_eq!(ids(found), [third, second, first]);
    let request = ListAllCommitsRequest { repository: repository.clone(), pagination_params: None };
    let found = all(commits.list_all_commits(request).await).await.expect("commits");
    assert_eq!(ids(found.into_iter().flat_map(|message| message.commits)).len(), 3);
    let oid = vec![third.to_owned(), "nothing".to_owned(), "main".to_owned(), "\0".to_owned()];
    let request = ListCommitsByOidRequest { repository: repository.clone(), oid };
    let found = all(commits.list_commits_by_oid(request).await).await.expect("commits");
    let found = found.into_iter().flat_map(|message| message.commits);
    assert_eq!(ids(found), [third, second]);
}

async fn check_single(client: &Client, repository: &Option<Named>, [first, third]: [&str; 2]) {
    let mut commits = CommitServiceClient::new(client.clone());
    let request = FindCommitRequest {
        repository: repository.clone(),
        revision: third.to_owned().into(),
        trailers: false,
    };
    let found = commits.find_commit(request).await.expect("an answer").into_inner().commit;
    assert_eq!(ids(found), [third]);
    let revisions = [third, "main", "main:.mailmap", "nothing"];
    let request = CheckObjectsExistRequest {
        repository: repository.clone(),
        revisions: revisions.iter().map(|name| (*name).to_owned().into()).collect(),
    };
    let found = commits.check_objects_exist(tokio_stream::iter([request])).await;
    let found = all(found).await.expect("answers");
    let found: Vec<_> = found[0].revisions.iter().map(|one| one.exists).collect();
    assert_eq!(found, [true, true, true, false]);
    for (ancestor, child, expected) in [(first, third, true), (third, first, false)] {
        let request = CommitIsAncestorRequest {
            repository: repository.clone(),
            ancestor_id: ancestor.to_owned(),
            child_id: child.to_owned(),
        };
        let found = commits.commit_is_ancestor(request).await.expect("an answer");
        assert_eq!(found.into_inner().value, expected);
    }
}

async fn check_files(client: &Client, repository: &Option<Named>, [first, third, blob]: [&str; 3]) {
    let mut commits = CommitServiceClient::new(client.clone());
    let request = TreeEntryRequest {
        repository: repository.clone(),
        revision: third.to_owned().into(),
        path: ".mailmap".into(),
        ..TreeEntryRequest::default()
    };
    let found = all(commits.tree_entry(request).await).await.expect("a file");
    assert_eq!((&*found[0].oid, found[0].size as usize), (blob, found[0].data.len()));
    let request = GetTreeEntriesRequest {
        repository: repository.clone(),
        revision: third.to_owned().into(),
        path: ".".into(),
        ..GetTreeEntriesRequest::default()
    };
    let found = all(commits.get_tree_entries(request).await).await.expect("a tree");
    assert_eq!(found[0].entries[0].oid, blob);
    let mut blobs = BlobServiceClient::new(client.clone());
    let request = ListBlobsRequest {
        repository: repository.clone(),
        revisions: vec![third.to_owned()],
        bytes_limit: -1,
        ..ListBlobsRequest::default()
    };
    let found = all(blobs.list_blobs(request).await).await.expect("a blob");
    assert_eq!(found[0].blobs[0].oid, blob);
    let (left_tree_revision, right_tree_revision) = (first.to_owned(), third.to_owned());
    let request = TreeRequest { left_tree_revision, right_tree_revision };
    let requests = vec![Request { r#type: Some(Type::TreeRequest(request)) }];
    let request =
        FindChangedPathsRequest { repository: repository.clone(), requests, ..Default::default() };
    let found = all(DiffServiceClient::new(client.clone()).find_changed_paths(request).await).await;
    assert_eq!(found.expect("a path")[0].paths[0].new_blob_id, blob);
}
