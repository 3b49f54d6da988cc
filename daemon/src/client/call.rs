//! One call: from tonic's request to hyper's, with a token.

use super::Client;
use super::tasks::Executor;
use crate::mux::Mux;
use gitring_proto::token::{self, Secret};
use http_body_util::BodyExt;
use http_body_util::combinators::MapErr;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;

/// Gitaly's clients ping that often; a node refuses those who ping more than every 10 s.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
/// Go's default for an answer to a ping.
const KEEPALIVE_ANSWER_MAX: Duration = Duration::from_secs(20);

/// Headers or trailers of an answer: details of a refusal may quote what a hook has printed.
const HEADER_BYTES_MAX: u32 = 1 << 20;
/// Bytes of one call that the server has not taken.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one call that a server may send ahead.
const RECEIVE_BYTES_MAX: u32 = 256 << 10;
/// The same of all calls of a connection: as much as [`CALLS_MAX`] of them may hold back, so that
/// no number of answers that nobody reads stops the others.
const RECEIVE_CONNECTION_BYTES_MAX: u32 = RECEIVE_BYTES_MAX * CALLS_MAX as u32;
/// Calls at once on one connection that have windows of their own.
pub(crate) const CALLS_MAX: usize = 256;

/// The other half of a call.
pub type Replies = MapErr<Incoming, fn(hyper::Error) -> Status>;

pub(super) type Sender = http2::SendRequest<Body>;

/// Where calls go.
#[derive(Debug)]
pub(super) enum Transport {
    Ready(Sender),
    Lazy(Lazy),
}

/// HTTP/2 that begins with the first call.
#[derive(Debug)]
pub(super) struct Lazy {
    mux: Mux,
    executor: Executor,
    sender: Mutex<Option<Sender>>,
}

/// Whether pings keep a connection alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pings {
    /// From a client to its server.
    Sent,
    /// On the way back: the client's pings do for both, and Go's servers hang up on whom pings
    /// them more often than every 5 minutes.
    None,
}

/// Begins HTTP/2 on a connection or stream.
pub(super) async fn handshake(
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    executor: &Executor,
    pings: Pings,
) -> Result<Sender, hyper::Error> {
    let (sender, connection) = http2::Builder::new(executor.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval((pings == Pings::Sent).then_some(KEEPALIVE_EVERY))
        .keep_alive_timeout(KEEPALIVE_ANSWER_MAX)
        .keep_alive_while_idle(true)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_stream_window_size(RECEIVE_BYTES_MAX)
        .initial_connection_window_size(RECEIVE_CONNECTION_BYTES_MAX)
        .handshake(TokioIo::new(io))
        .await?;
    executor.spawn(async {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "HTTP/2 to a Gitaly ended");
        }
    });
    Ok(sender)
}

// === impl Transport ===

impl Transport {
    pub(super) fn lazy(mux: Mux, executor: Executor) -> Self {
        Self::Lazy(Lazy { mux, executor, sender: Mutex::new(None) })
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Ready(sender) => !sender.is_closed(),
            Self::Lazy(lazy) => lazy.mux.is_open(),
        }
    }

    pub(super) async fn sender(&self) -> Result<Sender, Status> {
        match self {
            Self::Ready(sender) => Ok(sender.clone()),
            Self::Lazy(lazy) => lazy.sender().await,
        }
    }
}

// === impl Lazy ===

impl Lazy {
    async fn sender(&self) -> Result<Sender, Status> {
        let mut known = self.sender.lock().await;
        if let Some(sender) = known.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = self.mux.open().await.map_err(|error| unavailable(&error))?;
        let sender = handshake(stream, &self.executor, Pings::None)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(known.insert(sender).clone())
    }
}

// === impl Client ===

impl Service<Request<Body>> for Client {
    type Response = Response<Replies>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let inner = Rc::clone(&self.inner);
        Box::pin(async move {
            complete(&mut request, inner.secret.as_ref())?;
            let mut sender = inner.transport.sender().await?;
            let response =
                sender.send_request(request).await.map_err(|error| unavailable(&error))?;
            let into_status: fn(hyper::Error) -> Status = |error| unavailable(&error);
            Ok(response.map(|body| body.map_err(into_status)))
        })
    }
}

/// tonic leaves scheme and authority to the transport; HTTP/2 wants both, servers look at neither.
pub(super) fn complete(request: &mut Request<Body>, secret: Option<&Secret>) -> Result<(), Status> {
    if let Some(secret) = secret {
        request.headers_mut().insert(AUTHORIZATION, authorization(secret)?);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme("http").authority("localhost").path_and_query(path).build();
    *request.uri_mut() = uri.map_err(|error| Status::internal(error.to_string()))?;
    Ok(())
}

fn authorization(secret: &Secret) -> Result<HeaderValue, Status> {
    // A clock before 1970 is refused by the server as too old.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let value = token::sign(secret, i64::try_from(now).unwrap_or(i64::MAX));
    HeaderValue::try_from(value).map_err(|error| Status::internal(error.to_string()))
}

/// A call that the connection failed: one with a fresh connection may succeed.
fn unavailable(error: &dyn std::error::Error) -> Status {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Status::unavailable(message)
}
