//! One line per request, written when its last byte has left or its client has.
//!
//! Fields have Gitaly's names where Gitaly has them.

use super::wire::{PackServed, Version};
use crate::reactor::children::{Account, Cost};
use crate::spending::Charge;
use gitring_daemon::listener::Peer;
use gitring_daemon::log;
use gitring_daemon::otlp::{Attribute, Work};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Taken from a client; longer ones are replaced.
const CORRELATION_BYTES_MAX: usize = 128;

/// What is known of a request so far. Dropping it writes the line.
#[derive(Debug)]
pub struct Record {
    /// Who asks.
    pub peer: Peer,
    /// GET, POST…
    pub method: String,
    /// How metrics and the line name what was asked: `InfoRefs`, `UploadPack`, `other`.
    pub operation: &'static str,
    /// Joins the line with those of other services.
    pub correlation_id: String,
    /// The storage asked for.
    pub storage: String,
    /// The repository asked for, if the path names one.
    pub path: Option<String>,
    /// The protocol asked for, if the request has one.
    pub version: Option<Version>,
    /// 0 until an answer has begun.
    pub status: u16,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// What children cost, once a fetch has begun.
    pub account: Option<Arc<Account>>,
    /// The pack that a finished fetch was served.
    pub pack: Option<PackServed>,
    /// What went wrong.
    pub error: Option<String>,
    /// What went wrong is the server's fault.
    pub failed: bool,
    /// Whether the answer was given whole.
    pub complete: bool,
    /// When the request came.
    pub began: Instant,
    /// When the request came, by the clock on the wall.
    pub began_at: SystemTime,
}

/// The client's correlation id if it can be written to a log, else a new one.
pub fn correlation_id(given: Option<&[u8]>) -> String {
    let sound = |id: &&[u8]| {
        !id.is_empty() && id.len() <= CORRELATION_BYTES_MAX && id.iter().all(u8::is_ascii_graphic)
    };
    match given.filter(sound) {
        Some(id) => String::from_utf8_lossy(id).into_owned(),
        // Unique is enough, secret it need not be: two hashers with fresh random keys.
        None => format!("{:016x}{:016x}", random(), random()),
    }
}

/// Unlike what anybody could foresee.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What children cost, if any was asked for.
pub(crate) fn cost(account: &Account) -> Option<Cost> {
    Some(account.cost()).filter(|cost| cost.asked > 0)
}

/// Whole ones, as Gitaly counts what commands take.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// To the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The line on a request that has ended.
macro_rules! line {
    ($level:expr, $record:expr) => {{
        let record: &Record = $record;
        let elapsed = record.began.elapsed();
        let cost = record.account.as_deref().and_then(cost);
        let (of, pack) = (cost.as_ref(), record.pack.as_ref());
        let usage = of.filter(|cost| cost.started > 0).map(|cost| &cost.usage);
        let message = if record.complete { "finished http request" } else { "broken http request" };
        tracing::event!(
            $level,
            system = "http",
            span.kind = "server",
            correlation_id = record.correlation_id.as_str(),
            remote_ip = record.peer.ip().map(|ip| ip.to_string()),
            http.method = record.method.as_str(),
            http.operation = record.operation,
            http.status = u64::from(record.status),
            http.start_time = &*log::timestamp(record.began_at),
            http.time_ms = millis(elapsed),
            grpc.request.repoStorage = record.storage.as_str(),
            grpc.request.repoPath = record.path.as_deref(),
            git_protocol = record.version.map(|version| format!("v{}", version.number())),
            response_bytes = record.response_bytes,
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
            command.cgroup_path = record.account.as_ref().and_then(|account| account.cgroup()),
            command.spawn_token_error = of.and_then(|cost| cost.refused),
            error = record.error.as_deref(),
            "{message}"
        );
    }};
}

// === impl Record ===

impl Record {
    /// Ends the request's span, if it is traced: names of OpenTelemetry's conventions for HTTP.
    pub(crate) fn end_trace(&self) {
        let account = self.account.as_deref();
        let Some((account, trace)) = account.and_then(|of| Some((of, of.trace()?))) else { return };
        let text = |text: &str| Attribute::Text(text.to_owned());
        let mut attributes = vec![
            ("http.request.method", text(&self.method)),
            ("http.response.status_code", Attribute::Number(self.status.into())),
            ("correlation_id", text(account.correlation_id())),
            ("gitaly.repository.storage", text(&self.storage)),
        ];
        attributes.extend(self.path.iter().map(|path| ("gitaly.repository.path", text(path))));
        attributes.extend(self.pack.iter().flat_map(PackServed::attributes));
        trace.call_ended(Work {
            name: format!("http/{}", self.operation).into(),
            began: self.began_at,
            took: self.began.elapsed(),
            attributes,
            error: self.error.clone(),
        });
    }

    /// What the request cost its repository, if one was found.
    pub(crate) fn charge(&self) -> Option<Charge<'_>> {
        let (path, account) = (self.path.as_deref()?, self.account.as_deref()?);
        let usage = account.cost().usage;
        let (storage, bytes) = (self.storage.as_str(), self.response_bytes);
        Some(Charge { storage, path, children: usage.user + usage.system, bytes })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.complete && self.error.is_none() {
            self.error = Some("the connection ended before the answer".to_owned());
        }
        match self.failed {
            false => line!(tracing::Level::INFO, self),
            true => line!(tracing::Level::WARN, self),
        }
    }
}
