//! Clients that send too much, too slowly, nothing, or leave.

use crate::harness::{LS_REFS, Place, exchange, post_head, rest};
use flate2::Compression;
use flate2::write::GzEncoder;
use gitring_node::rpc::gateway::Limits;
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn large_bodies_and_headers_are_refused() {
    let limits =
        Limits { body_bytes_max: 1 << 20, inflated_bytes_max: 2 << 20, ..Limits::default() };
    // A child that reads to the end, as git would for a valid request of this size.
    let place = Place::new();
    let git = place.script("cat >/dev/null");
    let local = place.start(&git, limits);
    let check = |head: String, body: &[u8], status: &str| {
        let answer = exchange(local.connect(), &[head.as_bytes(), body].concat());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    };
    let fits = vec![b'0'; 1 << 20];
    check(post_head(fits.len(), ""), &fits, "200");
    let large = vec![b'0'; (1 << 20) + 1];
    check(post_head(large.len(), ""), &large, "413");
    let deflate = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let bomb = deflate(&vec![0; 64 << 20]);
    check(post_head(bomb.len(), "content-encoding: gzip\r\n"), &bomb, "413");
    check(post_head(4, "content-encoding: gzip\r\n"), b"0000", "400");
    let cut = &deflate(b"0000")[..12];
    check(post_head(cut.len(), "content-encoding: gzip\r\n"), cut, "400");
    let headers = format!("x: {}\r\n", "y".repeat(64 * 1024));
    check(post_head(0, &headers), b"", "431");
}

/// Goal: whoever says nothing loses the connection, at each stage of a request.
#[test]
fn silence_ends_a_connection() {
    let limits = Limits {
        header_wait_max: Duration::from_millis(200),
        idle_max: Duration::from_millis(400),
        body_wait_max: Duration::from_millis(200),
        ..Limits::default()
    };
    let local = Place::new().start("", limits);
    let request = "GET /group/a.git/info/refs?service=git-upload-pack HTTP/1.1\r\nhost: x\r\n\r\n";
    for (said, heard) in [
        ("", ""),
        ("P", ""),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\0"),
        ("GET / HTTP/1.1\r\nx: ", ""),
        (request, "HTTP/1.1 200"),
        (&post_head(100, ""), "HTTP/1.1 408"),
    ] {
        let mut stream = local.connect();
        stream.write_all(said.as_bytes()).unwrap();
        let answer = rest(&mut stream);
        assert!(answer.starts_with(heard), "{said:?}: {answer}");
        assert!(!heard.is_empty() || answer.is_empty() || answer.starts_with("HTTP/1.1 408"));
    }
    local.until_metric("gitaly_commands_running 0");
}

/// Goal: a client that leaves, or takes nothing, costs no child any longer.
/// Method: a script that writes for ever; its pipe, then the connection, fill up.
#[test]
fn children_end_with_their_clients() {
    let place = Place::new();
    let git = place.script("cat /dev/zero & wait");
    let limits = Limits { stall_max: Duration::from_millis(400), ..Limits::default() };
    let local = place.start(&git, limits);
    let request = post_head(LS_REFS.len(), "") + LS_REFS;

    let mut leaving = local.connect();
    leaving.write_all(request.as_bytes()).unwrap();
    leaving.read_exact(&mut [0; 4096]).unwrap();
    local.until_metric("gitaly_commands_running 1");
    drop(leaving);
    local.until_metric("gitaly_commands_running 0");

    let mut stalling = local.connect();
    stalling.write_all(request.as_bytes()).unwrap();
    local.until_metric("gitaly_commands_running 1");
    local.until_metric("gitaly_commands_running 0");
}

#[test]
fn a_client_that_leaves_before_the_first_byte_ends_its_child() {
    let place = Place::new();
    let git = place.script("sleep 1000");
    let local = place.start(&git, Limits::default());
    let mut waiting = local.connect();
    waiting.write_all((post_head(LS_REFS.len(), "") + LS_REFS).as_bytes()).unwrap();
    local.until_metric("gitaly_commands_running 1");
    drop(waiting);
    local.until_metric("gitaly_commands_running 0");
}
