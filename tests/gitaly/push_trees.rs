//! What GitLab asks about the trees of a push, against git that sees the same objects.

use gitring_daemon::client::Client;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::get_tree_entries_request::SortBy;
use gitring_proto::gitaly::tree_entry::EntryType;
use gitring_proto::gitaly::{
    GetTreeEntriesRequest, GetTreeEntriesResponse, PaginationParameter, TreeEntry,
    TreeEntryRequest, TreeEntryResponse,
};
use gitring_tests::gitaly::{refusal, run};
use tonic::{Code, Status};

use super::quarantined::{Push, View, all};

async fn list(
    client: &Client,
    request: GetTreeEntriesRequest,
) -> Result<Vec<GetTreeEntriesResponse>, Status> {
    all(CommitServiceClient::new(client.clone()).get_tree_entries(request).await).await
}

fn entries(messages: Vec<GetTreeEntriesResponse>) -> Vec<TreeEntry> {
    messages.into_iter().flat_map(|message| message.entries).collect()
}

/// The entries as `git ls-tree` lists them, without flat paths.
fn listed(push: &Push, revision: &str, path: &str, recursive: bool) -> Vec<TreeEntry> {
    let path = if path == "." { "" } else { path };
    let mut words = vec!["ls-tree", "-z"];
    if recursive {
        words.extend(["-r", "-t"]);
    }
    let tree = format!("{revision}:{path}");
    words.push(&tree);
    let text = push.git(View::Pushed, &words);
    let entry = |line: &str| {
        let (head, name) = line.split_once('\t').expect("a path");
        let [mode, kind, id] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let root = path.trim_end_matches('/');
        let path = if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") };
        let kind = match kind {
            "tree" => EntryType::Tree,
            "blob" => EntryType::Blob,
            _ => EntryType::Commit,
        };
        TreeEntry {
            oid: id.to_owned(),
            path: path.into(),
            r#type: kind.into(),
            mode: i32::from_str_radix(mode, 8).expect("a mode"),
            commit_oid: revision.to_owned(),
            flat_path: Default::default(),
        }
    };
    text.split_terminator('\0').map(entry).collect()
}

#[test]
fn trees_are_gits() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let first = &*push.first;
        for (revision, path) in [
            (first, "."),
            (first, "run"),
            (first, "run/"),
            (first, "src"),
            ("main", "src/part1"),
            ("v1", "."),
        ] {
            for recursive in [false, true] {
                let request = GetTreeEntriesRequest {
                    repository: push.named(View::Pushed),
                    revision: revision.to_owned().into(),
                    path: path.to_owned().into(),
                    recursive,
                    skip_flat_paths: true,
                    ..GetTreeEntriesRequest::default()
                };
                let mut expected = listed(&push, revision, path, recursive);
                let found = list(&client, request.clone()).await.expect("entries");
                let cursor = found[0].pagination_cursor.clone().expect("a cursor");
                assert_eq!(cursor.next_cursor, "");
                assert_eq!(entries(found), expected, "{revision}:{path} {recursive}");
                let mut sorted = request.clone();
                sorted.set_sort(SortBy::TreesFirst);
                let rank = |entry: &TreeEntry| match entry.r#type() {
                    EntryType::Tree => 0,
                    EntryType::Blob => 1,
                    EntryType::Commit => 2,
                };
                expected.sort_by_key(rank);
                let found = list(&client, sorted.clone()).await.expect("entries");
                assert_eq!(entries(found), expected, "{revision}:{path}, trees first");
                sorted.set_sort(SortBy::Filesystem);
                expected.sort_by(|one, other| one.path.cmp(&other.path));
                let found = list(&client, sorted).await.expect("entries");
                assert_eq!(entries(found), expected, "{revision}:{path}, by path");
            }
        }
    });
}

#[test]
fn flat_paths_pass_directories_that_hold_one() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let request = |revision: &str, path: &str| GetTreeEntriesRequest {
            repository: push.named(View::Pushed),
            revision: revision.to_owned().into(),
            path: path.to_owned().into(),
            ..GetTreeEntriesRequest::default()
        };
        let flat = async |revision: &str, path: &str, name: &str| {
            let found = entries(list(&client, request(revision, path)).await.expect("entries"));
            let found = found.into_iter().find(|entry| entry.path == name.as_bytes());
            String::from_utf8_lossy(&found.expect(name).flat_path).into_owned()
        };
        assert_eq!(flat(&push.first, ".", "run").await, "run/me/now");
        assert_eq!(flat(&push.first, "run", "run/me").await, "run/me/now");
        assert_eq!(flat(&push.first, ".", "src").await, "src");
        assert_eq!(flat(&push.first, ".", "new.txt").await, "new.txt");
        assert_eq!(flat(&push.first, ".", "module").await, "module");
        // No more than ten levels.
        assert_eq!(flat("main", ".", "d0").await, "d0/d1/d2/d3/d4/d5/d6/d7/d8/d9");
    });
}

#[test]
fn pages_of_a_tree() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        for (sort, recursive) in [(SortBy::TreesFirst, false), (SortBy::Default, true)] {
            let request = |page_token: String, limit| {
                let mut request = GetTreeEntriesRequest {
                    repository: push.named(View::Pushed),
                    revision: push.first.clone().into(),
                    path: ".".into(),
                    recursive,
                    pagination_params: Some(PaginationParameter { page_token, limit }),
                    ..GetTreeEntriesRequest::default()
                };
                request.set_sort(sort);
                request
            };
            let whole = list(&client, request(String::new(), -1)).await.expect("entries");
            let whole = entries(whole);
            let (mut found, mut token) = (Vec::new(), String::new());
            loop {
                let page = list(&client, request(token, 4)).await.expect("a page");
                token = page[0].pagination_cursor.clone().expect("a cursor").next_cursor;
                found.extend(entries(page));
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(found, whole, "{sort:?}");
            assert!(list(&client, request(String::new(), 0)).await.expect("nothing").is_empty());
            let behind = list(&client, request(whole[1].oid.clone(), 1)).await.expect("a page");
            assert_eq!(entries(behind), whole[2..3]);
            let (code, text) = refusal(list(&client, request("nothing".to_owned(), 1)).await);
            let expected = "could not find starting OID: nothing";
            assert_eq!((code, &*text), (Code::Internal, expected));
        }
    });
}

#[test]
fn trees_that_are_not_there() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let check = async |revision: &str, path: &str, recursive, expected: Option<&str>| {
            let request = GetTreeEntriesRequest {
                repository: push.named(View::Pushed),
                revision: revision.to_owned().into(),
                path: path.to_owned().into(),
                recursive,
                ..GetTreeEntriesRequest::default()
            };
            let found = list(&client, request).await;
            let Some(text) = expected else {
                assert!(found.expect("no entry").is_empty(), "{revision}:{path}");
                return;
            };
            let found = found.expect_err("a refusal");
            let shown = (found.code(), found.message());
            assert_eq!(shown, (Code::InvalidArgument, text), "{revision}:{path}");
            let has_detail = text.starts_with("rev") && !text.contains("can't")
                || text == "empty path"
                || text == "invalid revision or path";
            assert_eq!(!found.details().is_empty(), has_detail, "{text}");
        };
        let unresolved = Some("invalid revision or path");
        for recursive in [false, true] {
            check("nothing", ".", recursive, unresolved).await;
            check("main", "nothing", recursive, unresolved).await;
            check("main", "./src", recursive, unresolved).await;
            check("main", "../src", recursive, unresolved).await;
            check("main", "x\0y", recursive, unresolved).await;
            check("main", "README\nx", recursive, unresolved).await;
            check("main", "", recursive, Some("empty path")).await;
            check("", ".", recursive, Some("empty revision")).await;
            check("a:b", ".", recursive, Some("revision can't contain ':'")).await;
        }
        check(&push.first, "new.txt", false, None).await;
        check(&push.first, "new.txt", true, Some("revision doesn't exist")).await;
        check(&push.first, "module", true, Some("revision doesn't exist")).await;
    });
}

#[test]
fn single_entries() {
    let push = Push::begin();
    run(async {
        let mut commits = CommitServiceClient::new(push.client().await);
        let mut ask = async |path: &str, limit: i64, max_size: i64| {
            let request = TreeEntryRequest {
                repository: push.named(View::Pushed),
                revision: push.first.clone().into(),
                path: path.to_owned().into(),
                limit,
                max_size,
            };
            let messages = all(commits.tree_entry(request).await).await?;
            let mut messages = messages.into_iter();
            let mut first = messages.next().expect("a message");
            for message in messages {
                let data = [&first.data[..], &message.data].concat();
                assert_eq!(
                    message,
                    TreeEntryResponse { data: message.data.clone(), ..Default::default() }
                );
                first.data = data.into();
            }
            Ok::<_, Status>(first)
        };
        for path in
            ["new.txt", "run/me/now/script", "run/me/", "empty", "big.bin", "module", "link"]
        {
            let found = ask(path, 0, 0).await.expect(path);
            let listed =
                push.git(View::Pushed, &["ls-tree", &push.first, path.trim_end_matches('/')]);
            let shown = format!(
                "{:06o} {} {}",
                found.mode,
                found.r#type().as_str_name().to_lowercase(),
                found.oid
            );
            assert_eq!(listed.split('\t').next(), Some(&*shown), "{path}");
            if path != "module" {
                let size = push.git(View::Pushed, &["cat-file", "-s", &found.oid]);
                assert_eq!(found.size.to_string(), size, "{path}");
            }
            if found.r#type().as_str_name() == "BLOB" {
                let id = push.git_with(View::Pushed, &["hash-object", "--stdin"], &found.data);
                assert_eq!(id, found.oid);
            }
        }
        assert_eq!(ask("big.bin", 200_000, 300_000).await.expect("a part").data.len(), 200_000);
        for (path, limit, max_size, code, text) in [
            ("nothing", 0, 0, Code::NotFound, "tree entry not found"),
            ("./new.txt", 0, 0, Code::NotFound, "tree entry not found"),
            ("", 0, 0, Code::InvalidArgument, "empty Path"),
            ("new.txt", -1, 0, Code::InvalidArgument, "negative Limit"),
            ("new.txt", 0, -1, Code::InvalidArgument, "negative MaxSize"),
            (
                "big.bin",
                0,
                299_999,
                Code::FailedPrecondition,
                "object size (300000) is bigger than the maximum allowed size (299999)",
            ),
        ] {
            let found = refusal(ask(path, limit, max_size).await);
            assert_eq!(found, (code, text.to_owned()), "{path}");
        }
    });
}
