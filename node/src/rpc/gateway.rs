//! Smart HTTP (gitprotocol-http): HTTP/1.1 and HTTP/2 without TLS on one port.
//!
//! ```text
//!   connection ──► request (parsed once) ──► answer ──► fetch, push ──► body ──► connection
//! ```
//!
//! Always true:
//! - a client that says nothing, or takes nothing, loses its connection after a time;
//! - an answer that broke off never looks whole;
//! - dropping a connection drops its requests, and these their children, but for a push that lands.
//!
//! Never here: the dumb protocol, users. Whoever reaches the port may read, and push where
//! `[gateway] receive_pack` says so.

mod answer;
mod body;
mod chunk;
mod gzip;
mod input;
mod metrics;
mod refusal;
mod request;
mod watch;

pub use self::metrics::GatewayMetrics;

use self::watch::Watch;
use super::Services;
use super::connection_tasks::ConnectionTasks;
use crate::storage::{Repositories, StorageName};
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{Peer, Stream};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// `[gateway]`.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where it listens.
    pub listen_addr: SocketAddr,
    /// Whose repositories it serves.
    pub storage: StorageName,
    /// Whether it takes pushes.
    pub receive_pack: bool,
    /// What a client may take.
    pub limits: Limits,
}

/// What one client may take of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A request's line and headers together.
    pub header_bytes_max: usize,
    /// From the first byte of a request to the end of its headers.
    pub header_wait_max: Duration,
    /// A connection without a request.
    pub idle_max: Duration,
    /// Between two pieces of a request's body.
    pub body_wait_max: Duration,
    /// A client that takes nothing of an answer that is there.
    pub stall_max: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// A request's body as it comes.
    pub body_bytes_max: u64,
    /// A request's body after gzip. A want or have line takes 50 bytes.
    pub inflated_bytes_max: u64,
    /// A push's body, as it comes and after gzip.
    pub push_bytes_max: u64,
}

/// The gateway of one reactor.
#[derive(Debug)]
pub struct Gateway {
    config: GatewayConfig,
    repositories: Repositories,
    services: Rc<Services>,
    metrics: GatewayMetrics,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes_max: 32 * 1024,
            header_wait_max: Duration::from_secs(15),
            idle_max: Duration::from_secs(60),
            body_wait_max: Duration::from_secs(60),
            stall_max: Duration::from_secs(300),
            streams_max: 64,
            body_bytes_max: 64 << 20,
            inflated_bytes_max: 256 << 20,
            push_bytes_max: 64 << 30,
        }
    }
}

// === impl Gateway ===

impl Gateway {
    /// A gateway for the reactor it is built on.
    pub fn new(
        config: GatewayConfig,
        repositories: Repositories,
        services: Rc<Services>,
        metrics: GatewayMetrics,
    ) -> Self {
        Self { config, repositories, services, metrics }
    }

    fn http(&self, tasks: ConnectionTasks) -> auto::Builder<ConnectionTasks> {
        let limits = &self.config.limits;
        let mut http = auto::Builder::new(tasks);
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_wait_max)
            .max_buf_size(limits.header_bytes_max);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            // What a stream holds that its client has not taken: with 64 streams 4 MiB.
            .max_send_buf_size(64 * 1024)
            // A peer that vanished without a word is noticed.
            .keep_alive_interval(Duration::from_secs(30));
        http
    }

    /// Serves one connection until it ends or `drain` says so.
    pub async fn serve(self: Rc<Self>, stream: Stream, peer: Peer, mut drain: Drain) {
        let watch = Rc::new(Watch::new());
        let service = {
            let (gateway, watch) = (Rc::clone(&self), Rc::clone(&watch));
            service_fn(move |request| {
                answer::answer(Rc::clone(&gateway), request, peer, Rc::clone(&watch))
            })
        };
        let http = self.http(ConnectionTasks::default());
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let limits = &self.config.limits;
        let mut expiring = pin!(watch.expired(limits.idle_max, limits.stall_max));
        let mut ending = drain.clone();
        let mut ends = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, error, "connection broke");
                    }
                    return;
                }
                () = drain.cancelled() => return,
                () = &mut expiring => return,
                () = ending.draining(), if !ends => {
                    connection.as_mut().graceful_shutdown();
                    ends = true;
                }
            }
        }
    }
}
