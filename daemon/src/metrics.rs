//! The metrics of a process and the endpoint that serves them.
//!
//! Always true: the endpoint has a thread of its own, so that it answers while the service is
//! busy, and reading `/proc` for the process's figures stalls nobody.
//! Never here: which metrics there are; each owner registers its own.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, Registry, TextEncoder};
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Scrapers served at once; a further one waits in the listener's backlog.
const CONNECTIONS_MAX: usize = 16;
/// A scraper that is silent for longer loses its connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A registry with the figures of this process in it: CPU, memory, file descriptors, start time.
pub fn registry() -> Registry {
    let registry = Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).expect("the first collector has no rival for its names");
    registry
}

/// The endpoint of this process.
#[derive(Debug)]
pub struct Endpoint {
    open: watch::Sender<bool>,
}

/// Serves `GET /metrics` on `listener` until the endpoint is closed or the process ends.
pub fn serve(listener: TcpListener, registry: Registry) -> io::Result<Endpoint> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (open, closing) = watch::channel(true);
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || runtime.block_on(accept(listener, registry, closing)))?;
    Ok(Endpoint { open })
}

// === impl Endpoint ===

impl Endpoint {
    /// Another process answers from now on: scrapers must not meet this one any more, on
    /// connections that they keep neither.
    pub fn close(&self) {
        self.open.send_replace(false);
    }
}

/// Returns once the endpoint was closed, and never if it was only dropped.
async fn closed(mut closing: watch::Receiver<bool>) {
    if closing.wait_for(|open| !open).await.is_err() {
        std::future::pending().await
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    registry: Registry,
    closing: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closed(closing.clone()) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept on the metrics listener");
                // Out of file descriptors: trying again at once would only burn the CPU.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (registry, closing) = (registry.clone(), closing.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &registry);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut serving = pin!(
                hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(SILENCE_MAX)
                    .serve_connection(TokioIo::new(stream), service)
            );
            tokio::select! {
                // A scraper that breaks off is of no interest to anyone.
                _ = serving.as_mut() => {}
                () = closed(closing) => {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            }
            drop(permit);
        });
    }
    // The listener goes now; what is being answered, with the last connection.
    drop(listener);
    let _ = permits.acquire_many(CONNECTIONS_MAX as u32).await;
}

fn answer<B>(request: &Request<B>, registry: &Registry) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return text(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed\n");
    }
    let mut body = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut body) {
        Ok(()) => text(StatusCode::OK, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
