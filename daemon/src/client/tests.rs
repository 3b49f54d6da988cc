//! Calls in both directions, against a small server on real sockets.

use super::*;
use crate::mux::{CLIENT, MuxStream, NODE, Replay};
use crate::sidechannel::{self, AcceptError, SidechannelId};
use bytes::Bytes;
use gitring_proto::gitaly::ref_transaction_client::RefTransactionClient;
use gitring_proto::gitaly::ref_transaction_server::{RefTransaction, RefTransactionServer};
use gitring_proto::gitaly::server_service_client::ServerServiceClient;
use gitring_proto::gitaly::server_service_server::{ServerService, ServerServiceServer};
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::smart_http_service_server::{SmartHttpService, SmartHttpServiceServer};
use gitring_proto::gitaly::*;
use gitring_proto::listenmux::MAGIC_BYTES;
use gitring_proto::token::Credentials;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use std::time::SystemTime;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

const TOKEN: &[u8] = b"correct horse";

struct Service;

type Replies<T> =
    std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send + 'static>>;

#[async_trait]
impl ServerService for Service {
    /// Answers with what it was sent.
    async fn server_info(
        &self,
        request: Request<ServerInfoRequest>,
    ) -> Result<Response<ServerInfoResponse>, Status> {
        let metadata = request.metadata();
        if let Some(header) = metadata.get("authorization") {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let secret = Secret::new(TOKEN).unwrap();
            Credentials::parse(header.as_bytes()).unwrap().verify(&secret, now as i64).unwrap();
        }
        let authorized = metadata.contains_key("authorization");
        let said = metadata.get("said").map_or("", |value| value.to_str().unwrap());
        let server_version = format!("{authorized} {said}");
        Ok(Response::new(ServerInfoResponse { server_version, ..Default::default() }))
    }

    /// Never answers.
    async fn disk_statistics(
        &self,
        _: Request<DiskStatisticsRequest>,
    ) -> Result<Response<DiskStatisticsResponse>, Status> {
        std::future::pending().await
    }
}

#[async_trait]
impl SmartHttpService for Service {
    async fn post_receive_pack(
        &self,
        request: Request<Streaming<PostReceivePackRequest>>,
    ) -> Result<Response<Replies<PostReceivePackResponse>>, Status> {
        let echo =
            request.into_inner().map(|request| Ok(PostReceivePackResponse { data: request?.data }));
        Ok(Response::new(Box::pin(echo)))
    }
}

#[async_trait]
impl RefTransaction for Service {
    async fn vote_transaction(
        &self,
        request: Request<VoteTransactionRequest>,
    ) -> Result<Response<VoteTransactionResponse>, Status> {
        assert_eq!(request.metadata().get("authorization"), None);
        let state = if request.into_inner().transaction_id == 7 { 0 } else { 1 };
        Ok(Response::new(VoteTransactionResponse { state }))
    }
}

fn routes() -> Routes {
    Routes::new(ServerServiceServer::new(Service)).add_service(SmartHttpServiceServer::new(Service))
}

fn votes() -> Routes {
    Routes::new(RefTransactionServer::new(Service))
}

/// What a node does with one connection, in short. The mux goes to the test.
async fn serve_connection(mut socket: Box<dyn Socket>, muxes: UnboundedSender<Mux>) {
    let tasks = Tasks::default();
    let mut head = [0; MAGIC_BYTES];
    socket.read_exact(&mut head).await.unwrap();
    if &head != BACKCHANNEL {
        return serve_grpc(Replay::new(Bytes::copy_from_slice(&head), socket), &tasks).await;
    }
    let (mux, mut incoming, driver) = mux::start(socket, Role::Server, NODE);
    let driver = spawn_local(driver);
    let stream = incoming.accept().await.unwrap();
    muxes.send(mux).unwrap();
    serve_grpc(stream, &tasks).await;
    drop((muxes, incoming));
    driver.await.unwrap().unwrap();
}

async fn serve_grpc(io: impl AsyncRead + AsyncWrite + Unpin + 'static, tasks: &Tasks) {
    let service = service_fn(|request| {
        let mut routes = routes();
        async move { tonic::codegen::Service::call(&mut routes, request).await }
    });
    let connection = hyper::server::conn::http2::Builder::new(tasks.executor())
        .serve_connection(TokioIo::new(io), service);
    let _ = connection.await;
}

struct Server {
    address: Address,
    muxes: UnboundedReceiver<Mux>,
    /// One for each connection, in the order in which they came.
    connections: UnboundedReceiver<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

/// Unix sockets and TCP in turn would be two lists of tests, so every test says which it takes.
async fn serve(tcp: bool) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("gitaly.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address =
        if tcp { Address::Tcp { host: "127.0.0.1".into(), port } } else { Address::Unix(path) };
    let (sender, muxes) = unbounded_channel();
    let (ends, connections) = unbounded_channel();
    spawn_local(async move {
        loop {
            let socket: Box<dyn Socket> = tokio::select! {
                accepted = unix.accept() => Box::new(accepted.unwrap().0),
                accepted = listener.accept() => Box::new(accepted.unwrap().0),
            };
            if ends.send(spawn_local(serve_connection(socket, sender.clone()))).is_err() {
                return;
            }
        }
    });
    Server { address, muxes, connections, _folder: folder }
}

async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(timeout(Duration::from_secs(60), test)).await.unwrap()
}

async fn info(client: &Client, said: &'static str) -> Result<String, Status> {
    let mut request = Request::new(ServerInfoRequest {});
    request.metadata_mut().insert("said", said.parse().unwrap());
    let reply = ServerServiceClient::new(client.clone()).server_info(request).await?;
    Ok(reply.into_inner().server_version)
}

/// A few MiB there and back, in messages of odd sizes.
async fn echo(client: &Client, messages: usize) {
    let sent = |at: usize| Bytes::from(vec![at as u8; at * 7919 % 100_000]);
    let requests = tokio_stream::iter(
        (0..messages)
            .map(move |at| PostReceivePackRequest { data: sent(at), ..Default::default() }),
    );
    let mut grpc = SmartHttpServiceClient::new(client.clone());
    let mut replies = grpc.post_receive_pack(requests).await.unwrap().into_inner();
    for at in 0..messages {
        assert!(replies.message().await.unwrap().unwrap().data == sent(at), "message {at}");
    }
    assert_eq!(replies.message().await.unwrap(), None);
}

async fn check_calls(tcp: bool) {
    let mut server = serve(tcp).await;
    let plain = Client::connect(&server.address, TOKEN).await.unwrap();
    assert_eq!(info(&plain, "plain").await.unwrap(), "true plain");
    assert!(plain.sidechannel().is_none());
    echo(&plain, 60).await;
    let open = Client::connect(&server.address, b"").await.unwrap();
    assert_eq!(info(&open, "open").await.unwrap(), "false open");
    let mux = Client::connect_mux(&server.address, TOKEN, CLIENT, Some(votes())).await.unwrap();
    assert_eq!(info(&mux, "mux").await.unwrap(), "true mux");
    tokio::join!(echo(&mux, 60), echo(&mux, 50), echo(&mux, 40));
    let back = over(server.muxes.recv().await.unwrap());
    for (transaction_id, state) in [(7, 0), (8, 1), (7, 0)] {
        let request = VoteTransactionRequest { transaction_id, ..Default::default() };
        let reply = RefTransactionClient::new(back.clone()).vote_transaction(request).await;
        assert_eq!(reply.unwrap().into_inner().state, state);
    }
    let unknown = info(&back, "back").await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
}

#[tokio::test]
async fn calls_there_and_back() {
    local(async {
        check_calls(true).await;
        check_calls(false).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_serves_nothing_says_so() {
    local(async {
        let mut server = serve(false).await;
        let client = Client::connect_mux(&server.address, b"", CLIENT, None).await.unwrap();
        let back = over(server.muxes.recv().await.unwrap());
        let vote = RefTransactionClient::new(back.clone())
            .vote_transaction(VoteTransactionRequest::default())
            .await;
        assert_eq!(vote.unwrap_err().code(), Code::Unimplemented);
        drop(client);
    })
    .await;
}

#[tokio::test]
async fn sidechannels_beside_calls() {
    local(async {
        let mut server = serve(true).await;
        let client = Client::connect_mux(&server.address, TOKEN, CLIENT, None).await.unwrap();
        let mux = server.muxes.recv().await.unwrap();
        let waiters: Vec<_> = (0..20).map(|_| client.sidechannel().unwrap()).collect();
        let ids: Vec<SidechannelId> = waiters.iter().map(|waiter| waiter.id()).collect();
        for id in ids.into_iter().rev() {
            let mux = mux.clone();
            spawn_local(async move {
                let mut end = sidechannel::open(&mux, id, sidechannel::OPENING_MAX).await.unwrap();
                let (mut reader, mut writer) = end.split();
                while let Some(data) = reader.read().await.unwrap() {
                    writer.write(data).await.unwrap();
                }
                end.close().await.unwrap();
            });
        }
        for waiter in waiters {
            let said = Bytes::from(vec![waiter.id().0 as u8; 100_000]);
            let mut end = waiter.accept(Duration::from_secs(5)).await.unwrap();
            end.write(said.clone()).await.unwrap();
            end.finish_writing().await.unwrap();
            let mut heard = Vec::new();
            while let Some(data) = end.read().await.unwrap() {
                heard.extend_from_slice(&data);
            }
            assert!(heard == said);
            end.close().await.unwrap();
        }
        assert_eq!(info(&client, "after").await.unwrap(), "true after");
        let refused = sidechannel::open(&mux, SidechannelId(0), sidechannel::OPENING_MAX).await;
        assert!(matches!(refused, Err(sidechannel::OpenError::Broken(_))));
    })
    .await;
}

/// Streams that begin with `first` are reset by the client, which goes on.
async fn check_stream(mux: &Mux, first: &'static [u8], finish: bool) {
    let mut stream: MuxStream = mux.open().await.unwrap();
    stream.send(Bytes::from_static(first)).await.unwrap();
    if finish {
        stream.finish().await.unwrap();
    }
    while let Ok(Some(_)) = stream.receive().await {}
}

#[tokio::test]
async fn streams_that_speak_something_else_harm_nobody() {
    local(async {
        let mut server = serve(false).await;
        let client = Client::connect_mux(&server.address, TOKEN, CLIENT, None).await.unwrap();
        let mux = server.muxes.recv().await.unwrap();
        check_stream(&mux, b"backchannel", false).await;
        check_stream(&mux, b"sidechan", true).await;
        check_stream(&mux, b"", true).await;
        check_stream(&mux, b"sidechannel\0\0\0", true).await;
        check_stream(&mux, b"sidechannel\0\0\0\0\0\0\0\x09", false).await;
        check_stream(&mux, b"GET / HTTP/1.1\r\n\r\n of no use to anybody here", true).await;
        assert_eq!(info(&client, "alive").await.unwrap(), "true alive");
    })
    .await;
}

#[tokio::test]
async fn everything_ends_with_the_last_clone() {
    local(async {
        for with_mux in [true, false] {
            let mut server = serve(true).await;
            let client = if with_mux {
                Client::connect_mux(&server.address, b"", CLIENT, None).await.unwrap()
            } else {
                Client::connect(&server.address, b"").await.unwrap()
            };
            info(&client, "").await.unwrap();
            let clone = client.clone();
            drop(client);
            info(&clone, "").await.unwrap();
            let connection = server.connections.recv().await.unwrap();
            assert!(!connection.is_finished());
            drop(clone);
            if with_mux {
                let mux = server.muxes.recv().await.unwrap();
                let back = over(mux);
                connection.await.unwrap();
                assert!(!back.is_open());
                assert_eq!(info(&back, "").await.unwrap_err().code(), Code::Unavailable);
            } else {
                connection.await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_vanishes_fails_calls_and_waiters() {
    local(async {
        let mut server = serve(true).await;
        let client = Client::connect_mux(&server.address, b"", CLIENT, None).await.unwrap();
        let waiter = client.sidechannel().unwrap();
        let waiting = spawn_local(waiter.accept(Duration::from_secs(30)));
        let mut grpc = ServerServiceClient::new(client.clone());
        let call = spawn_local(async move { grpc.disk_statistics(DiskStatisticsRequest {}).await });
        info(&client, "").await.unwrap();
        drop(server.muxes.recv().await.unwrap());
        server.connections.recv().await.unwrap().abort();
        assert_eq!(waiting.await.unwrap().unwrap_err(), AcceptError::Gone);
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert_eq!(info(&client, "").await.unwrap_err().code(), Code::Unavailable);
        assert!(!client.is_open());
        let late = client.sidechannel().unwrap();
        assert_eq!(late.accept(Duration::from_secs(30)).await.unwrap_err(), AcceptError::Gone);
    })
    .await;
}

#[tokio::test]
async fn nobody_listens() {
    local(async {
        let server = serve(false).await;
        let nobody = Address::Unix("/nowhere/gitaly.sock".into());
        let error = Client::connect_mux(&nobody, b"", CLIENT, None).await.unwrap_err();
        assert_eq!(error.to_string(), "dial unix:/nowhere/gitaly.sock");
        drop(server);
    })
    .await;
}
