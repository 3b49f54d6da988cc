//! Places of calls that go to the upstream: free once the call has ended, or its time is up.

use super::{STREAMS, Scene};
use gitring_tests::http2::{
    DATA, END_HEADERS, HEADERS, INITIAL_WINDOW_SIZE, block, frame, hello, prefixed,
};
use gitring_tests::node::Node;
use gitring_tests::{http, process};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// `UserMergeBranchRequest { repository: { "default", "varied.git" } }`
const REQUEST: &[u8] = b"\x0a\x15\x12\x07default\x1a\x0avaried.git";

/// Waits until so many calls are in, and so many were let in at all.
async fn wait_for(node: &Node, inside: u64, admitted: u64) {
    let metrics = node.metrics();
    let figures = move || {
        let text = http::send(metrics, "GET", "/metrics", &[], b"");
        let text = String::from_utf8_lossy(&text.body).into_owned();
        let figure = |name: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
        };
        let acquired = figure("gitaly_concurrency_limiting_acquiring_seconds_count{");
        (figure("gitaly_concurrency_limiting_in_progress{"), acquired) == (inside, admitted)
    };
    let wait = move || process::wait_until("places are free", Duration::from_secs(20), figures);
    spawn_blocking(wait).await.expect("places become free");
}

/// A call whose client opens no window and does not end its request.
fn unread(node: &Node, more: &[(&str, &str)]) -> TcpStream {
    let mut socket = TcpStream::connect(node.gitaly_address()).expect("the node accepts");
    let headers = frame(HEADERS, END_HEADERS, 1, &block(STREAMS, more));
    let message = frame(DATA, 0, 1, &prefixed(REQUEST));
    let call = [hello(&[(INITIAL_WINDOW_SIZE, 0)]), headers, message].concat();
    socket.write_all(&call).expect("the node reads");
    socket
}

#[test]
fn calls_that_ended_keep_no_place() {
    let table = format!("[[concurrency]]\nrpc = '{STREAMS}'\nmax_per_repo = 1\n");
    Scene::play_with(&table, |scene| async move {
        let late = [("act", "send"), ("bytes", "8000000"), ("grpc-timeout", "1S")];
        let late = unread(&scene.node, &late);
        wait_for(&scene.node, 1, 1).await;
        wait_for(&scene.node, 0, 1).await;
        let refused = unread(&scene.node, &[("act", "refuse-at-once")]);
        wait_for(&scene.node, 0, 2).await;
        drop((late, refused));
    });
}
