//! Answers that nobody reads: the place of a call is free once its work has ended, though its client
//! opens no window and its answer stays with the connection.

use super::{heavy, wait_for};
use gitring_proto::gitaly::ListAllBlobsRequest;
use gitring_proto::gitaly::blob_service_client::BlobServiceClient;
use gitring_tests::gitaly::{Door, connect, named, run};
use gitring_tests::http2::{INITIAL_WINDOW_SIZE, call, hello};
use gitring_tests::node::Node;
use prost::Message;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const RPC: &str = "/gitaly.BlobService/ListAllBlobs";
const METHOD: [(&str, &str); 1] = [("grpc_method", "ListAllBlobs")];

/// All of every blob, or of the first.
fn all_blobs(limit: u32) -> ListAllBlobsRequest {
    let bytes_limit = if limit == 0 { -1 } else { 0 };
    ListAllBlobsRequest { repository: named("heavy.git"), limit, bytes_limit }
}

/// A client that opens no window has called for this.
fn unread(node: &Node, more: &[(&str, &str)], request: &ListAllBlobsRequest) -> TcpStream {
    let mut socket = TcpStream::connect(node.gitaly_address()).expect("the node accepts");
    socket.write_all(&hello(&[(INITIAL_WINDOW_SIZE, 0)])).expect("the node reads");
    let called = call(1, RPC, more, &request.encode_to_vec());
    socket.write_all(&called).expect("the node reads");
    socket
}

#[track_caller]
fn assert_let_in(node: &Node) {
    let reading = async {
        let client = connect(node, Door::Tcp, "").await;
        let mut blobs = BlobServiceClient::new(client);
        let mut messages = blobs.list_all_blobs(all_blobs(1)).await.expect("let in").into_inner();
        while messages.message().await.expect("a whole answer").is_some() {}
    };
    let waited = run(async { tokio::time::timeout(Duration::from_secs(20), reading).await });
    waited.expect("its place is free");
    wait_for(node, "gitaly_concurrency_limiting_in_progress", &METHOD, 0);
}

#[test]
fn answers_that_nobody_reads_keep_no_place() {
    let node = Node::start_with(&format!("[[concurrency]]\nrpc = '{RPC}'\nmax_per_repo = 1\n"));
    // More than may wait for a client.
    let _repository = heavy(&node, 400);
    let held = unread(&node, &[("grpc-timeout", "2S")], &all_blobs(0));
    wait_for(&node, "gitaly_concurrency_limiting_in_progress", &METHOD, 1);
    assert_let_in(&node);
    // Without a deadline, but soon done.
    let done = unread(&node, &[], &all_blobs(1));
    let elsewhere = ListAllBlobsRequest { repository: named("elsewhere.git"), ..all_blobs(1) };
    let refused = unread(&node, &[], &elsewhere);
    let acquired = "gitaly_concurrency_limiting_acquiring_seconds_count";
    wait_for(&node, acquired, &METHOD, 4);
    assert_let_in(&node);
    drop((held, done, refused));
}
