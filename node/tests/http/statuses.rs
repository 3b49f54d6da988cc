//! Statuses and headers of answers that are no packs, and of those that break off.

use crate::harness::{LS_REFS, Local, Place, exchange, post_head};
use gitring_node::rpc::gateway::Limits;
use std::process::Command;

fn check(local: &Local, line: &str, status: &str, text: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = exchange(local.connect(), request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {head}");
    assert_eq!(body.trim_end(), text, "{line}");
    head.to_ascii_lowercase()
}

#[test]
fn refusals_say_why() {
    let place = Place::new();
    std::os::unix::fs::symlink(place.path("work/.git"), place.path("storage/out.git")).unwrap();
    std::fs::create_dir(place.path("storage/empty")).unwrap();
    let local = place.start("", Limits::default());
    let query = "info/refs?service=git-upload-pack";
    check(&local, &format!("GET /none.git/{query}"), "404", "no such repository");
    check(&local, &format!("GET /empty/{query}"), "404", "not a git repository");
    let outside = "the path leads out of its storage";
    check(&local, &format!("GET /out.git/{query}"), "403", outside);
    let component = "the repository path has a component that is empty, '.' or '..'";
    check(&local, &format!("GET /group/../group/a.git/{query}"), "400", component);
    let dumb = "the dumb protocol is not served: use git 1.6.6 or later";
    check(&local, "GET /group/a.git/info/refs", "403", dumb);
    let push = "GET /group/a.git/info/refs?service=git-receive-pack";
    check(&local, push, "403", "pushes are not enabled on this server");
    let text = "method not allowed, allowed here: GET, HEAD";
    let head = check(&local, &format!("PUT /group/a.git/{query}"), "405", text);
    assert!(head.contains("allow: get, head"), "{head}");
    let head = check(&local, &format!("HEAD /group/a.git/{query}"), "200", "");
    assert!(head.contains("content-type: application/x-git-upload-pack-advertisement"), "{head}");
    assert!(head.contains("cache-control: no-cache, max-age=0, must-revalidate"), "{head}");
    assert!(head.contains("expires: fri, 01 jan 1980 00:00:00 gmt"), "{head}");
    assert!(head.contains("pragma: no-cache"), "{head}");
}

#[test]
fn a_child_that_dies_before_its_first_byte_is_an_error() {
    let place = Place::new();
    let git = place.script("echo 'fatal: on purpose' >&2; exit 128");
    let local = place.start(&git, Limits::default());
    let request = post_head(LS_REFS.len(), "") + LS_REFS;
    let answer = exchange(local.connect(), request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.contains("the fetch failed on the server"), "{answer}");
}

/// Goal: what a child sent before it died never looks like a whole answer.
/// Method: a script dies after some bytes, by exit code or signal; HTTP/1.1 has no last chunk,
/// HTTP/2 resets the stream.
#[test]
fn a_child_that_dies_later_breaks_the_answer_off() {
    for death in ["exit 128", "kill -9 $$"] {
        let place = Place::new();
        let git = place.script(&format!("echo 0008PACK; sleep 0.1; {death}"));
        let local = place.start(&git, Limits::default());
        let request = post_head(LS_REFS.len(), "") + LS_REFS;
        let answer = exchange(local.connect(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("0008PACK") && !answer.contains("\r\n0\r\n"), "{answer}");
        let curl = Command::new("curl")
            .args(["-sS", "--http2-prior-knowledge"])
            .arg(format!("{}/info/refs?service=git-upload-pack", local.url()))
            .output()
            .unwrap();
        assert!(!curl.status.success(), "{death}: curl took a part for the whole");
    }
}
