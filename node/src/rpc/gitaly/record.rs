//! The access log: one line per call, with Gitaly's field names, written when the call's last
//! byte has left or its client has.

use super::call::Called;
use crate::rpc::access_log::millis;
use crate::rpc::wire::Summary;
use gitring_daemon::listener::Peer;
use gitring_daemon::log;
use gitring_proto::gitaly::Repository;
use std::time::{Duration, Instant, SystemTime};
use tonic::Code;

/// What is known of a call so far. Dropping it writes the line.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) called: Called,
    pub(super) peer: Peer,
    pub(super) client: Client,
    pub(super) correlation_id: String,
    /// From the beginning of the call.
    pub(super) time_limit: Option<Duration>,
    pub(super) repository: Option<Repository>,
    pub(super) storage: Option<String>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) git_protocol: Option<&'static str>,
    /// What a fetch cost.
    pub(super) summary: Option<Summary>,
    /// Until the call has ended: nobody waits for it any more.
    pub(super) code: Code,
    pub(super) error: Option<String>,
    pub(super) began: Instant,
    pub(super) began_at: SystemTime,
}

/// What clients say of themselves; `unknown` where they say nothing, as in Gitaly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) call_site: String,
    pub(super) auth_version: String,
    pub(super) deadline_type: String,
    pub(super) remote_ip: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) username: Option<String>,
}

/// The message of a line: Gitaly's, for those who search for it.
fn message(record: &Record) -> String {
    let kind = if record.called.is_unary { "unary" } else { "streaming" };
    format!("finished {kind} call with code {}", name(record.code))
}

/// A status code as Go's gRPC spells it.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// One event with the fields of a record.
macro_rules! line {
    ($level:expr, $record:expr) => {{
        let record: &Record = $record;
        let repository = record.repository.as_ref();
        let summary = record.summary.as_ref();
        tracing::event!(
            $level,
            system = "grpc",
            span.kind = "server",
            correlation_id = record.correlation_id.as_str(),
            peer.address = %record.peer,
            remote_ip = record.client.remote_ip.as_deref(),
            user_id = record.client.user_id.as_deref(),
            username = record.client.username.as_deref(),
            grpc.service = &*record.called.service,
            grpc.method = &*record.called.method,
            grpc.code = name(record.code),
            grpc.start_time = log::timestamp(record.began_at).as_str(),
            grpc.time_ms = millis(record.began.elapsed()),
            grpc.request.deadline =
                record.time_limit.map(|limit| log::timestamp(record.began_at + limit)),
            grpc.request.fullMethod = &*record.called.path,
            grpc.request.repoStorage = repository.map(|repository| repository.storage_name.as_str()),
            grpc.request.repoPath = repository.map(|repository| repository.relative_path.as_str()),
            grpc.request.glRepository =
                repository.map(|repository| repository.gl_repository.as_str()),
            grpc.request.glProjectPath =
                repository.map(|repository| repository.gl_project_path.as_str()),
            grpc.request.StorageName = record.storage.as_deref(),
            grpc.request.payload_bytes = record.request_bytes,
            grpc.response.payload_bytes = record.response_bytes,
            grpc.meta.client_name = record.client.name.as_str(),
            grpc.meta.call_site = record.client.call_site.as_str(),
            grpc.meta.auth_version = record.client.auth_version.as_str(),
            grpc.meta.deadline_type = record.client.deadline_type.as_str(),
            grpc.meta.method_type = record.called.kind,
            grpc.meta.method_operation = record.called.operation,
            grpc.meta.method_scope = record.called.scope,
            git_protocol = record.git_protocol,
            response_bytes = summary.map(|summary| summary.response_bytes),
            command.count = summary.map(|summary| u64::from(summary.children)),
            command.cpu_time_ms = summary.map(|summary| millis(summary.child_cpu)),
            error = record.error.as_deref(),
            "{}",
            message(record)
        );
    }};
}

// === impl Record ===

impl Record {
    /// Levels as go-grpc-middleware gives them to codes.
    fn write(&self) {
        match self.code {
            Code::Ok
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Unauthenticated => line!(tracing::Level::INFO, self),
            Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable => line!(tracing::Level::WARN, self),
            Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                line!(tracing::Level::ERROR, self);
            }
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // Gitaly's default for GITALY_LOG_REQUEST_METHOD_DENY_PATTERN: load balancers ask often.
        if &*self.called.path != "/grpc.health.v1.Health/Check" {
            self.write();
        }
    }
}
