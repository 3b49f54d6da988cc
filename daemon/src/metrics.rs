//! The metrics of a process and the endpoint that serves them, and beside them the status page.
//!
//! Always true:
//! - the endpoint has a thread of its own, so that it answers while the service is busy, and
//!   reading `/proc` for the process's figures stalls nobody;
//! - however often it is asked, page and JSON are made at most a few times a second.
//!
//! Never here: which metrics and sections there are; each owner registers its own. Profiles: they
//! would show memory to whoever reaches the port.

use crate::status::{Status, html, json};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, IntGauge, Opts, Registry, TextEncoder};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;

/// Scrapers and browsers served at once; a further one waits in the listener's backlog.
const CONNECTIONS_MAX: usize = 16;
/// Whoever is silent for longer loses the connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// So long a connection lasts, whatever it is used for: a reader that does not read ends.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// For an answer that is under way when the endpoint closes.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(10);
/// What a request's line and headers may take: more than any browser sends.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// How old a page may be: a crowd of browsers costs no more than four pages a second.
const PAGE_AGE_MAX: Duration = Duration::from_millis(250);

/// Headers of every answer. Nothing is loaded, nothing is sent, nobody frames the page.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// What the endpoint answers from.
struct Desk {
    registry: Registry,
    status: Status,
    /// The last page and the last JSON.
    kept: RefCell<[Option<(Instant, Bytes)>; 2]>,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Document {
    Metrics,
    Page,
    Json,
}

/// A registry with the figures of this process in it: CPU, memory, file descriptors, start time.
pub fn registry() -> Registry {
    let registry = Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).expect("the first collector has no rival for its names");
    registry
}

/// Registers what GitLab's services say of their version. `built`, the time of the build, is empty:
/// two builds of one source are the same.
pub fn build_info(registry: &Registry, version: &str, git_version: &str) {
    let opts = Opts::new("gitlab_build_info", "Version of this service, always 1.")
        .const_label("version", version)
        .const_label("built", "")
        .const_label("git_version", git_version);
    let gauge = IntGauge::with_opts(opts).expect("name and labels are valid");
    gauge.set(1);
    registry.register(Box::new(gauge)).expect("registered once a registry");
}

/// The endpoint of this process.
#[derive(Debug)]
pub struct Endpoint {
    open: watch::Sender<bool>,
}

/// Serves `GET /metrics`, `GET /` and `GET /status.json` on `listener` until the endpoint is closed
/// or the process ends.
pub fn serve(listener: TcpListener, registry: Registry, status: Status) -> io::Result<Endpoint> {
    let (open, closing) = watch::channel(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        let desk = Rc::new(Desk { registry, status, kept: RefCell::default() });
        LocalSet::new().block_on(&runtime, accept(listener, desk, closing));
    })?;
    Ok(Endpoint { open })
}

// === impl Endpoint ===

impl Endpoint {
    /// Another process answers from now on: nobody must meet this one any more, on connections that
    /// are kept neither.
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

async fn accept(listener: tokio::net::TcpListener, desk: Rc<Desk>, closing: watch::Receiver<bool>) {
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
        let (desk, closing) = (Rc::clone(&desk), closing.clone());
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let answer = desk.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut serving = pin!(
                hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(SILENCE_MAX)
                    .max_buf_size(HEADERS_BYTES_MAX)
                    .serve_connection(TokioIo::new(stream), service)
            );
            tokio::select! {
                // A scraper that breaks off is of no interest to anyone.
                _ = serving.as_mut() => {}
                () = tokio::time::sleep(CONNECTION_MAX) => {}
                () = closed(closing) => {
                    serving.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(LAST_ANSWER_MAX, serving).await;
                }
            }
            drop(permit);
        });
    }
    // The listener goes now; what is being answered, with the last connection.
    drop(listener);
    let _ = permits.acquire_many(CONNECTIONS_MAX as u32).await;
}

// === impl Desk ===

impl Desk {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let document = match request.uri().path() {
            "/metrics" => Document::Metrics,
            "/" => Document::Page,
            "/status.json" => Document::Json,
            _ => {
                let text = "metrics are at /metrics, the status at / and /status.json\n";
                return respond(StatusCode::NOT_FOUND, None, text);
            }
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, None, "only GET is allowed\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match document {
            Document::Metrics => match self.metrics() {
                Ok(text) => respond(StatusCode::OK, Some(document), text),
                Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string()),
            },
            Document::Page | Document::Json => {
                respond(StatusCode::OK, Some(document), self.status(document))
            }
        }
    }

    fn metrics(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut body = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut body)?;
        Ok(body)
    }

    fn status(&self, document: Document) -> Bytes {
        let mut kept = self.kept.borrow_mut();
        let place = &mut kept[usize::from(document == Document::Json)];
        if let Some((made, text)) = place
            && made.elapsed() < PAGE_AGE_MAX
        {
            return text.clone();
        }
        let report = self.status.read();
        let text = match document {
            Document::Json => json::document(&report),
            Document::Page | Document::Metrics => html::page(&report),
        };
        let text = Bytes::from(text);
        *place = Some((Instant::now(), text.clone()));
        text
    }
}

/// Plain text where it is no document.
fn respond(
    status: StatusCode,
    document: Option<Document>,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = match document {
        Some(Document::Metrics) => "text/plain; version=0.0.4; charset=utf-8",
        Some(Document::Page) => "text/html; charset=utf-8",
        Some(Document::Json) => "application/json",
        None => "text/plain; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
