//! What the gateway itself decides: paths, services, methods, bodies.
//!
//! Always true: a refusal has a status and a readable text, and names nothing outside the storage.
//!
//! Never here: upload-pack.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use gitring_tests::git;
use gitring_tests::http::{self, Answer};
use gitring_tests::pktline::{readable, request};
use gitring_tests::repository::Kind;

use super::Pair;

const LIST: &str = "info/refs?service=git-upload-pack";

fn get(pair: &Pair, path: &str) -> Answer {
    http::send(pair.node.gateway(), "GET", path, &[], b"")
}

#[test]
fn paths_stay_inside_the_storage() {
    let pair = Pair::new(Kind::Varied);
    let outside = tempfile::tempdir().unwrap();
    let secret = gitring_tests::repository::Repository::create(outside.path(), "s", Kind::Empty);
    symlink(&secret.path, pair.node.storage().join("link.git")).unwrap();
    std::fs::create_dir(pair.node.storage().join("plain")).unwrap();
    let absolute = format!("/{}/{LIST}", secret.path.display());
    let paths = [
        format!("/none.git/{LIST}"),
        format!("/plain/{LIST}"),
        format!("/link.git/{LIST}"),
        format!("/../storage/varied.git/{LIST}"),
        format!("/x/../varied.git/{LIST}"),
        format!("/%2e%2e/storage/varied.git/{LIST}"),
        format!("/varied.git%00/{LIST}"),
        format!("/varied.git/objects/{LIST}"),
        absolute,
        format!("/{LIST}"),
    ];
    for path in paths {
        let answer = get(&pair, &path);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {answer:?}");
        assert!(!answer.body.is_empty(), "{path}: no text");
    }
}

#[test]
fn other_services_are_refused() {
    let pair = Pair::new(Kind::Varied);
    let paths = [
        "/varied.git/info/refs?service=git-receive-pack",
        "/varied.git/info/refs?service=git-upload-archive",
        "/varied.git/info/refs",
        "/varied.git/HEAD",
        "/varied.git/objects/info/packs",
        "/varied.git/config",
        "/",
    ];
    for path in paths {
        let answer = get(&pair, path);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {answer:?}");
    }
    let headers = [("Content-Type", "application/x-git-receive-pack-request")];
    let address = pair.node.gateway();
    let answer = http::send(address, "POST", "/varied.git/git-receive-pack", &headers, b"0000");
    assert!(matches!(answer.status, 403 | 404), "{answer:?}");
    let answer = http::send(address, "PUT", "/varied.git/git-upload-pack", &[], b"0000");
    assert!((400..500).contains(&answer.status), "{answer:?}");
    let headers = [("Content-Type", "text/plain")];
    let answer = http::send(address, "POST", "/varied.git/git-upload-pack", &headers, b"0000");
    assert!((400..500).contains(&answer.status), "{answer:?}");
}

#[test]
fn compressed_bodies_are_read() {
    let pair = Pair::new(Kind::Varied);
    let body = request(&["command=ls-refs", "object-format=sha1", "delim", "peel", "flush"]);
    let mut gzip = Command::new("gzip");
    gzip.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let packed = git::feed(gzip, &body).stdout;
    let post = |encoding: &str, body: &[u8]| {
        let headers = [
            ("Content-Type", "application/x-git-upload-pack-request"),
            ("Git-Protocol", "version=2"),
            ("Content-Encoding", encoding),
        ];
        http::send(pair.node.gateway(), "POST", "/varied.git/git-upload-pack", &headers, body)
    };
    let plain = http::upload_pack(pair.node.gateway(), "varied.git", 2, &body);
    assert_eq!(readable(&post("gzip", &packed).body), readable(&plain.body));
    assert_eq!(readable(&post("x-gzip", &packed).body), readable(&plain.body));
    let refused = post("br", &body);
    assert!((400..500).contains(&refused.status), "{refused:?}");
    let broken = post("gzip", &body);
    assert!((400..500).contains(&broken.status), "{broken:?}");
}
