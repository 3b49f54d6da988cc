//! What GitLab asks about the files of a push, against git that sees the same objects.

use gitring_proto::gitaly::blob_service_client::BlobServiceClient;
use gitring_proto::gitaly::get_blobs_request::RevisionPath;
use gitring_proto::gitaly::{
    GetBlobsRequest, GetBlobsResponse, LfsPointer, ListAllBlobsRequest, ListAllLfsPointersRequest,
    ListBlobsRequest, ListLfsPointersRequest, ObjectType, list_blobs_response,
};
use gitring_tests::gitaly::{refusal, run};
use tonic::Code;

use super::quarantined::{Push, View, all};

/// What a blob's parts came to: id, size, content, path.
type Whole = (String, i64, Vec<u8>, Vec<u8>);

/// Puts parts together: only the first of a blob has an id.
fn whole(parts: impl IntoIterator<Item = list_blobs_response::Blob>) -> Vec<Whole> {
    let mut blobs: Vec<Whole> = Vec::new();
    for part in parts {
        if part.oid.is_empty() {
            blobs.last_mut().expect("a part has a beginning").2.extend_from_slice(&part.data);
        } else {
            blobs.push((part.oid, part.size, part.data.to_vec(), part.path.to_vec()));
        }
    }
    blobs
}

/// The blobs that a walk by git comes by: ids and paths.
fn walked(push: &Push, view: View, revisions: &[&str]) -> Vec<(String, String)> {
    let words = ["rev-list", "--in-commit-order", "--objects", "--filter=object:type=blob"];
    let words = [&words[..], &["--filter-provided-objects"], revisions].concat();
    let listed = push.git(view, &words);
    let split =
        |line: &str| line.split_once(' ').map(|(id, path)| (id.to_owned(), path.to_owned()));
    listed.lines().map(|line| split(line).unwrap_or((line.to_owned(), String::new()))).collect()
}

#[test]
fn blobs_are_listed_as_git_walks() {
    let push = Push::begin();
    run(async {
        let client = push.client().await;
        let check = async |view, revisions: &[&str], limit: u32, bytes_limit: i64| {
            let request = ListBlobsRequest {
                repository: push.named(view),
                revisions: revisions.iter().map(|revision| (*revision).to_owned()).collect(),
                limit,
                bytes_limit,
                with_paths: bytes_limit != 0,
            };
            let mut blobs =
                BlobServiceClient::new(client.clone()).max_decoding_message_size(8 << 20);
            let messages = all(blobs.list_blobs(request).await).await.expect("blobs");
            let found = whole(messages.into_iter().flat_map(|message| message.blobs));
            let mut expected = walked(&push, view, revisions);
            if limit > 0 {
                expected.truncate(limit as usize);
            }
            assert_eq!(found.len(), expected.len(), "{view:?} {revisions:?}");
            for ((id, size, data, path), (expected_id, expected_path)) in found.iter().zip(expected)
            {
                assert_eq!(*id, expected_id, "{revisions:?}");
                let expected_size = push.git(view, &["cat-file", "-s", id]);
                assert_eq!(size.to_string(), expected_size, "{id}");
                let length = usize::try_from(bytes_limit).unwrap_or(usize::MAX).min(*size as usize);
                assert_eq!(data.len(), length, "{id}");
                if bytes_limit < 0 {
                    let written = push.git_with(view, &["hash-object", "--stdin"], data);
                    assert_eq!(written, *id);
                }
                let path = String::from_utf8_lossy(path);
                assert_eq!(path, if bytes_limit == 0 { "" } else { &*expected_path }, "{id}");
            }
        };
        let merge = &*push.merge;
        let new = [merge, "--not", "--all"];
        for bytes_limit in [-1, 0, 7] {
            check(View::Pushed, &new, 0, bytes_limit).await;
            check(View::Pushed, &[merge], 3, bytes_limit).await;
        }
        check(View::Plain, &["main", "^v1"], 0, 0).await;
        check(View::Plain, &["main:src", "--branches=topic/*"], 0, 1).await;
        check(View::Plain, &["main", "^main"], 0, -1).await;
        for (revisions, text) in [
            (vec![], "missing revisions"),
            (vec!["--x".to_owned()], "invalid revision: revision can't start with '-'"),
            (vec![":x".to_owned()], "invalid revision: empty revision"),
        ] {
            let repository = push.named(View::Plain);
            let mut blobs = BlobServiceClient::new(client.clone());
            let request = ListBlobsRequest {
                repository: repository.clone(),
                revisions: revisions.clone(),
                ..Default::default()
            };
            let found = refusal(all(blobs.list_blobs(request).await).await);
            assert_eq!(found, (Code::InvalidArgument, text.to_owned()));
            let request = ListLfsPointersRequest { repository, revisions, limit: 0 };
            let found = refusal(all(blobs.list_lfs_pointers(request).await).await);
            assert_eq!(found, (Code::InvalidArgument, text.to_owned()));
        }
    });
}

#[test]
fn all_blobs_are_those_that_exist() {
    let push = Push::begin();
    run(async {
        let mut blobs =
            BlobServiceClient::new(push.client().await).max_decoding_message_size(8 << 20);
        for view in [View::Plain, View::Pushed, View::Alone] {
            let format = "--batch-check=%(objecttype) %(objectname) %(objectsize)";
            let listed = push.git(view, &["cat-file", "--batch-all-objects", format]);
            let expected: Vec<_> =
                listed.lines().filter_map(|line| line.strip_prefix("blob ")).collect();
            for bytes_limit in [0, -1] {
                let request =
                    ListAllBlobsRequest { repository: push.named(view), limit: 0, bytes_limit };
                let messages = all(blobs.list_all_blobs(request).await).await.expect("blobs");
                let parts = messages.into_iter().flat_map(|message| message.blobs);
                let parts = parts.map(|part| list_blobs_response::Blob {
                    oid: part.oid,
                    size: part.size,
                    data: part.data,
                    path: Default::default(),
                });
                let mut found = Vec::new();
                for (id, size, data, _) in whole(parts) {
                    assert_eq!(data.len() as i64, if bytes_limit == 0 { 0 } else { size }, "{id}");
                    found.push(format!("{id} {size}"));
                }
                found.sort_unstable();
                assert_eq!(found, expected, "{view:?}");
            }
            let request =
                ListAllBlobsRequest { repository: push.named(view), limit: 2, bytes_limit: 1 };
            let messages = all(blobs.list_all_blobs(request).await).await.expect("blobs");
            assert_eq!(messages.iter().flat_map(|message| &message.blobs).count(), 2);
        }
    });
}

#[test]
fn pointers_of_lfs() {
    let push = Push::begin();
    run(async {
        let mut blobs = BlobServiceClient::new(push.client().await);
        let tree = format!("{}:lfs.bin", push.first);
        let content = push.git(View::Pushed, &["cat-file", "blob", &tree]) + "\n";
        let expected = LfsPointer {
            size: content.len() as i64,
            data: content.into(),
            oid: push.git(View::Pushed, &["rev-parse", &tree]),
            file_size: 12_345,
            file_oid: "0123456789abcdef".repeat(4).into(),
        };
        for (view, revisions, limit, is_found) in [
            (View::Pushed, vec![push.merge.clone()], 0, true),
            (
                View::Pushed,
                vec![push.merge.clone(), "--not".to_owned(), "--all".to_owned()],
                1,
                true,
            ),
            (View::Pushed, vec!["main".to_owned()], -1, false),
        ] {
            let repository = push.named(view);
            let request = ListLfsPointersRequest { repository, revisions, limit };
            let messages = all(blobs.list_lfs_pointers(request).await).await.expect("pointers");
            let found: Vec<_> =
                messages.into_iter().flat_map(|message| message.lfs_pointers).collect();
            assert_eq!(found, if is_found { vec![expected.clone()] } else { vec![] });
        }
        for (view, is_found) in [(View::Plain, false), (View::Pushed, true), (View::Alone, true)] {
            let request = ListAllLfsPointersRequest { repository: push.named(view), limit: 0 };
            let messages = all(blobs.list_all_lfs_pointers(request).await).await.expect("pointers");
            let found: Vec<_> =
                messages.into_iter().flat_map(|message| message.lfs_pointers).collect();
            assert_eq!(found, if is_found { vec![expected.clone()] } else { vec![] }, "{view:?}");
        }
    });
}

#[test]
fn blobs_by_path() {
    let push = Push::begin();
    run(async {
        let mut blobs = BlobServiceClient::new(push.client().await);
        let first = &*push.first;
        let asked = [
            (first, "new.txt"),
            (first, "run/me/now/script"),
            (first, "run/me///"),
            (first, "empty"),
            (first, "big.bin"),
            (first, "module"),
            (first, "module/x"),
            (first, "link"),
            (first, "nothing"),
            (first, ""),
            (first, "/"),
            (first, "./new.txt"),
            (first, "../new.txt"),
            (first, "run//me"),
            (first, "new.txt/x"),
            ("main", "README"),
            ("nowhere", "README"),
            (first, "a b\"\u{e4}.txt"),
            (first, "no\nsuch"),
            (first, "x\0info main"),
            (first, "docs/README"),
        ];
        for limit in [-1, 0, 10] {
            let revision_paths = asked.iter().map(|(revision, path)| RevisionPath {
                revision: (*revision).to_owned(),
                path: (*path).to_owned().into(),
            });
            let revision_paths = revision_paths.collect();
            let repository = push.named(View::Pushed);
            let request = GetBlobsRequest { repository, revision_paths, limit };
            let messages = all(blobs.get_blobs(request).await).await.expect("blobs");
            let mut found: Vec<GetBlobsResponse> = Vec::new();
            for message in messages {
                if message.revision.is_empty() {
                    let last = found.last_mut().expect("a part has a beginning");
                    last.data = [&last.data[..], &message.data].concat().into();
                } else {
                    found.push(message);
                }
            }
            assert_eq!(found.len(), asked.len());
            for ((revision, path), found) in asked.iter().zip(found) {
                let expected = expected(&push, revision, path, limit);
                assert_eq!(found, expected, "{revision}:{path} {limit}");
            }
        }
        let one = |revision: &str| RevisionPath { revision: revision.to_owned(), path: "x".into() };
        for (revision_paths, text) in [
            (vec![], "empty RevisionPaths"),
            (vec![one("")], "empty revision"),
            (vec![one("main"), one("a:b")], "revision can't contain ':'"),
        ] {
            let repository = push.named(View::Plain);
            let request = GetBlobsRequest { repository, revision_paths, limit: 0 };
            let found = refusal(all(blobs.get_blobs(request).await).await);
            assert_eq!(found, (Code::InvalidArgument, text.to_owned()));
        }
    });
}

/// The same from `git ls-tree`.
fn expected(push: &Push, revision: &str, path: &str, limit: i64) -> GetBlobsResponse {
    let trimmed = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let mut expected = GetBlobsResponse {
        revision: revision.to_owned(),
        path: trimmed.to_owned().into(),
        ..GetBlobsResponse::default()
    };
    let is_odd = trimmed.contains(['\0', '\n'])
        || trimmed.split('/').any(|part| part.is_empty() || part.starts_with('.'));
    if is_odd || revision == "nowhere" {
        return expected;
    }
    let listed = push.git(View::Pushed, &["ls-tree", "-z", revision, "--", trimmed]);
    let Some((head, _)) = listed.split_once('\t') else { return expected };
    let [mode, kind, id] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{head}") };
    expected.mode = i32::from_str_radix(mode, 8).expect("a mode");
    expected.oid = id.to_owned();
    expected.is_submodule = kind == "commit";
    expected.set_type(match kind {
        "blob" => ObjectType::Blob,
        "tree" => ObjectType::Tree,
        _ => ObjectType::Commit,
    });
    if kind != "commit" {
        expected.size = push.git(View::Pushed, &["cat-file", "-s", id]).parse().expect("a size");
    }
    if kind == "blob" {
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(expected.size as usize);
        expected.data = if trimmed == "big.bin" {
            (0..300_000_u32).map(|at| (at % 251) as u8).take(length).collect()
        } else {
            let mut content = push.git(View::Pushed, &["cat-file", "blob", id]).into_bytes();
            content.resize(expected.size as usize, b'\n');
            content.truncate(length);
            content.into()
        };
    }
    expected
}
