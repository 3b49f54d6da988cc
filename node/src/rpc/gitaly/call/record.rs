//! The access log: one line per call, with Gitaly's field names, written when the call's last
//! byte has left or its client has. Before it, a line on what a finished fetch was.

use super::Called;
use super::client::{Client, known};
use crate::limits::{Passage, Reason};
use crate::reactor::children::Account;
use crate::rpc::access_log::{cost, millis, whole_millis};
use crate::rpc::wire::{PackServed, Summary};
use crate::spending::Charge;
use gitring_daemon::listener::Peer;
use gitring_daemon::log;
use gitring_daemon::otlp::{Attribute, Work};
use gitring_daemon::relay::Target;
use gitring_proto::gitaly::Repository;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tonic::{Code, Status};

/// What is known of a call so far. Dropping it writes the line.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Record {
    pub(in crate::rpc::gitaly) called: Called,
    pub(in crate::rpc::gitaly) peer: Peer,
    pub(in crate::rpc::gitaly) client: Client,
    /// What children cost; it also knows the correlation id.
    pub(in crate::rpc::gitaly) account: Arc<Account>,
    /// From the beginning of the call.
    pub(in crate::rpc::gitaly) time_limit: Option<Duration>,
    pub(in crate::rpc::gitaly) repository: Option<Repository>,
    pub(in crate::rpc::gitaly) storage: Option<String>,
    pub(in crate::rpc::gitaly) request_bytes: u64,
    pub(in crate::rpc::gitaly) response_bytes: u64,
    pub(in crate::rpc::gitaly) git_protocol: Option<&'static str>,
    /// The pack that a fetch was served.
    pub(in crate::rpc::gitaly) pack: Option<PackServed>,
    /// How it stood under the limit of its method, where there is one.
    pub(in crate::rpc::gitaly) limit: Option<Box<Limited>>,
    /// Who was to answer instead of this node.
    pub(in crate::rpc::gitaly) upstream: Option<Arc<Target>>,
    /// Until the call has ended: nobody waits for it any more.
    pub(in crate::rpc::gitaly) code: Code,
    pub(in crate::rpc::gitaly) error: Option<Cow<'static, str>>,
    pub(in crate::rpc::gitaly) began: Instant,
    pub(in crate::rpc::gitaly) began_at: SystemTime,
}

/// How a call stood under a limit.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Limited {
    /// What is limited: a repository, by its path.
    pub(in crate::rpc::gitaly) key: String,
    pub(in crate::rpc::gitaly) passage: Passage,
}

/// A status code as Go's gRPC spells it.
pub(in crate::rpc::gitaly) fn name(code: Code) -> &'static str {
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

/// One event with what every line on a call says, further fields and a message.
macro_rules! line {
    ($level:expr, $record:expr, { $($field:tt)* }, $($message:tt)+) => {{
        let record: &Record = $record;
        let (called, client) = (&record.called, &record.client);
        let repository = record.repository.as_ref();
        let deadline = record.time_limit.map(|limit| log::timestamp(record.began_at + limit));
        tracing::event!(
            $level,
            component = match called.is_unary {
                true => "gitaly.UnaryServerInterceptor",
                false => "gitaly.StreamServerInterceptor",
            },
            system = "grpc",
            span.kind = "server",
            correlation_id = record.account.correlation_id(),
            peer.address = %record.peer,
            remote_ip = client.remote_ip.as_deref(),
            user_id = client.user_id.as_deref(),
            username = client.username.as_deref(),
            grpc.service = &*called.service,
            grpc.method = &*called.method,
            grpc.start_time = &*log::timestamp(record.began_at),
            grpc.request.deadline = deadline.as_deref(),
            grpc.request.fullMethod = &*called.path,
            grpc.request.repoStorage = repository.map(|named| named.storage_name.as_str()),
            grpc.request.repoPath = repository.map(|named| named.relative_path.as_str()),
            grpc.request.glRepository = repository.map(|named| named.gl_repository.as_str()),
            grpc.request.glProjectPath = repository.map(|named| named.gl_project_path.as_str()),
            grpc.request.StorageName = record.storage.as_deref(),
            grpc.meta.client_name = known(&client.name),
            grpc.meta.call_site = known(&client.call_site),
            grpc.meta.auth_version = known(&client.auth_version),
            grpc.meta.deadline_type = known(&client.deadline_type),
            grpc.meta.method_type = called.kind,
            grpc.meta.method_operation = known(called.operation),
            grpc.meta.method_scope = known(called.scope),
            $($field)*
            $($message)+
        );
    }};
}

/// The line of a call that has ended.
macro_rules! last_line {
    ($level:expr, $record:expr) => {{
        let record: &Record = $record;
        let cost = cost(&record.account);
        let (of, pack) = (cost.as_ref(), record.pack.as_ref());
        let usage = of.filter(|cost| cost.started > 0).map(|cost| &cost.usage);
        let limit = record.limit.as_deref();
        let passage = limit.map(|limit| &limit.passage);
        let acquire_ms = passage.map(|passage| whole_millis(passage.waited));
        let kind = if record.called.is_unary { "unary" } else { "streaming" };
        let code = name(record.code);
        line!($level, record, {
            grpc.code = code,
            grpc.time_ms = millis(record.began.elapsed()),
            grpc.request.payload_bytes = record.request_bytes,
            grpc.response.payload_bytes = record.response_bytes,
            feature_flags = record.client.feature_flags.as_deref(),
            git_protocol = record.git_protocol,
            pack_objects_cache.key = pack.and_then(|pack| pack.key).map(|key| key.to_string()),
            pack_objects_cache.hit = pack.map(PackServed::is_hit),
            pack_objects_cache.served_bytes = pack.map(|pack| pack.bytes),
            pack_objects_cache.generated_bytes = pack.and_then(PackServed::generated_bytes),
            pack_objects_cache.role = pack.map(PackServed::role),
            pack_objects_cache.builder = pack.and_then(PackServed::builder),
            pack_objects_cache.build_cpu_ms = pack.and_then(PackServed::build_cpu).map(millis),
            pack_objects_cache.saved_cpu_ms = pack.and_then(PackServed::saved_cpu).map(millis),
            pack_objects_cache.wait_ms = pack.map(|pack| millis(pack.waited)),
            command.count = usage.and(of).map(|cost| u64::from(cost.started)),
            command.cpu_time_ms = usage.map(|usage| whole_millis(usage.user + usage.system)),
            command.user_time_ms = usage.map(|usage| whole_millis(usage.user)),
            command.system_time_ms = usage.map(|usage| whole_millis(usage.system)),
            command.real_time_ms = usage.map(|usage| whole_millis(usage.real)),
            command.maxrss = usage.map(|usage| usage.max_rss_kib),
            command.inblock = usage.map(|usage| usage.blocks_read),
            command.oublock = usage.map(|usage| usage.blocks_written),
            command.minflt = usage.map(|usage| usage.minor_faults),
            command.majflt = usage.map(|usage| usage.major_faults),
            command.spawn_token_wait_ms = of.map(|cost| whole_millis(cost.waited)),
            command.spawn_token_fork_ms = of.map(|cost| whole_millis(cost.forking)),
            command.cgroup_path = record.account.cgroup(),
            command.spawn_token_error = of.and_then(|cost| cost.refused),
            limit.limiting_type = passage.map(|_| "per-rpc"),
            limit.limiting_key = limit.map(|limit| limit.key.as_str()),
            limit.concurrency_queue_length = passage.map(|passage| passage.queue_length as u64),
            limit.concurrency_queue_ms = acquire_ms,
            limit.concurrency_in_progress = passage.map(|passage| passage.in_progress as u64),
            limit.concurrency_dropped =
                passage.and_then(|passage| passage.dropped).map(Reason::label),
            acquire_ms = acquire_ms,
            upstream = record.upstream.as_ref().map(|target| target.to_string()),
            error = record.error.as_deref(),
        }, "finished {kind} call with code {code}")
    }};
}

// === impl Record ===

impl Record {
    /// The call has ended, as the client is told.
    pub(in crate::rpc::gitaly) fn end(&mut self, status: &Status) {
        self.code = status.code();
        self.error = (status.code() != Code::Ok).then(|| Cow::Owned(status.message().to_owned()));
    }

    /// Gitaly's line on a fetch that has ended well: the SHA-1 of the request, where it is one
    /// body, and how many bytes git answered.
    pub(in crate::rpc::gitaly) fn fetched(&mut self, request_sha: Option<&str>, summary: Summary) {
        self.pack = summary.pack;
        self.tell_details(request_sha, summary.response_bytes);
    }

    /// The same line, of anything that git answered.
    pub(in crate::rpc::gitaly) fn tell_details(
        &self,
        request_sha: Option<&str>,
        response_bytes: u64,
    ) {
        line!(
            tracing::Level::INFO,
            self,
            { request_sha = request_sha, response_bytes = response_bytes, },
            "request details"
        );
    }

    /// What the call cost its repository, if it named one and was not refused for that.
    pub(in crate::rpc::gitaly) fn charge(&self) -> Option<Charge<'_>> {
        let named = self.repository.as_ref()?;
        if matches!(self.code, Code::NotFound | Code::InvalidArgument) {
            return None;
        }
        let usage = self.account.cost().usage;
        // What a sidechannel carried is no part of the answer.
        let sent_bytes = self.pack.as_ref().map_or(0, |pack| pack.bytes);
        Some(Charge {
            storage: &named.storage_name,
            path: &named.relative_path,
            children: usage.user + usage.system,
            bytes: sent_bytes.max(self.response_bytes),
        })
    }

    /// Ends the call's span, if it is traced: names of OpenTelemetry's conventions for RPCs.
    pub(in crate::rpc::gitaly) fn end_trace(&self) {
        let Some(trace) = self.account.trace() else { return };
        let text = |text: &str| Attribute::Text(text.to_owned());
        let mut attributes = vec![
            ("rpc.system", text("grpc")),
            ("rpc.service", text(&self.called.service)),
            ("rpc.method", text(&self.called.method)),
            ("rpc.grpc.status_code", Attribute::Number(i64::from(self.code as i32))),
            ("correlation_id", text(self.account.correlation_id())),
        ];
        if let Some(named) = &self.repository {
            attributes.push(("gitaly.repository.storage", text(&named.storage_name)));
            attributes.push(("gitaly.repository.path", text(&named.relative_path)));
        }
        attributes.extend(self.pack.iter().flat_map(PackServed::attributes));
        trace.call_ended(Work {
            name: format!("{}/{}", self.called.service, self.called.method).into(),
            began: self.began_at,
            took: self.began.elapsed(),
            attributes,
            error: self.error.as_deref().map(str::to_owned),
        });
    }

    /// Levels as go-grpc-middleware gives them to codes.
    fn write(&self) {
        match self.code {
            Code::Ok
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Unauthenticated => last_line!(tracing::Level::INFO, self),
            Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable => last_line!(tracing::Level::WARN, self),
            Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                last_line!(tracing::Level::ERROR, self);
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
