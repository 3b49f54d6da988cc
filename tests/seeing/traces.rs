//! Spans, as a collector receives them.

use super::SETTLE_MAX;
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline::request;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Takes OTLP/HTTP, one request a connection, and keeps the bodies.
fn collector() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bodies);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_ok() {
                kept.lock().expect("nobody panics").extend_from_slice(&body);
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.get_mut().write_all(answer);
        }
    });
    (port, bodies)
}

fn holds(bodies: &Mutex<Vec<u8>>, part: &[u8]) -> bool {
    let bodies = bodies.lock().expect("nobody panics");
    bodies.windows(part.len()).any(|window| window == part)
}

/// Goal: a fetch whose client samples it is seen with its pack and its child, in the client's trace;
/// one whose client does not is not seen.
#[test]
fn a_sampled_fetch_leaves_spans_in_its_clients_trace() {
    let (port, bodies) = collector();
    let tracing = format!("GITLAB_TRACING=otlp-http://127.0.0.1:{port}?sampler_param=0");
    let node = Node::start_under(&["env".to_owned(), tracing], "");
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    let want = format!("want {}", repository.id("main"));
    let body = request(&[
        "command=fetch",
        "object-format=sha1",
        "delim",
        "ofs-delta",
        &want,
        "done",
        "flush",
    ]);
    for (trace, flags) in [("11", "00"), ("22", "01")] {
        let parent = format!("00-{}-b7ad6b7169203331-{flags}", trace.repeat(16));
        let headers = [
            ("Content-Type", "application/x-git-upload-pack-request"),
            ("Git-Protocol", "version=2"),
            ("traceparent", &parent),
        ];
        // What only the first one wants is built for nobody else.
        let deepen = request(&[
            "command=fetch",
            "object-format=sha1",
            "delim",
            "deepen 1",
            &want,
            "done",
            "flush",
        ]);
        let body = if flags == "01" { &body } else { &deepen };
        let answer =
            http::send(node.gateway(), "POST", "/varied.git/git-upload-pack", &headers, body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for name in ["http/UploadPack", "build a pack", "git pack-objects", "gitring-node"] {
        wait_until(name, SETTLE_MAX, || holds(&bodies, name.as_bytes()));
    }
    assert!(holds(&bodies, &[0x22; 16]) && holds(&bodies, b"varied.git"));
    assert!(!holds(&bodies, &[0x11; 16]), "the client did not sample it");
}
