//! What GitLab asks about the commits of a push, against git that sees the same objects.

use gitring_daemon::client::Client;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::list_commits_request::Order;
use gitring_proto::gitaly::{
    CheckObjectsExistRequest, FindCommitRequest, ListAllCommitsRequest, ListCommitsByOidRequest,
    ListCommitsRequest, ListCommitsResponse, PaginationParameter,
};
use gitring_tests::gitaly::{refusal, run};
use std::time::SystemTime;
use tonic::{Code, Status};

use super::quarantined::{Push, View, all, sorted};

async fn list(
    client: &Client,
    request: ListCommitsRequest,
) -> Result<Vec<ListCommitsResponse>, Status> {
    all(CommitServiceClient::new(client.clone()).list_commits(request).await).await
}

fn ids(messages: &[ListCommitsResponse]) -> Vec<String> {
    let commits = messages.iter().flat_map(|message| &message.commits);
    commits.map(|commit| commit.id.clone()).collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Compares a walk with `git rev-list words`.
async fn check_walk(push: &Push, view: View, request: ListCommitsRequest, words: &[&str]) {
    let client = push.client().await;
    let request = ListCommitsRequest { repository: push.named(view), ..request };
    let messages =
        list(&client, request).await.unwrap_or_else(|status| panic!("{words:?}: {status}"));
    let expected = push.git(view, &[&["rev-list"], words].concat());
    let expected: Vec<_> = expected.lines().map(str::to_owned).collect();
    assert_eq!(ids(&messages), expected, "{view:?} {words:?}");
    let cursor = messages.first().and_then(|first| first.pagination_cursor.clone());
    let last = expected.last().cloned();
    assert_eq!(cursor.map(|cursor| cursor.next_cursor), last, "{words:?}");
}

#[test]
fn walks_are_gits() {
    let push = Push::begin();
    let (first, merge) = (&*push.first, &*push.merge);
    let request = |revisions: &[&str]| ListCommitsRequest {
        revisions: owned(revisions),
        ..ListCommitsRequest::default()
    };
    run(async {
        check_walk(&push, View::Plain, request(&["main"]), &["main"]).await;
        check_walk(&push, View::Plain, request(&["--all"]), &["--all"]).await;
        check_walk(&push, View::Pushed, request(&[merge, "^main"]), &[merge, "^main"]).await;
        let new = [merge, "--not", "--all"];
        check_walk(&push, View::Pushed, request(&new), &new).await;
        let new = ["--not", "--branches", "^orphan", "--not", merge];
        check_walk(&push, View::Pushed, request(&new), &[merge, "orphan", "--not", "--branches"])
            .await;
        let glob = ["--glob=refs/heads/many/*", "v0..v1"];
        check_walk(&push, View::Plain, request(&glob), &glob).await;
        let orders = [(Order::Topo, "--topo-order"), (Order::Date, "--date-order")];
        for (order, word) in orders {
            let mut request = request(&[merge]);
            request.set_order(order);
            check_walk(&push, View::Pushed, request, &[word, merge]).await;
        }
        let mut more = request(&[merge]);
        (more.max_parents, more.first_parent, more.reverse) = (1, true, true);
        let words = ["--max-parents=1", "--first-parent", "--reverse", merge];
        check_walk(&push, View::Pushed, more, &words).await;
        let mut more = request(&[merge, first]);
        more.disable_walk = true;
        check_walk(&push, View::Pushed, more, &["--no-walk", merge, first]).await;
        let mut more = request(&["main"]);
        (more.skip, more.paths) = (1, vec!["README".into(), "docs".into()]);
        check_walk(&push, View::Plain, more, &["--skip=1", "main", "--", "README", "docs"]).await;
        let mut more = request(&["--all"]);
        more.commit_message_patterns = vec!["^COMMIT 1".into(), "2$".into()];
        (more.ignore_case, more.author) = (true, "a u".into());
        let words = ["-i", "--grep=^COMMIT 1", "--grep=2$", "--author=a u", "--all"];
        check_walk(&push, View::Plain, more, &words).await;
        let time: i64 =
            push.git(View::Plain, &["log", "-1", "--format=%ct", "main~9"]).parse().unwrap();
        let mut more = request(&["main"]);
        more.after = Some(SystemTime::UNIX_EPOCH.into());
        more.before = Some(SystemTime::UNIX_EPOCH.into());
        more.before.as_mut().unwrap().seconds = time;
        let before = format!("--before=@{time} +0000");
        check_walk(&push, View::Plain, more.clone(), &[&before, "main"]).await;
        more.after.as_mut().unwrap().seconds = time - 1;
        let words = [&*format!("--after=@{} +0000", time - 1), &before, "main"];
        check_walk(&push, View::Plain, more, &words).await;
    });
}

#[test]
fn walks_that_are_refused_or_fail() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let check = async |view, revisions: &[&str], code: Code, text: &str| {
            let revisions = owned(revisions);
            let (repository, shown) = (push.named(view), format!("{revisions:?}"));
            let request = ListCommitsRequest { repository, revisions, ..Default::default() };
            let found = list(&client, request).await.expect_err("a refusal");
            assert_eq!((found.code(), found.message()), (code, text), "{shown}");
        };
        let invalid = Code::InvalidArgument;
        check(View::Plain, &[], invalid, "missing revisions").await;
        check(View::Plain, &["main", ""], invalid, "invalid revision: empty revision").await;
        let dash = "invalid revision: revision can't start with '-'";
        check(View::Plain, &["--stdin"], invalid, dash).await;
        check(View::Plain, &["-n1"], invalid, dash).await;
        let colon = "invalid revision: revision can't contain ':'";
        check(View::Plain, &["main:README"], invalid, colon).await;
        let bad = format!("fatal: bad object {}\\n", push.first);
        let died = "iterating objects: rev-list pipeline command: exit status 128, stderr:";
        check(View::Plain, &[&push.first], Code::Internal, &format!("{died} \"{bad}\"")).await;
    });
}

#[test]
fn pages_of_commits() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let expected = push.git(View::Pushed, &["rev-list", &push.merge]);
        let expected: Vec<_> = expected.lines().map(str::to_owned).collect();
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListCommitsRequest {
                repository: push.named(View::Pushed),
                revisions: vec![push.merge.clone()],
                pagination_params: Some(PaginationParameter { page_token, limit: 30 }),
                ..ListCommitsRequest::default()
            };
            let messages = list(&client, request).await.expect("a page");
            let Some(first) = messages.first() else { break };
            assert!(ids(&messages).len() <= 30);
            page_token = first.pagination_cursor.clone().expect("a cursor").next_cursor;
            found.extend(ids(&messages));
        }
        assert_eq!(found, expected);
    });
}

#[test]
fn commits_that_exist_and_commits_by_id() {
    let push = Push::begin();
    run(async {
        let mut commits = CommitServiceClient::new(push.client().await);
        for view in [View::Plain, View::Pushed, View::Alone] {
            let request =
                ListAllCommitsRequest { repository: push.named(view), ..Default::default() };
            let messages = all(commits.list_all_commits(request).await).await.expect("commits");
            let mut found: Vec<_> = messages
                .into_iter()
                .flat_map(|message| message.commits)
                .map(|one| one.id)
                .collect();
            found.sort_unstable();
            let format = "--batch-check=%(objecttype) %(objectname)";
            let listed = push.git(view, &["cat-file", "--batch-all-objects", format]);
            let expected: Vec<_> =
                listed.lines().filter_map(|line| line.strip_prefix("commit ")).collect();
            assert_eq!(found, expected, "{view:?}");
            if view == View::Alone {
                assert_eq!(found.len(), 2);
            }
            let oid = owned(&[&push.first, "nothing", "main", &"1".repeat(40), "a\0contents main"]);
            let request = ListCommitsByOidRequest { repository: push.named(view), oid };
            let messages = all(commits.list_commits_by_oid(request).await).await.expect("commits");
            let found: Vec<_> = messages
                .into_iter()
                .flat_map(|message| message.commits)
                .map(|one| one.id)
                .collect();
            let main = push.repository.id("main");
            let expected = match view {
                View::Plain => vec![main],
                View::Pushed => vec![push.first.clone(), main],
                View::Alone => vec![push.first.clone()],
            };
            assert_eq!(found, expected, "{view:?}");
            let request = FindCommitRequest {
                repository: push.named(view),
                revision: push.first.clone().into(),
                trailers: false,
            };
            let found = commits.find_commit(request).await.expect("an answer").into_inner().commit;
            assert_eq!(
                found.map(|commit| commit.id),
                (view != View::Plain).then(|| push.first.clone())
            );
        }
    });
}

#[test]
fn pages_of_all_commits() {
    let push = Push::begin();
    run(async {
        let mut commits = CommitServiceClient::new(push.client().await);
        let page = |page_token: &str, limit| ListAllCommitsRequest {
            repository: push.named(View::Pushed),
            pagination_params: Some(PaginationParameter {
                page_token: page_token.to_owned(),
                limit,
            }),
        };
        let mut seen: Vec<String> = Vec::new();
        loop {
            let token = seen.last().cloned().unwrap_or_default();
            let messages =
                all(commits.list_all_commits(page(&token, 40)).await).await.expect("a page");
            let found = messages.into_iter().flat_map(|message| message.commits);
            let before = seen.len();
            seen.extend(found.map(|commit| commit.id));
            if seen.len() == before {
                break;
            }
        }
        let expected = push.git(View::Pushed, &["rev-list", "--all", &push.merge]);
        seen.sort_unstable();
        assert_eq!(seen, sorted(&expected));
    });
}

#[test]
fn objects_that_exist() {
    let push = Push::begin();
    run(async {
        let mut commits = CommitServiceClient::new(push.client().await);
        let tree = format!("{}^{{tree}}", push.merge);
        let names = [
            &push.first,
            &push.merge,
            &tree,
            "main",
            "refs/heads/nothing",
            "main~500",
            "main:README",
            "main:docs/README",
            "main:no\nsuch",
            "v0^{tree}",
            &"1".repeat(40),
            "main@{0}",
        ];
        let revisions: Vec<_> = names.iter().map(|name| (*name).to_owned().into()).collect();
        for view in [View::Plain, View::Pushed, View::Alone] {
            let request = CheckObjectsExistRequest {
                repository: push.named(view),
                revisions: revisions.clone(),
            };
            // The repository counts in the first message alone.
            let more = CheckObjectsExistRequest { repository: None, ..request.clone() };
            let messages = stream_of(vec![request, more]);
            let messages = all(commits.check_objects_exist(messages).await).await.expect("answers");
            let found = messages.iter().flat_map(|message| &message.revisions);
            let found: Vec<_> = found.map(|one| (one.name.clone(), one.exists)).collect();
            let exists = |name: &&str| {
                let words = ["cat-file", "--batch-check"];
                !name.contains('\n')
                    && !push.git_with(view, &words, name.as_bytes()).ends_with(" missing")
            };
            let expected = names.iter().map(|name| ((*name).to_owned().into(), exists(name)));
            let expected: Vec<_> = expected.collect();
            assert_eq!(found, [&expected[..], &expected].concat(), "{view:?}");
        }
        let check = async |revision: &str, text: &str| {
            let request = CheckObjectsExistRequest {
                repository: push.named(View::Plain),
                revisions: vec!["main".into(), revision.to_owned().into()],
            };
            let mut commits = commits.clone();
            let found = all(commits.check_objects_exist(stream_of(vec![request])).await).await;
            let text = format!("invalid revision: {text}");
            assert_eq!(refusal(found), (Code::InvalidArgument, text), "{revision:?}");
        };
        check("", "empty revision").await;
        check("--all", "revision can't start with '-'").await;
        check("a b", "revision can't contain whitespace").await;
        check("a\0", "revision can't contain NUL").await;
        let nobody = all(commits.check_objects_exist(stream_of(vec![])).await).await;
        assert_eq!(refusal(nobody), (Code::Internal, "EOF".to_owned()));
    });
}

fn stream_of<M: Send + 'static>(
    messages: Vec<M>,
) -> impl tonic::codegen::tokio_stream::Stream<Item = M> + Send + 'static {
    tonic::codegen::tokio_stream::iter(messages)
}
