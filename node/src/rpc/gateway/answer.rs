//! From a request to the head of its answer.

use super::body::{self, Answer, GitBody, Ledger, ServeError, Serving};
use super::chunk::Chunk;
use super::input::HttpInput;
use super::refusal::Refusal;
use super::request::{self, Asked, Service};
use super::watch::Watch;
use super::{Gateway, Limits};
use crate::hooks::{Protocol, Pusher};
use crate::limits::{Admission, Caller, Claim, Known, Requester, repository_key};
use crate::reactor::children::Account;
use crate::rpc::access_log::{Record, correlation_id};
use crate::rpc::push::gate::Gate;
use crate::rpc::votes::Ballot;
use crate::rpc::wire::{Call, Operation};
use crate::rpc::{fetch, push};
use crate::storage::Opened;
use bytes::Bytes;
use gitring_daemon::listener::Peer;
use gitring_daemon::log;
use gitring_daemon::otlp::TRACEPARENT;
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
        spending: gateway.services.spending.clone(),
        _active: watch.begin(),
    };
    Ok(match serve(&gateway, &parts, body, &watch, &mut ledger).await {
        Ok(Served::Head(kind)) => head(kind, Answer::text(Bytes::new(), ledger)),
        Ok(Served::Body(kind, body)) => {
            ledger.record.status = StatusCode::OK.as_u16();
            head(kind, Answer::git(body, ledger))
        }
        Err(refusal) => refuse(refusal, ledger),
    })
}

/// A conversation and where its bytes come out.
type Started = (Serving, tokio::sync::mpsc::Receiver<Chunk>);

enum Served {
    Head(&'static str),
    Body(&'static str, GitBody),
}

async fn serve(
    gateway: &Rc<Gateway>,
    parts: &Parts,
    body: Incoming,
    watch: &Watch,
    ledger: &mut Ledger,
) -> Result<Served, Refusal> {
    let asked = request::parse(parts, gateway.config.receive_pack)?;
    let record = &mut ledger.record;
    record.operation = asked.service.name();
    record.path = Some(asked.repository.as_str().to_owned());
    record.version = Some(asked.version);
    let opened = gateway.repositories.open(&gateway.config.storage, &asked.repository);
    let opened = opened.await.map_err(|error| {
        record.error = Some(log::chain(&error));
        Refusal::of_open(&error)
    })?;
    let kind = asked.service.content_type();
    if asked.head_only {
        record.status = StatusCode::OK.as_u16();
        return Ok(Served::Head(kind));
    }
    let requester = Requester::of(Known { peer: record.peer.ip(), ..Known::default() });
    let admission = admit(gateway, &asked, &requester).await?;
    let prefix = asked.service.prefix(asked.version);
    let traceparent = parts.headers.get(TRACEPARENT).map(HeaderValue::as_bytes);
    let account = Account::new("http", record.operation, record.correlation_id.clone())
        .traced(gateway.services.tracer.begin(traceparent));
    account.is_about(&record.storage, &asked.repository.to_string());
    let account = Arc::clone(record.account.insert(Arc::new(account)));
    let input = input(body, &asked, &gateway.config.limits);
    let (serving, chunks) = match asked.service {
        Service::UploadPack(operation) => {
            let call = fetch_call(opened, operation, &asked, (account, requester));
            start_fetch(Rc::clone(gateway), call, input)
        }
        Service::ReceivePack(operation) => {
            let call = push_call(opened, operation, &asked, account);
            start_push(Rc::clone(gateway), call, input)
        }
    };
    let serving = Box::pin(async move {
        let _admission = admission;
        serving.await
    });
    match GitBody::begin(serving, chunks, prefix, watch.body(), ledger).await {
        Ok(body) => Ok(Served::Body(kind, body)),
        Err(error) => {
            ledger.record.error = Some(log::chain(&error));
            Err(match &error {
                ServeError::Fetch(error) => Refusal::of_fetch(error),
                ServeError::Push(error) => Refusal::of_push(error),
            })
        }
    }
}

/// Waits for the limits of the method that Workhorse would call for this.
async fn admit(
    gateway: &Gateway,
    asked: &Asked,
    requester: &Requester,
) -> Result<Option<Admission>, Refusal> {
    let Some(limit) = gateway.services.limits.method(asked.service.rpc()) else { return Ok(None) };
    let storage = gateway.config.storage.to_string();
    let key = repository_key(&storage, asked.repository.as_str());
    let claim = Claim { key, client: requester.client.clone() };
    let caller = Caller { claim, is_anonymous: requester.is_anonymous };
    let admitted = limit.admit(&caller).await;
    admitted.map(Some).map_err(|rejection| Refusal::of_limit(&rejection.refusal))
}

/// A pack that is pushed may be much longer than what clients say of themselves.
fn input(body: Incoming, asked: &Asked, limits: &Limits) -> HttpInput {
    let is_push = matches!(asked.service, Service::ReceivePack(_));
    let (body_bytes_max, inflated_bytes_max) = match is_push {
        true => (limits.push_bytes_max, limits.push_bytes_max),
        false => (limits.body_bytes_max, limits.inflated_bytes_max),
    };
    HttpInput::new(body, asked.gzip, &Limits { body_bytes_max, inflated_bytes_max, ..*limits })
}

fn fetch_call(
    opened: Opened,
    operation: Operation,
    asked: &Asked,
    (account, requester): (Arc<Account>, Requester),
) -> Call {
    Call {
        repository: opened.repository,
        snapshot: opened.snapshot,
        operation,
        version: asked.version,
        stateless: true,
        nested: false,
        options: Vec::new(),
        namespace: Namespace::default(),
        account,
        requester,
    }
}

/// Nobody is known here, so a GitLab that has to be asked refuses.
fn push_call(
    opened: Opened,
    operation: push::Operation,
    asked: &Asked,
    account: Arc<Account>,
) -> push::Call {
    push::Call {
        repository: opened.repository,
        snapshot: opened.snapshot,
        operation,
        version: asked.version,
        stateless: true,
        options: Vec::new(),
        namespace: Namespace::default(),
        account,
        gate: Gate::GitLab {
            pusher: Pusher { protocol: Protocol::Http, ..Pusher::nobody() },
            relative_path: asked.repository.to_string(),
        },
        ballot: Ballot::alone(),
        committer: None,
    }
}

fn start_fetch(gateway: Rc<Gateway>, call: Call, mut input: HttpInput) -> Started {
    let (mut output, chunks) = body::channel();
    let serving =
        async move { Ok(fetch::serve(&gateway.services, call, &mut input, &mut output).await?) };
    (Box::pin(serving), chunks)
}

fn start_push(gateway: Rc<Gateway>, call: push::Call, mut input: HttpInput) -> Started {
    let (mut output, chunks) = body::channel();
    let serving =
        async move { Ok(push::serve(&gateway.services, call, &mut input, &mut output).await?) };
    (Box::pin(serving), chunks)
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
        failed: false,
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
    ledger.record.failed = refusal.status.is_server_error();
    ledger.record.error.get_or_insert_with(|| refusal.text.clone());
    let text = Bytes::from(refusal.text + "\n");
    let mut response = head("text/plain; charset=utf-8", Answer::text(text, ledger));
    *response.status_mut() = refusal.status;
    if let Some(allow) = refusal.allow {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(retry_after) = refusal.retry_after {
        // Whole seconds (RFC 9110, 10.2.3), none of them too early.
        let seconds = retry_after.as_millis().div_ceil(1_000).max(1);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}
