//! SIGTERM while clients clone.
//!
//! Goal: requests under way end well, new ones are refused, the node ends with exit code 0.
//! Method: a client that reads slowly holds a request open over the signal.
//!
//! Never here: upgrades without a gap; nothing takes the sockets over.

use std::net::TcpStream;
use std::time::Duration;

use gitring_tests::history;
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline::request;
use gitring_tests::process::{children, signal, wait_until};
use gitring_tests::repository::{Kind, Repository};

/// Longest end of a node whose `graceful_restart_timeout` is 10 s.
const END_MAX: Duration = Duration::from_secs(20);

/// A node with a repository of 12 MB, and a clone of it that has begun and waits to be read.
fn node_with_open_clone() -> (Node, TcpStream) {
    let node = Node::start();
    let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
    heavy.import(&history::heavy(400));
    let want = format!("want {}", heavy.id("main"));
    let head = ["command=fetch", "object-format=sha1", "delim", "no-progress"];
    let body = request(&[&head[..], &[&want, "done", "flush"]].concat());
    let stream = http::open_upload_pack(node.gateway(), "heavy.git", &body);
    let mut first = [0; 1];
    // signal(7): a socket with a time-out is interrupted by any signal, as of a child.
    let interrupted = |peeked: &std::io::Result<usize>| {
        peeked.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::Interrupted)
    };
    let mut peeked = stream.peek(&mut first);
    while interrupted(&peeked) {
        peeked = stream.peek(&mut first);
    }
    peeked.expect("the answer begins");
    (node, stream)
}

#[test]
fn a_clone_under_way_is_finished() {
    let (mut node, mut stream) = node_with_open_clone();
    signal(node.pid(), "TERM");
    let gateway = node.gateway();
    let refused = || TcpStream::connect_timeout(&gateway, Duration::from_secs(1)).is_err();
    wait_until("new connections are refused", Duration::from_secs(5), refused);
    let answer = http::read_answer(&mut stream).expect("the answer goes on");
    assert_eq!(answer.status, 200);
    assert!(answer.complete, "{} bytes", answer.body.len());
    assert!(answer.body.ends_with(b"0000"), "the pack ends with a flush");
    assert!(answer.body.len() > 10_000_000, "{} bytes", answer.body.len());
    assert!(node.wait(END_MAX).success(), "{}", node.log());
}

#[test]
fn a_client_that_never_reads_does_not_hold_the_node() {
    let (mut node, stream) = node_with_open_clone();
    let begun = children(node.pid());
    signal(node.pid(), "TERM");
    assert!(node.wait(END_MAX).success(), "{}", node.log());
    let gone = || begun.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists());
    wait_until("its children are gone", Duration::from_secs(5), gone);
    drop(stream);
}

#[test]
fn an_idle_node_ends_at_once() {
    let mut node = Node::start();
    let idle = TcpStream::connect(node.gateway()).expect("the node accepts");
    signal(node.pid(), "TERM");
    assert!(node.wait(Duration::from_secs(12)).success(), "{}", node.log());
    drop(idle);
}
