//! From a request to the head of its answer.

use super::Gateway;
use super::body::{self, Answer, FetchBody, Ledger};
use super::chunk::Chunk;
use super::input::HttpInput;
use super::refusal::Refusal;
use super::request::{self, Asked};
use super::watch::Watch;
use crate::reactor::children::Account;
use crate::rpc::access_log::{Record, correlation_id};
use crate::rpc::fetch;
use crate::rpc::wire::{Call, Operation, Version};
use crate::storage::Opened;
use bytes::Bytes;
use gitring_daemon::listener::Peer;
use gitring_daemon::log;
use gitring_git::refs::Namespace;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPIRES, HeaderValue, PRAGMA, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What git http-backend writes before an advertisement of version 0 or 1: a pkt-line and a
/// flush packet.
const SERVICE: &[u8] = b"001e# service=git-upload-pack\n0000";

/// Serves one request.
pub(super) async fn answer(
    gateway: Rc<Gateway>,
    request: Request<Incoming>,
    peer: Peer,
    watch: Rc<Watch>,
) -> Result<Response<Answer>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut ledger = Ledger {
        record: record(&gateway, &parts, peer),
        metrics: gateway.metrics.clone(),
        _active: watch.begin(),
    };
    Ok(match serve(&gateway, &parts, body, &watch, &mut ledger).await {
        Ok(Served::Head(kind)) => head(kind, Answer::text(Bytes::new(), ledger)),
        Ok(Served::Body(kind, body)) => {
            ledger.record.status = StatusCode::OK.as_u16();
            head(kind, Answer::fetch(body, ledger))
        }
        Err(refusal) => refuse(refusal, ledger),
    })
}

enum Served {
    Head(&'static str),
    Body(&'static str, FetchBody),
}

async fn serve(
    gateway: &Rc<Gateway>,
    parts: &Parts,
    body: Incoming,
    watch: &Watch,
    ledger: &mut Ledger,
) -> Result<Served, Refusal> {
    let asked = request::parse(parts)?;
    let record = &mut ledger.record;
    record.operation = request::name(asked.operation);
    record.path = Some(asked.repository.as_str().to_owned());
    record.version = Some(asked.version);
    let opened = gateway.repositories.open(&gateway.config.storage, &asked.repository);
    let opened = opened.await.map_err(|error| {
        record.error = Some(log::chain(&error));
        Refusal::of_open(&error)
    })?;
    let kind = match asked.operation {
        Operation::AdvertiseRefs => "application/x-git-upload-pack-advertisement",
        Operation::UploadPack => "application/x-git-upload-pack-result",
    };
    if asked.head_only {
        record.status = StatusCode::OK.as_u16();
        return Ok(Served::Head(kind));
    }
    let prefix = match (asked.operation, asked.version) {
        (Operation::AdvertiseRefs, Version::V0 | Version::V1) => SERVICE,
        (Operation::AdvertiseRefs, Version::V2) | (Operation::UploadPack, _) => &[],
    };
    let input = HttpInput::new(body, asked.gzip, &gateway.config.limits);
    let account = Account::new("http", record.operation, record.correlation_id.clone());
    let account = record.account.insert(Arc::new(account));
    let call = call(opened, &asked, Arc::clone(account));
    let (fetch, chunks) = start(Rc::clone(gateway), call, input);
    match FetchBody::begin(fetch, chunks, prefix, watch.body(), ledger).await {
        Ok(body) => Ok(Served::Body(kind, body)),
        Err(error) => {
            ledger.record.error = Some(log::chain(&error));
            Err(Refusal::of_fetch(&error))
        }
    }
}

fn call(opened: Opened, asked: &Asked, account: Arc<Account>) -> Call {
    Call {
        repository: opened.repository,
        snapshot: opened.snapshot,
        operation: asked.operation,
        version: asked.version,
        stateless: true,
        nested: false,
        options: Vec::new(),
        namespace: Namespace::default(),
        account,
    }
}

fn start(
    gateway: Rc<Gateway>,
    call: Call,
    mut input: HttpInput,
) -> (body::Fetch, tokio::sync::mpsc::Receiver<Chunk>) {
    let (mut output, chunks) = body::channel();
    let fetch = async move { fetch::serve(&gateway.services, call, &mut input, &mut output).await };
    (Box::pin(fetch), chunks)
}

fn record(gateway: &Gateway, parts: &Parts, peer: Peer) -> Record {
    let given =
        ["x-request-id", "x-correlation-id"].iter().find_map(|name| parts.headers.get(*name));
    Record {
        peer,
        method: parts.method.to_string(),
        operation: "other",
        correlation_id: correlation_id(given.map(HeaderValue::as_bytes)),
        storage: gateway.config.storage.to_string(),
        path: None,
        version: None,
        status: 0,
        response_bytes: 0,
        account: None,
        pack: None,
        error: None,
        complete: false,
        began: Instant::now(),
        began_at: SystemTime::now(),
    }
}

/// The headers of an answer that git reads; no proxy may keep it.
fn head(kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let never = "no-cache, max-age=0, must-revalidate";
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(never));
    headers.insert(EXPIRES, HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn refuse(refusal: Refusal, mut ledger: Ledger) -> Response<Answer> {
    ledger.record.status = refusal.status.as_u16();
    ledger.record.error.get_or_insert_with(|| refusal.text.clone());
    let text = Bytes::from(refusal.text + "\n");
    let mut response = head("text/plain; charset=utf-8", Answer::text(text, ledger));
    *response.status_mut() = refusal.status;
    if let Some(allow) = refusal.allow {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
