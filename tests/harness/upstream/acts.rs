//! What the Gitaly behind a node can do.
//!
//! Never here: connections, tokens.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use gitring_daemon::mux::Mux;
use gitring_daemon::sidechannel::{self, OPENING_MAX};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tonic::body::Body;
use tonic::{Code, Status};

use super::{DETAILS, Inner, LONG_TRAILER_BYTES};

/// A body that a task fills, one frame ahead.
struct Filled(mpsc::Receiver<Frame<Bytes>>);

/// An answer that `work` fills, and its status.
pub(super) fn filled<F: Future<Output = Status> + 'static>(
    work: impl FnOnce(mpsc::Sender<Frame<Bytes>>) -> F,
) -> Response<Body> {
    let (sender, frames) = mpsc::channel(1);
    let work = work(sender.clone());
    spawn_local(async move {
        let status = tokio::select! {
            status = work => status,
            () = sender.closed() => return,
        };
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).expect("a status can be written");
        if status.code() != Code::Ok {
            let long = "x".repeat(LONG_TRAILER_BYTES);
            trailers.insert("long", HeaderValue::try_from(long).expect("ASCII"));
        }
        drop(sender.send(Frame::trailers(trailers)).await);
    });
    let mut response = Response::new(Body::new(Filled(frames)));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response.headers_mut().insert("served-by", HeaderValue::from_static("upstream"));
    response
}

pub(super) async fn echo(mut body: Incoming, frames: mpsc::Sender<Frame<Bytes>>) -> Status {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Status::cancelled("the client left") };
        // A peer that sends many empty frames is a flood to some.
        if frame.data_ref().is_some_and(|data| data.is_empty()) {
            continue;
        }
        drop(frames.send(frame).await);
    }
    Status::new(Code::Ok, "")
}

pub(super) async fn count(mut body: Incoming) -> u64 {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    bytes
}

pub(super) async fn send(
    inner: Rc<Inner>,
    frames: mpsc::Sender<Frame<Bytes>>,
    bytes: usize,
) -> Status {
    let piece = vec![b'p'; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        drop(frames.send(message(&piece[..now])).await);
        inner.sent_bytes.set(inner.sent_bytes.get() + now as u64);
        left -= now;
    }
    Status::new(Code::Ok, "")
}

pub(super) fn message(payload: &[u8]) -> Frame<Bytes> {
    let mut whole = BytesMut::with_capacity(5 + payload.len());
    whole.put_u8(0);
    whole.put_u32(u32::try_from(payload.len()).expect("a short message"));
    whole.put_slice(payload);
    Frame::data(whole.freeze())
}

pub(super) fn refusal() -> Status {
    let details = Bytes::from_static(DETAILS);
    Status::with_details(Code::FailedPrecondition, "it does not fit", details)
}

fn talked(outcome: Result<(), String>) -> Response<Body> {
    match outcome {
        Ok(()) => filled(|_| async { Status::new(Code::Ok, "") }),
        Err(error) => Status::internal(error).into_http(),
    }
}

pub(super) async fn echo_sidechannel(mux: &Mux, headers: &HeaderMap) -> Response<Body> {
    talked(echo_over(mux, headers).await)
}

pub(super) async fn fill_sidechannel(mux: &Mux, headers: &HeaderMap) -> Response<Body> {
    talked(fill(mux, headers).await)
}

async fn echo_over(mux: &Mux, headers: &HeaderMap) -> Result<(), String> {
    let id = text(headers, "gitaly-sidechannel-id").parse().map_err(|_| "no sidechannel id")?;
    let opened = sidechannel::open(mux, id, OPENING_MAX).await;
    let mut end = opened.map_err(|error| error.to_string())?;
    let (mut reader, mut writer) = end.split();
    let mut heard = Vec::new();
    while let Some(data) = reader.read().await.map_err(|error| error.to_string())? {
        heard.push(data);
    }
    writer.write_all(&mut heard).await.map_err(|error| error.to_string())?;
    end.close().await.map_err(|error| error.to_string())
}

async fn fill(mux: &Mux, headers: &HeaderMap) -> Result<(), String> {
    let id = text(headers, "gitaly-sidechannel-id").parse().map_err(|_| "no sidechannel id")?;
    let opened = sidechannel::open(mux, id, OPENING_MAX).await;
    let mut end = opened.map_err(|error| error.to_string())?;
    let data = Bytes::from(vec![b's'; number(headers, "bytes")]);
    end.split().1.write(data).await.map_err(|error| error.to_string())?;
    end.close().await.map_err(|error| error.to_string())
}

pub(super) fn text<'h>(headers: &'h HeaderMap, key: &str) -> &'h str {
    headers.get(key).map_or("", |value| value.to_str().expect("ASCII"))
}

pub(super) fn number(headers: &HeaderMap, key: &str) -> usize {
    text(headers, key).parse().expect("a number")
}

impl HttpBody for Filled {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
