//! What is not built and goes to a Gitaly behind the node.
//!
//! Goal: a client cannot tell who answered, except by what the node could not do; nothing of one
//! call is another's; whoever is slow, leaves or dies, costs no more than its own call.
//! Method: a Gitaly of ours does what the metadata of each call asks for, on the test's thread;
//! stock ones are asked in `stock`.
//!
//! Never here: what built methods answer.

mod bodies;
mod ending;
mod places;
mod proxy;
mod routing;
mod sidechannels;
mod stock;
mod trouble;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_tests::gitaly::{Door, Raw, connect, metadata, run};
use gitring_tests::node::Node;
use gitring_tests::upstream::Upstream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::{Stream, iter};
use tonic::{Request, Status, Streaming};

/// A method of each kind that is not built.
const UNARY: &str = "/gitaly.RepositoryService/Fsck";
const STREAMS: &str = "/gitaly.OperationService/UserMergeBranch";
const WITH_SIDECHANNEL: &str = "/gitaly.HookService/PackObjectsHookWithSidechannel";

/// See [`talk`].
struct Talk(UnboundedReceiver<Bytes>);

/// A node in front of a Gitaly that listens.
struct Scene {
    node: Node,
    upstream: Upstream,
}

// === impl Scene ===

impl Scene {
    /// Runs a test on the thread that the upstream runs on, too.
    fn play<F: Future<Output = ()>>(test: impl FnOnce(Scene) -> F) {
        Self::play_with("", test);
    }

    /// The same with more configuration for the node.
    fn play_with<F: Future<Output = ()>>(more: &str, test: impl FnOnce(Scene) -> F) {
        let upstream = Upstream::new();
        let node = Node::start_with(&[&upstream.configuration(), more].concat());
        run(async {
            upstream.start();
            test(Scene { node, upstream }).await;
        });
    }

    async fn client(&self, door: Door) -> Client {
        connect(&self.node, door, "").await
    }
}

/// A call that asks the upstream to do something.
fn asking<M>(message: M, entries: &[(&'static str, &str)]) -> Request<M> {
    let mut request = Request::new(message);
    *request.metadata_mut() = metadata(entries);
    request
}

async fn unary(
    client: &Client,
    path: &'static str,
    request: Request<Bytes>,
) -> Result<tonic::Response<Bytes>, Status> {
    let mut grpc = Grpc::new(client.clone());
    grpc.unary(request, PathAndQuery::from_static(path), Raw).await
}

async fn streams<S: Stream<Item = Bytes> + Send + 'static>(
    client: &Client,
    request: Request<S>,
) -> Result<Streaming<Bytes>, Status> {
    let mut grpc = Grpc::new(client.clone()).max_decoding_message_size(64 << 20);
    let replies = grpc.streaming(request, PathAndQuery::from_static(STREAMS), Raw).await?;
    Ok(replies.into_inner())
}

/// A stream of one message.
fn one(message: &'static [u8]) -> impl Stream<Item = Bytes> + Send + 'static {
    iter([Bytes::from_static(message)])
}

/// Messages as the test makes them; the stream ends with the sender.
fn talk() -> (UnboundedSender<Bytes>, Talk) {
    let (sender, receiver) = unbounded_channel();
    (sender, Talk(receiver))
}

/// Waits a moment in which much could happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

impl Stream for Talk {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_recv(cx)
    }
}
