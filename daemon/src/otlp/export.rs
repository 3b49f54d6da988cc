//! The thread that sends spans.
//!
//! Always true: one batch at a time, on a connection of its own, within `SEND_MAX`; a batch that is
//! not taken is not sent again.
//! Never here: retries, which would need memory for as long as a collector is away.

use super::message::{
    ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
};
use super::{Attribute, Protocol, Settings, Shared};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, TE};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Values of the label `result`.
pub(super) const SENT: &str = "sent";
pub(super) const LOST: &str = "lost";
/// Between two batches.
const PAUSE: Duration = Duration::from_secs(1);
/// In one batch.
const BATCH_SPANS: usize = 512;
/// From the connection to the answer.
const SEND_MAX: Duration = Duration::from_secs(10);
/// Of an answer, which says next to nothing.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Between two complaints about a collector that is away.
const SILENCE: Duration = Duration::from_secs(60);
const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("connect")]
    Connect(#[source] io::Error),
    #[error("talk to the collector")]
    Talk(#[from] hyper::Error),
    #[error("a header cannot be sent")]
    Header,
    #[error("read the answer: {0}")]
    Answer(String),
    #[error("the collector answers {0}")]
    Refused(String),
    #[error("no answer within {} s", SEND_MAX.as_secs())]
    Timeout,
}

/// Sends until the process ends.
pub(super) fn start(shared: Arc<Shared>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("otlp".to_owned()).spawn(move || {
        runtime.block_on(send_all(&shared));
    })?;
    Ok(())
}

async fn send_all(shared: &Shared) {
    let mut complained: Option<Instant> = None;
    loop {
        let batch = shared.take();
        if batch.is_empty() {
            sleep(PAUSE).await;
            continue;
        }
        let spans = batch.len() as u64;
        let sent = timeout(SEND_MAX, send(&shared.settings, batch)).await;
        match sent.unwrap_or(Err(SendError::Timeout)) {
            Ok(()) => shared.spans.with_label_values(&[SENT]).inc_by(spans),
            Err(error) => {
                shared.spans.with_label_values(&[LOST]).inc_by(spans);
                if complained.is_none_or(|at| at.elapsed() >= SILENCE) {
                    complained = Some(Instant::now());
                    let error = crate::log::chain(&error);
                    tracing::warn!(error, "spans were lost: the collector does not take them");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    fn take(&self) -> Vec<Span> {
        let mut queue = self.lock();
        let count = queue.len().min(BATCH_SPANS);
        queue.drain(..count).collect()
    }
}

async fn send(settings: &Settings, spans: Vec<Span>) -> Result<(), SendError> {
    let message = request(settings, spans).encode_to_vec();
    let address = (settings.host.as_str(), settings.port);
    let socket = TcpStream::connect(address).await.map_err(SendError::Connect)?;
    match &settings.protocol {
        Protocol::Http(path) => over_http(settings, path, socket, message).await,
        Protocol::Grpc => over_grpc(settings, socket, &message).await,
    }
}

fn request(settings: &Settings, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let text = |key, value: &str| KeyValue::from((key, Attribute::Text(value.to_owned())));
    let pid = Attribute::Number(std::process::id().into());
    let attributes =
        vec![text("service.name", &settings.service_name), KeyValue::from(("process.pid", pid))];
    let scope_spans = vec![ScopeSpans { spans }];
    let resource = Some(Resource { attributes });
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
}

/// OTLP/HTTP: the message is the body.
async fn over_http(
    settings: &Settings,
    path: &str,
    socket: TcpStream,
    message: Vec<u8>,
) -> Result<(), SendError> {
    let mut post = Request::post(path).body(Full::new(Bytes::from(message)));
    let post = post.as_mut().map_err(|_| SendError::Header)?;
    headers(settings, post.headers_mut(), "application/x-protobuf")?;
    let host = format!("{}:{}", settings.host, settings.port);
    let host = HeaderValue::from_str(&host).map_err(|_| SendError::Header)?;
    post.headers_mut().insert(HOST, host);
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let asking = sender.send_request(std::mem::take(post));
    let answer = tokio::select! {
        answer = asking => answer?,
        ended = connection => {
            ended?;
            return Err(SendError::Answer("the connection ended".to_owned()));
        }
    };
    match answer.status() {
        StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(()),
        status => Err(SendError::Refused(status.to_string())),
    }
}

/// OTLP/gRPC: the message has five bytes before it, and the status stands in the trailers.
async fn over_grpc(
    settings: &Settings,
    socket: TcpStream,
    message: &[u8],
) -> Result<(), SendError> {
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(message);
    let url = format!("http://{}:{}{METHOD}", settings.host, settings.port);
    let mut post = Request::post(url).body(Full::new(body.freeze()));
    let post = post.as_mut().map_err(|_| SendError::Header)?;
    headers(settings, post.headers_mut(), "application/grpc")?;
    post.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
    let running = tokio::spawn(connection);
    let answered = answer(sender.send_request(std::mem::take(post)).await?).await;
    running.abort();
    answered
}

async fn answer(answer: Response<hyper::body::Incoming>) -> Result<(), SendError> {
    if answer.status() != StatusCode::OK {
        return Err(SendError::Refused(answer.status().to_string()));
    }
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| SendError::Answer(error.to_string()))?;
    let trailers = body.trailers().unwrap_or(&head.headers);
    match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        status => {
            let status = String::from_utf8_lossy(status.unwrap_or(b"without a status"));
            Err(SendError::Refused(format!("gRPC {status}")))
        }
    }
}

fn headers(
    settings: &Settings,
    headers: &mut HeaderMap,
    kind: &'static str,
) -> Result<(), SendError> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in &settings.headers {
        let name = name.to_ascii_lowercase();
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
        let mut value = HeaderValue::from_str(value).map_err(|_| SendError::Header)?;
        value.set_sensitive(true);
        headers.append(name.map_err(|_| SendError::Header)?, value);
    }
    Ok(())
}
