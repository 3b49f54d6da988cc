//! Which paths a push changes, against git that sees the same objects; and object directories that
//! are nobody's business.

use std::os::unix::fs::symlink;

use gitring_proto::gitaly::changed_paths::Status as Change;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::diff_service_client::DiffServiceClient;
use gitring_proto::gitaly::find_changed_paths_request::request::{
    CommitRequest, TreeRequest, Type,
};
use gitring_proto::gitaly::find_changed_paths_request::{DiffStatus, MergeCommitDiffMode, Request};
use gitring_proto::gitaly::{
    ChangedPaths, CommitIsAncestorRequest, FindChangedPathsRequest, ListAllCommitsRequest,
};
use gitring_tests::gitaly::{Door, connect, refusal, run};
use gitring_tests::repository::{Kind, Repository};
use tonic::Code;

use super::node_with_varied;
use super::quarantined::{Push, QUARANTINE, View, all};

fn commit(revision: &str, parents: &[&str]) -> Request {
    let parent_commit_revisions = parents.iter().map(|parent| (*parent).to_owned()).collect();
    let commit_revision = revision.to_owned();
    let request = CommitRequest { commit_revision, parent_commit_revisions };
    Request { r#type: Some(Type::CommitRequest(request)) }
}

fn trees(left: &str, right: &str) -> Request {
    let (left_tree_revision, right_tree_revision) = (left.to_owned(), right.to_owned());
    let request = TreeRequest { left_tree_revision, right_tree_revision };
    Request { r#type: Some(Type::TreeRequest(request)) }
}

/// A path as `git diff-tree --raw` shows it.
fn shown(path: &ChangedPaths) -> String {
    let letter = match path.status() {
        Change::Added => "A".to_owned(),
        Change::Modified => "M".to_owned(),
        Change::Deleted => "D".to_owned(),
        Change::TypeChange => "T".to_owned(),
        Change::Copied => format!("C{:03}", path.score),
        Change::Renamed => format!("R{:03}", path.score),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let old = if path.old_path.is_empty() { String::new() } else { text(&path.old_path) + "\0" };
    let ChangedPaths { old_mode, new_mode, old_blob_id, new_blob_id, .. } = path;
    let path = text(&path.path);
    format!(":{old_mode:06o} {new_mode:06o} {old_blob_id} {new_blob_id} {letter}\0{old}{path}\0")
}

#[test]
fn changed_paths_are_gits() {
    let push = Push::begin();
    run(async {
        let mut diffs = DiffServiceClient::new(push.client().await);
        let mut check = async |request: FindChangedPathsRequest, words: &[&str]| {
            let request =
                FindChangedPathsRequest { repository: push.named(View::Pushed), ..request };
            let messages = all(diffs.find_changed_paths(request).await).await.expect("paths");
            let found: Vec<_> = messages.into_iter().flat_map(|message| message.paths).collect();
            let words = [&["diff-tree", "-r", "-z", "--no-commit-id", "--root"], words].concat();
            let expected = push.git(View::Pushed, &words);
            assert_eq!(found.iter().map(shown).collect::<String>(), expected, "{words:?}");
            found
        };
        let (first, merge) = (&*push.first, &*push.merge);
        let of = |requests: &[Request]| FindChangedPathsRequest {
            requests: requests.to_vec(),
            ..FindChangedPathsRequest::default()
        };
        let found = check(of(&[commit(first, &[])]), &["--no-renames", first]).await;
        assert!(found.len() == 9 && found.iter().all(|path| path.commit_id == first), "{found:?}");
        check(of(&[commit("orphan", &[])]), &["--no-renames", "orphan"]).await;
        check(of(&[commit(merge, &[])]), &["--no-renames", "-m", merge]).await;
        check(of(&[commit(merge, &["main"])]), &["--no-renames", "main", merge]).await;
        let found = check(of(&[trees("v0", first)]), &["--no-renames", "v0", first]).await;
        assert!(found.iter().all(|path| path.commit_id.is_empty()));
        let renames = FindChangedPathsRequest { find_renames: true, ..of(&[trees("v0", "v1")]) };
        let found = check(renames, &["--find-renames=30%", "v0", "v1"]).await;
        assert!(found.iter().any(|path| path.status() == Change::Renamed), "{found:?}");
        let mut some = of(&[trees("v0", "v1")]);
        some.diff_filters = vec![DiffStatus::Added.into(), DiffStatus::Deleted.into(), 1];
        check(some, &["--no-renames", "--diff-filter=AD", "v0", "v1"]).await;
        #[expect(deprecated, reason = "old clients name commits so")]
        let old = FindChangedPathsRequest { commits: vec![first.to_owned()], ..of(&[]) };
        check(old, &["--no-renames", first]).await;
        // As git shows a merge that differs from all its parents: one row for all of them.
        let mut every = of(&[commit("main", &[]), commit(first, &[])]);
        every.set_merge_commit_diff_mode(MergeCommitDiffMode::AllParents);
        every.repository = push.named(View::Pushed);
        let messages = all(diffs.find_changed_paths(every).await).await.expect("paths");
        let found: Vec<_> = messages.into_iter().flat_map(|message| message.paths).collect();
        let main = push.repository.id("main");
        let sides = found.iter().filter(|path| path.commit_id == main).count();
        let rows = push.git(View::Plain, &["diff-tree", "-r", "-c", "--no-commit-id", "main"]);
        let sides_of_row = |row: &str| row.len() - row.trim_start_matches(':').len();
        assert_eq!(sides, rows.lines().map(sides_of_row).sum::<usize>());
        assert_eq!(found.len() - sides, 9);
    });
}

#[test]
fn comparisons_that_are_refused() {
    let push = Push::begin();
    run(async {
        let mut diffs = DiffServiceClient::new(push.client().await);
        let mut check = async |request: FindChangedPathsRequest, code: Code, text: &str| {
            let request =
                FindChangedPathsRequest { repository: push.named(View::Plain), ..request };
            let found = refusal(all(diffs.find_changed_paths(request).await).await);
            assert_eq!(found, (code, text.to_owned()));
        };
        let of = |requests: &[Request]| FindChangedPathsRequest {
            requests: requests.to_vec(),
            ..FindChangedPathsRequest::default()
        };
        #[expect(deprecated, reason = "old clients name commits so")]
        let both =
            FindChangedPathsRequest { commits: vec!["main".into()], ..of(&[commit("main", &[])]) };
        let text = "cannot specify both commits and requests";
        check(both, Code::InvalidArgument, text).await;
        let text = "resolving commit: revision cannot be empty";
        check(of(&[commit("main", &[]), commit("", &[])]), Code::InvalidArgument, text).await;
        let text = "resolving commit parent: revision can not be found: \"nothing\"";
        check(of(&[commit("main", &["nothing"])]), Code::NotFound, text).await;
        let text = "resolving commit: revision can not be found: \"main:README\"";
        check(of(&[commit("main:README", &[])]), Code::NotFound, text).await;
        let text = "resolving left tree: revision can not be found: \"a\\nb\"";
        check(of(&[trees("a\nb", "main")]), Code::NotFound, text).await;
        let text = format!("resolving right tree: revision can not be found: \"{}\"", push.first);
        check(of(&[trees("main", &push.first)]), Code::NotFound, &text).await;
        let mut filtered = of(&[commit("main", &[])]);
        filtered.diff_filters = vec![7];
        check(filtered, Code::InvalidArgument, "invalid diff filter requested").await;
    });
}

#[test]
fn object_directories_of_others_are_refused() {
    let push = Push::begin();
    let other = Repository::create(&push.node.storage(), "other", Kind::Varied);
    let secret = other.git(&["commit-tree", "-m", "secret", "main^{tree}"]);
    let objects = push.repository.path.join("objects");
    symlink(other.path.join("objects"), objects.join("tmp_objdir-incoming-out")).expect("a link");
    run(async {
        let mut commits = CommitServiceClient::new(push.client().await);
        let mut check = async |own: &str, alternates: &[&str], code: Code, text: &str| {
            let mut repository = push.named(View::Plain);
            let named = repository.as_mut().expect("named");
            own.clone_into(&mut named.git_object_directory);
            named.git_alternate_object_directories =
                alternates.iter().map(|path| (*path).to_owned()).collect();
            let request = ListAllCommitsRequest {
                repository: repository.clone(),
                ..ListAllCommitsRequest::default()
            };
            let found = refusal(all(commits.list_all_commits(request).await).await);
            assert_eq!(found, (code, text.to_owned()));
            // The same for what is read in process.
            let (ancestor_id, child_id) = (secret.clone(), secret.clone());
            let request = CommitIsAncestorRequest { repository, ancestor_id, child_id };
            let found = refusal(commits.commit_is_ancestor(request).await);
            assert_eq!(found, (code, text.to_owned()));
        };
        let outside =
            |path: &str| format!("object directory does not belong to the repository: {path:?}");
        let invalid = Code::InvalidArgument;
        for path in [
            "../other.git/objects",
            "objects/../../other.git/objects",
            "objects/../objects",
            "objects/tmp_objdir-incoming-out",
            ".",
        ] {
            check(path, &["objects"], invalid, &outside(path)).await;
        }
        for path in ["../other.git/objects", "objects/tmp_objdir-incoming-out", ".."] {
            check(QUARANTINE, &["objects", path], invalid, &outside(path)).await;
        }
        let absolute = objects.to_string_lossy().into_owned();
        let text = format!("object directory is absolute: {absolute:?}");
        check(&absolute, &[], invalid, &text).await;
        check("", &[&absolute], invalid, &text).await;
        let gone = "objects/tmp_objdir-incoming-gone";
        let text = format!("object directory does not exist: {gone:?}");
        check(gone, &["objects"], Code::NotFound, &text).await;
        check("objects\0", &[], invalid, "object directory is no path: \"objects\\0\"").await;
    });
}

#[test]
fn repositories_that_are_not_there() {
    let (node, _) = node_with_varied("");
    run(async {
        let client = connect(&node, Door::Tcp, "").await;
        let mut commits = CommitServiceClient::new(client.clone());
        let mut diffs = DiffServiceClient::new(client);
        let repository = gitring_tests::gitaly::named("nothing.git");
        let request =
            ListAllCommitsRequest { repository: repository.clone(), pagination_params: None };
        let found = refusal(all(commits.list_all_commits(request).await).await);
        let expected = (Code::NotFound, "repository not found".to_owned());
        assert_eq!(found, expected);
        let request = FindChangedPathsRequest { repository, ..Default::default() };
        assert_eq!(refusal(all(diffs.find_changed_paths(request).await).await), expected);
    });
}
