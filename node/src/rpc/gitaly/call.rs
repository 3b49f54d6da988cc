//! One call, from its headers to its answer.

pub(super) mod auth;
mod client;
pub(super) mod context;
mod deadline;
mod limiting;
pub(super) mod metrics;
pub(super) mod observed;
pub(super) mod record;

use self::client::{Client, NAME_BYTES_MAX};
use self::context::{Carried, Context};
use self::observed::{Answer, End, Request as ObservedRequest};
use self::record::Record;
use super::Gitaly;
use super::connection::Connection;
use super::routes;
use crate::reactor::children::Account;
use crate::rpc::access_log::correlation_id;
use gitring_daemon::listener::Peer;
use gitring_daemon::otlp::{TRACEPARENT, Trace};
use gitring_proto::methods::{self, Operation, Scope};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use send_wrapper::SendWrapper;
use std::borrow::Cow;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tonic::{Code, Status};

/// The call that everybody may make: load balancers have no token.
const OPEN_METHOD: &str = "/grpc.health.v1.Health/Check";

/// Methods that are not Gitaly's: path and kind.
const FOREIGN_METHODS: &[(&str, &str)] = &[
    ("/grpc.health.v1.Health/Check", "unary"),
    ("/grpc.health.v1.Health/Watch", "server_stream"),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "bidi_stream"),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "bidi_stream"),
];

/// Which method was called, in the words of metrics and log.
#[derive(Debug, Clone)]
pub(super) struct Called {
    pub(super) path: Cow<'static, str>,
    pub(super) service: Cow<'static, str>,
    pub(super) method: Cow<'static, str>,
    /// The path, where the method exists.
    pub(super) known: Option<&'static str>,
    /// `unary`, `client_stream`, `server_stream`, `bidi_stream`
    pub(super) kind: &'static str,
    pub(super) is_unary: bool,
    pub(super) operation: &'static str,
    pub(super) scope: &'static str,
}

/// Answers one request. An error cannot happen: every failure is a status.
pub(super) async fn answer(
    gitaly: Rc<Gitaly>,
    request: Request<Incoming>,
    connection: Rc<Connection>,
) -> Result<Response<Answer>, Infallible> {
    let (parts, body) = request.into_parts();
    let trace = gitaly.tracer.begin(parts.headers.get(TRACEPARENT).map(HeaderValue::as_bytes));
    let record = record(&parts, connection.peer, trace);
    let series = gitaly.series.begin(&record.called);
    let time_limit = record.time_limit;
    let context = Rc::new(Context::new(record, &parts.headers, &connection));
    let mut end = End {
        gitaly: Rc::clone(&gitaly),
        context: Rc::clone(&context),
        series: series.clone(),
        expiry: None,
    };
    let observed = ObservedRequest::new(body, Rc::clone(&context), series.clone());
    let mut deadline = time_limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
    let response = {
        let serving = serve(&gitaly, parts, observed, &context);
        match &mut deadline {
            None => serving.await,
            Some(deadline) => tokio::select! {
                biased;
                response = serving => response,
                () = deadline => {
                    Status::deadline_exceeded("context deadline exceeded").into_http()
                }
            },
        }
    };
    let (head, body) = response.into_parts();
    let status = Status::from_header_map(&head.headers);
    if let Some(status) = &status {
        context.record.borrow_mut().end(status);
    }
    end.expiry = context.expiry();
    let answer = Answer::new(body, context, series, deadline, end);
    let answer = if status.is_some() { answer.ended() } else { answer };
    Ok(Response::from_parts(head, answer))
}

async fn serve(
    gitaly: &Gitaly,
    parts: Parts,
    body: ObservedRequest,
    context: &Rc<Context>,
) -> Response<tonic::body::Body> {
    let called = context.record.borrow().called.clone();
    let given = parts.headers.get("grpc-timeout");
    if given.is_some_and(|value| deadline::parse(value.as_bytes()).is_none()) {
        return Status::internal("malformed grpc-timeout").into_http();
    }
    if called.path != OPEN_METHOD {
        let token = parts.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        if let Err(status) = gitaly.auth.check(token) {
            return status.into_http();
        }
    }
    let mut body = body;
    let admission = match limiting::admit(&gitaly.limits, context, &mut body).await {
        Ok(admission) => admission,
        Err(status) => return status.into_http(),
    };
    // Of a stream until the end of what fills it, else until there is an answer, as in Gitaly.
    let _admission = match called.kind {
        "server_stream" | "bidi_stream" => {
            context.hold(admission);
            None
        }
        _ => admission,
    };
    if let Some(upstream) = &gitaly.upstream
        && !routes::is_built(parts.uri.path())
    {
        return upstream.pass(parts, body, context).await;
    }
    let mut request = Request::from_parts(parts, body);
    request.extensions_mut().insert(Carried(SendWrapper::new(Rc::clone(context))));
    let response = gitaly.routes.call(&called.service, request).await;
    match Status::from_header_map(response.headers()) {
        // The words of Go's gRPC; tonic has none, or others.
        Some(status) if status.code() == Code::Unimplemented && !status_is_ours(&status) => {
            let (service, method) = (&called.service, &called.method);
            let text = match called.known {
                Some(_) => format!("method {method} of service {service} is not built yet"),
                None if methods::all().iter().any(|method| method.service == service) => {
                    format!("unknown method {method} for service {service}")
                }
                None => format!("unknown service {service}"),
            };
            Status::unimplemented(text).into_http()
        }
        Some(status) if is_too_long(&status) => {
            let text = "grpc: received message larger than max";
            Status::resource_exhausted(text).into_http()
        }
        Some(_) | None => response,
    }
}

/// Whether the client's message exceeds what tonic was told to take; Go has another code for it.
fn is_too_long(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("message length too large")
}

/// Whether a handler of ours gave the reason.
fn status_is_ours(status: &Status) -> bool {
    !matches!(status.message(), "" | "Not yet implemented")
}

fn record(parts: &Parts, peer: Peer, trace: Option<Trace>) -> Record {
    let headers = &parts.headers;
    let given = headers.get("x-gitlab-correlation-id");
    let time_limit =
        headers.get("grpc-timeout").and_then(|value| deadline::parse(value.as_bytes()));
    let called = Called::of(parts.uri.path());
    // Methods that do not exist start no children.
    let fixed = |name: &Cow<'static, str>| match name {
        Cow::Borrowed(name) => *name,
        Cow::Owned(_) => "unknown",
    };
    let (service, method) = (fixed(&called.service), fixed(&called.method));
    let correlation_id = correlation_id(given.map(|value| value.as_bytes()));
    Record {
        called,
        peer,
        client: Client::of(headers, time_limit.is_some()),
        account: Arc::new(Account::new(service, method, correlation_id).traced(trace)),
        time_limit,
        repository: None,
        storage: None,
        request_bytes: 0,
        response_bytes: 0,
        git_protocol: None,
        pack: None,
        limit: None,
        upstream: None,
        code: Code::Cancelled,
        error: Some("the client left".into()),
        began: Instant::now(),
        began_at: SystemTime::now(),
    }
}

// === impl Called ===

impl Called {
    fn of(path: &str) -> Self {
        if let Some(method) = methods::find(path) {
            let kind = match (method.client_streaming, method.server_streaming) {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            };
            return Self {
                path: method.path.into(),
                service: method.service.into(),
                method: method.name.into(),
                known: Some(method.path),
                kind,
                is_unary: kind == "unary",
                operation: match method.operation {
                    Operation::Accessor => "accessor",
                    Operation::Mutator => "mutator",
                    Operation::Maintenance => "maintenance",
                    Operation::Unspecified => "unknown",
                },
                scope: match method.scope {
                    Scope::Repository => "repository",
                    Scope::Storage => "storage",
                    Scope::Partition => "unknown",
                },
            };
        }
        let foreign = FOREIGN_METHODS.iter().find(|(known, _)| *known == path);
        let kind = foreign.map_or("unary", |(_, kind)| *kind);
        // Whatever it is, it goes to the log.
        let path = path.get(..NAME_BYTES_MAX).unwrap_or(path);
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        Self {
            service: service.to_owned().into(),
            method: method.to_owned().into(),
            known: foreign.map(|(path, _)| *path),
            path: path.to_owned().into(),
            kind,
            is_unary: kind == "unary",
            operation: "unknown",
            scope: "unknown",
        }
    }
}
