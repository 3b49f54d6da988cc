//! The status page, as a browser and as whoever attacks it meet it.

use super::{SETTLE_MAX, get};
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline::request;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};

/// A name that a careless page would run.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

fn clone_request(repository: &Repository) -> Vec<u8> {
    let want = format!("want {}", repository.id("main"));
    request(&["command=fetch", "object-format=sha1", "delim", "ofs-delta", &want, "done", "flush"])
}

/// Goal: whoever looks at a node sees what it builds, for how many, and who costs most; and no name
/// of a repository becomes a part of the page.
#[test]
fn the_page_shows_what_is_built_for_how_many() {
    let node = Node::start_with("[pack_objects_cache]\nmin_occurrences = 0\n");
    let repository = Repository::create(&node.storage(), HOSTILE, Kind::Varied);
    let input = clone_request(&repository);
    let (gateway, path) = (node.gateway(), "%3Cimg%20src=x%20onerror=alert(1)%3E.git");
    let held = node.hold_packs();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let input = input.clone();
            std::thread::spawn(move || http::upload_pack(gateway, path, 2, &input))
        })
        .collect();
    wait_until("three clients wait for one pack", SETTLE_MAX, || {
        let json = get(&node, "/status.json");
        json.contains("\"clients\":3") && json.contains("\"builder\":\"child\"")
    });
    let page = get(&node, "/");
    let escaped = "&lt;img src=x onerror=alert(1)&gt;.git";
    assert!(page.contains(escaped) && !page.contains("<img"), "{page}");
    drop(held);
    for client in clients {
        assert_eq!(client.join().expect("no client panics").status, 200);
    }
    assert_eq!(http::upload_pack(gateway, path, 2, &input).status, 200);
    wait_until("the hit is counted", SETTLE_MAX, || {
        let json = get(&node, "/status.json");
        let parts = ["\"hits\":1", "\"joins\":2", "\"leads\":1", "\"builds\":[]", "\"calls\":4"];
        parts.iter().all(|part| json.contains(part))
    });
    // A page may be a moment old.
    wait_until("the page says it, too", SETTLE_MAX, || {
        let page = get(&node, "/");
        page.contains("75.0 %") && page.contains("No pack is being built.")
    });
    let page = get(&node, "/");
    let top = page.split("id=\"top_minute\"").nth(1).expect("the section is there");
    assert!(top.contains(escaped) && !page.contains("<img"), "{page}");
    let json = get(&node, "/status.json");
    let saved = json.split("\"saved_cpu_seconds\":").nth(1).expect("the figure is there");
    let saved: f64 = saved.split([',', '}']).next().unwrap().parse().expect("a number");
    assert!(saved > 0.0, "three clients did not cost a pack: {json}");
}

#[test]
fn the_port_answers_nothing_else() {
    fn check(node: &Node, method: &str, path: &str, expected: (u16, &str)) {
        let answer = http::send(node.metrics(), method, path, &[], b"");
        let kind = answer.header("content-type").to_owned();
        assert_eq!((answer.status, kind.as_str()), expected, "{method} {path}: {answer:?}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let node = Node::start();
    let text = "text/plain; charset=utf-8";
    check(&node, "GET", "/", (200, "text/html; charset=utf-8"));
    check(&node, "HEAD", "/", (200, "text/html; charset=utf-8"));
    check(&node, "GET", "/?from=elsewhere", (200, "text/html; charset=utf-8"));
    check(&node, "GET", "/status.json", (200, "application/json"));
    check(&node, "GET", "/metrics", (200, "text/plain; version=0.0.4; charset=utf-8"));
    check(&node, "POST", "/", (405, text));
    check(&node, "DELETE", "/metrics", (405, text));
    for path in ["/debug/pprof/", "/..", "/status.json/", "//", "/metrics/x"] {
        check(&node, "GET", path, (404, text));
    }
    let long = "x".repeat(64 << 10);
    let refused = http::send(node.metrics(), "GET", "/", &[("X-Long", &long)], b"");
    assert_eq!(refused.status, 431, "{refused:?}");
}

/// What must not be seen, and what errors are shown.
#[test]
fn errors_are_shown_and_secrets_are_not() {
    let node = Node::start_with("[auth]\ntoken = \"t0p-s3cret-token\"\n");
    let repository = Repository::create(&node.storage(), "broken", Kind::Varied);
    let input = clone_request(&repository);
    let objects = node.storage().join("broken.git/objects");
    let destroy = "find \"$1\" -type f -exec truncate -s 7 {} +";
    let mut shell = std::process::Command::new("sh");
    let ended = shell.args(["-c", destroy, "sh"]).arg(&objects).status();
    assert!(ended.expect("a shell").success());
    http::upload_pack(node.gateway(), "broken.git", 2, &input);
    wait_until("the failure is shown", SETTLE_MAX, || {
        get(&node, "/")
            .split("id=\"errors\"")
            .nth(1)
            .is_some_and(|part| part.contains("class=\"state"))
    });
    for path in ["/", "/status.json", "/metrics"] {
        let text = get(&node, path);
        assert!(!text.contains("t0p-s3cret"), "{path}: {text}");
    }
}
