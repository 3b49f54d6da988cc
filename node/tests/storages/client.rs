//! A node of this process and a gRPC client of it, over one HTTP/2 connection.

#![expect(dead_code, reason = "each test asks services of its own")]

use gitring_node::config::Config;
use gitring_node::server::Node;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::server_service_client::ServerServiceClient;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::body::Body;
use tower_service::Service;

pub(crate) struct Client {
    /// The storage is `storage` in it.
    pub(crate) dir: TempDir,
    pub(crate) repositories: RepositoryServiceClient<Channel>,
    pub(crate) server: ServerServiceClient<Channel>,
    pub(crate) refs: RefServiceClient<Channel>,
    pub(crate) commits: CommitServiceClient<Channel>,
    _node: Node,
}

#[derive(Debug, Clone)]
pub(crate) struct Channel(SendRequest<Body>);

// === impl Client ===

impl Client {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().join("storage");
        std::fs::create_dir(&storage).unwrap();
        let text = format!(
            "runtime_dir = '{}'\nlisten_addr = '127.0.0.1:0'\n\
             [[storage]]\nname = 'default'\npath = '{}'\n",
            dir.path().display(),
            storage.display(),
        );
        let node = Node::start(Config::parse(Path::new("node.toml"), &text).unwrap()).unwrap();
        let address = node.gitaly_address().unwrap();
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let origin: hyper::Uri = format!("http://{address}").parse().unwrap();
        let channel = Channel(sender);
        let repositories = RepositoryServiceClient::with_origin(channel.clone(), origin.clone());
        let server = ServerServiceClient::with_origin(channel.clone(), origin.clone());
        let refs = RefServiceClient::with_origin(channel.clone(), origin.clone());
        let commits = CommitServiceClient::with_origin(channel, origin);
        Self { dir, repositories, server, refs, commits, _node: node }
    }
}

// === impl Channel ===

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
