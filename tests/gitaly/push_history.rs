//! How the commits of a push hang together, against git that sees the same objects.

use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::{
    CommitIsAncestorRequest, CountCommitsRequest, FindMergeBaseRequest, GlobalOptions,
};
use gitring_tests::gitaly::{refusal, run};
use tonic::Code;

use super::quarantined::{Push, View};

#[test]
fn how_commits_hang_together() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let mut commits = CommitServiceClient::new(client.clone());
        let mut repositories = RepositoryServiceClient::new(client);
        let names = [&*push.first, &push.merge, "main", "main~3", "orphan", "v9", "nothing"];
        for view in [View::Plain, View::Pushed] {
            for ancestor in names {
                for child in names {
                    let request = CommitIsAncestorRequest {
                        repository: push.named(view),
                        ancestor_id: ancestor.to_owned(),
                        child_id: child.to_owned(),
                    };
                    let found = commits.commit_is_ancestor(request).await.expect("an answer");
                    let words = ["merge-base", "--is-ancestor", ancestor, child];
                    let expected = succeeds(&push, view, &words);
                    assert_eq!(found.into_inner().value, expected, "{view:?} {ancestor} {child}");
                    let revisions = vec![ancestor.to_owned().into(), child.to_owned().into()];
                    let request = FindMergeBaseRequest { repository: push.named(view), revisions };
                    let found = repositories.find_merge_base(request).await.expect("an answer");
                    let words = ["merge-base", ancestor, child];
                    let expected = if succeeds(&push, view, &words) {
                        push.git(view, &words)
                    } else {
                        String::new()
                    };
                    assert_eq!(found.into_inner().base, expected, "{view:?} {ancestor} {child}");
                }
            }
        }
        let request = |ancestor: &str, child: &str| CommitIsAncestorRequest {
            repository: push.named(View::Plain),
            ancestor_id: ancestor.to_owned(),
            child_id: child.to_owned(),
        };
        for (ancestor, child, code, text) in [
            ("", "main", Code::InvalidArgument, "empty ancestor sha"),
            ("main", "", Code::InvalidArgument, "empty child sha"),
        ] {
            let found = refusal(commits.commit_is_ancestor(request(ancestor, child)).await);
            assert_eq!(found, (code, text.to_owned()));
        }
        let found = refusal(commits.commit_is_ancestor(request("--all", "main")).await);
        assert_eq!(found.0, Code::Internal);
        let revisions = vec!["main".into()];
        let request = FindMergeBaseRequest { repository: push.named(View::Plain), revisions };
        let found = refusal(repositories.find_merge_base(request).await);
        let text = "at least 2 revisions are required".to_owned();
        assert_eq!(found, (Code::InvalidArgument, text));
    });
}

fn succeeds(push: &Push, view: View, words: &[&str]) -> bool {
    let line = format!("git {} >/dev/null 2>&1 && echo yes || echo no", words.join(" "));
    push.git(view, &["-c", &format!("alias.tried=!{line}"), "tried"]) == "yes"
}

#[test]
fn commits_are_counted() {
    let push = Push::begin();
    run(async {
        let mut commits = CommitServiceClient::new(push.client().await);
        let mut check = async |view, request: CountCommitsRequest, words: &[&str]| {
            let request = CountCommitsRequest { repository: push.named(view), ..request };
            let found = commits.count_commits(request).await.expect("a number").into_inner().count;
            let expected = match words {
                [] => "0".to_owned(),
                words => push.git(view, &[&["rev-list", "--count"], words].concat()),
            };
            assert_eq!(found.to_string(), expected, "{view:?} {words:?}");
        };
        let of = |revision: &str| CountCommitsRequest {
            revision: revision.to_owned().into(),
            ..CountCommitsRequest::default()
        };
        let merge = &*push.merge;
        check(View::Plain, of("main"), &["main"]).await;
        check(View::Pushed, of(merge), &[merge]).await;
        check(View::Plain, of(merge), &[]).await;
        check(View::Plain, of("v0..v1"), &["v0..v1"]).await;
        check(View::Plain, CountCommitsRequest { all: true, ..of("") }, &["--all"]).await;
        let revisions = vec![merge.to_owned().into(), "--not".into(), "--all".into()];
        let both = CountCommitsRequest { revisions, ..of("ignored") };
        check(View::Pushed, both, &[merge, "--not", "--all"]).await;
        let some = CountCommitsRequest { max_count: 5, first_parent: true, ..of("main") };
        check(View::Plain, some, &["--max-count=5", "--first-parent", "main"]).await;
        let path = CountCommitsRequest { path: "src".into(), ..of("main") };
        check(View::Plain, path, &["main", "--", "src"]).await;
        let globs = CountCommitsRequest { path: "s*".into(), ..of("main") };
        check(View::Plain, globs.clone(), &["main", "--", "s*"]).await;
        let global_options = Some(GlobalOptions { literal_pathspecs: true });
        check(View::Plain, CountCommitsRequest { global_options, ..globs }, &[]).await;
        for (request, text) in [
            (of(""), "empty Revision and false All"),
            (of("-a"), "revision can't start with '-'"),
            (
                CountCommitsRequest { revisions: vec!["".into()], ..of("") },
                "invalid revision: empty revision",
            ),
        ] {
            let request = CountCommitsRequest { repository: push.named(View::Plain), ..request };
            let found = refusal(commits.count_commits(request).await);
            assert_eq!(found, (Code::InvalidArgument, text.to_owned()));
        }
    });
}
