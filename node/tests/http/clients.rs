//! Real clients get what git itself would give them.

use crate::harness::{LS_REFS, Place, exchange, git, post_head};
use flate2::Compression;
use flate2::write::GzEncoder;
use gitring_node::rpc::gateway::Limits;
use std::io::Write;
use std::process::Command;

#[test]
fn git_clones_and_fetches_in_every_version() {
    let local = Place::new().start("", Limits::default());
    let (url, place) = (local.url(), &local.place);
    let expected = git(&["ls-remote", &place.path("storage/group/a.git")]);
    for version in ["0", "1", "2"] {
        let version_key = format!("protocol.version={version}");
        let run = |args: &[&str]| git(&[&["-c", &version_key], args].concat());
        assert_eq!(run(&["ls-remote", &url]), expected, "v{version}");
        for (name, more) in [
            ("full", &["--mirror"][..]),
            ("shallow", &["--depth=3"]),
            ("partial", &["--filter=blob:none", "--no-checkout"]),
        ] {
            let target = place.path(&format!("{name}{version}"));
            run(&[&["clone", "-q", &url, &target], more].concat());
            git(&["-C", &target, "fsck", "--strict"]);
        }
        let mirror = git(&["-C", &place.path(&format!("full{version}")), "show-ref"]);
        assert_eq!(mirror, git(&["-C", &place.path("storage/group/a.git"), "show-ref"]));
        let shallow = place.path(&format!("shallow{version}"));
        assert_eq!(git(&["-C", &shallow, "rev-list", "--count", "HEAD"]), "3\n");
        run(&["-C", &shallow, "fetch", "-q", "--unshallow"]);
        assert_eq!(git(&["-C", &shallow, "rev-list", "--count", "HEAD"]), "20\n");
    }
}

#[test]
fn http2_with_prior_knowledge_gets_the_same_advertisement() {
    let local = Place::new().start("", Limits::default());
    let advertisement = |option: &str| {
        let output = Command::new("curl")
            .args(["-sS", "-w", "%{http_version}", option])
            .arg(format!("{}/info/refs?service=git-upload-pack", local.url()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = advertisement("--http1.1");
    let second = advertisement("--http2-prior-knowledge");
    assert!(first.starts_with("001e# service=git-upload-pack\n0000"), "{first}");
    assert_eq!(first.strip_suffix("1.1"), second.strip_suffix("2"));
}

#[test]
fn gzip_bodies_are_inflated() {
    let local = Place::new().start("", Limits::default());
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let plain = post_head(LS_REFS.len(), "") + LS_REFS;
    let plain = body(exchange(local.connect(), plain.as_bytes()));
    assert!(plain.contains("refs/heads/side\n"), "{plain}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(LS_REFS.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let head = post_head(gzip.len(), "content-encoding: gzip\r\n");
    let inflated = exchange(local.connect(), &[head.as_bytes(), &gzip].concat());
    assert_eq!(plain, body(inflated));
}

/// The repository's own configuration wins over Gitaly's defaults, `[[git.config]]` over both.
#[test]
fn configuration_has_its_order() {
    let hidden = "[[git.config]]\nkey = 'transfer.hideRefs'\nvalue = 'refs/heads/side'";
    let local = Place::new().start(hidden, Limits::default());
    let repository = local.place.path("storage/group/a.git");
    git(&["-C", &repository, "update-ref", "refs/keep-around/x", "main"]);
    git(&["-C", &repository, "update-ref", "refs/merge-requests/1/head", "main"]);
    let listed = git(&["ls-remote", &local.url()]);
    assert!(listed.contains("refs/merge-requests/1/head"), "{listed}");
    assert!(!listed.contains("refs/keep-around/"), "{listed}");
    assert!(!listed.contains("refs/heads/side"), "{listed}");
    let target = local.place.path("filtered");
    git(&["-C", &repository, "config", "uploadpack.allowFilter", "false"]);
    git(&["clone", "-q", "--filter=tree:0", "--bare", &local.url(), &target]);
    let objects = git(&["-C", &target, "rev-list", "--objects", "--missing=print", "--all"]);
    assert!(!objects.lines().any(|line| line.starts_with('?')), "the filter was applied");
}
