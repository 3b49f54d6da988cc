//! Gitaly's gRPC services.
//!
//! ```text
//!   connection ──► call (auth, deadline, log) ──► routes ──► smarthttp, ssh    ──► fetch
//!   (h2, or h2 within a mux)                             ├──► refs, commit      ──► git on a worker
//!                                                        ├──► repository, server ──► storage
//!                                                        └──► commit, blob, diff ──► talk (git children)
//!                                          upstream ──► another Gitaly, what is not built here
//! ```
//!
//! Always true:
//! - nothing of a request is looked at before its token was;
//! - a call ends at its deadline, and what it started ends with it;
//! - a method that is not built is the upstream's to answer, or UNIMPLEMENTED where there is none.
//!
//! Never here: how refs, objects and storages are read.

mod ask;
mod blob;
mod call;
mod chunks;
mod commit;
mod connection;
mod diff;
mod errors;
mod pieces;
mod ref_change;
mod refs;
mod repository;
mod routes;
mod server;
mod target;
mod transfer;
mod upstream;
mod voting;

pub use self::call::auth::{AuthConfig, NamedSecret};
pub use self::call::metrics::GitalyMetrics;
pub use self::upstream::UpstreamTarget;

use self::call::auth::Auth;
use self::call::metrics::{NegotiationMetrics, Series};
use self::upstream::Upstream;
use crate::limits::Limits;
use crate::rpc::Services;
use crate::spending::Spending;
use crate::storage::{Glances, Repositories};
use arc_swap::ArcSwap;
use gitring_daemon::otlp::Tracer;
use gitring_daemon::tls::Loaded;
use prometheus::{Histogram, Registry};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// `listen_addr`, `socket_path`, `tls_listen_addr`, `[auth]`, `[timeout]`, `[upstream]`.
#[derive(Debug, Clone)]
pub struct GitalyConfig {
    /// Where it listens for TCP connections, if it does.
    pub listen_addr: Option<SocketAddr>,
    /// Where its unix socket is, if it has one.
    pub socket_path: Option<PathBuf>,
    /// Where it listens for connections within TLS, if it does.
    pub tls: Option<TlsConfig>,
    /// Who may call.
    pub auth: AuthConfig,
    /// How long clients may negotiate.
    pub timeouts: Timeouts,
    /// `[upstream]`: who answers what is not built, if anybody does.
    pub upstream: Option<UpstreamTarget>,
}

/// `tls_listen_addr` and `[tls]`.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Where it listens.
    pub listen_addr: SocketAddr,
    /// As whom it answers.
    pub loaded: Loaded,
}

/// What SIGHUP changes for the calls that come, on every reactor at once.
#[derive(Debug, Clone)]
pub struct Adjustable {
    auth: Arc<Auth>,
    timeouts: Arc<ArcSwap<Timeouts>>,
    upstream: Option<UpstreamTarget>,
}

/// `[timeout]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a client of an SSH fetch has said `done`.
    pub upload_pack_negotiation: Duration,
    /// Until a client has said which archive it wants.
    pub upload_archive_negotiation: Duration,
}

/// The services of one reactor.
#[derive(Debug)]
pub struct Gitaly {
    auth: Arc<Auth>,
    limits: Limits,
    routes: routes::Services,
    series: Series,
    /// Who answers what is not built.
    upstream: Option<Upstream>,
    spending: Spending,
    tracer: Tracer,
}

/// What the services answer from.
#[derive(Debug)]
struct Resources {
    services: Rc<Services>,
    repositories: Repositories,
    glances: Glances,
    negotiations: NegotiationMetrics,
    /// How long votes take.
    voting_delay: Histogram,
    /// How many commits ListCommitsByOid is asked for at once.
    oids_asked: Histogram,
    timeouts: Arc<ArcSwap<Timeouts>>,
}

// === impl GitalyConfig ===

impl GitalyConfig {
    /// Whether there is a door at all.
    pub fn listens(&self) -> bool {
        self.listen_addr.is_some() || self.socket_path.is_some() || self.tls.is_some()
    }
}

// === impl Adjustable ===

impl Adjustable {
    /// What the node starts with.
    pub fn register(config: &GitalyConfig, registry: &Registry) -> Self {
        Self {
            auth: Arc::new(Auth::register(&config.auth, registry)),
            timeouts: Arc::new(ArcSwap::from_pointee(config.timeouts)),
            upstream: config.upstream.clone(),
        }
    }

    /// Calls that begin from now on are judged by these.
    pub fn reload(&self, config: &GitalyConfig) {
        self.auth.reload(&config.auth);
        self.timeouts.store(Arc::new(config.timeouts));
        if let (Some(own), Some(read)) = (&self.upstream, &config.upstream) {
            own.store(read.load_full());
        }
    }
}

// === impl Timeouts ===

impl Default for Timeouts {
    /// Gitaly's.
    fn default() -> Self {
        Self {
            upload_pack_negotiation: Duration::from_secs(600),
            upload_archive_negotiation: Duration::from_secs(60),
        }
    }
}

// === impl Gitaly ===

impl Gitaly {
    /// Services for the reactor they are built on.
    pub fn new(
        adjustable: Adjustable,
        repositories: Repositories,
        services: Rc<Services>,
        metrics: GitalyMetrics,
    ) -> Rc<Self> {
        let limits = services.limits.clone();
        let negotiations = metrics.negotiations.clone();
        let (spending, tracer) = (services.spending.clone(), services.tracer.clone());
        let resources = Rc::new(Resources {
            services,
            repositories,
            glances: Glances::default(),
            negotiations,
            voting_delay: metrics.voting_delay.clone(),
            oids_asked: metrics.oids_asked.clone(),
            timeouts: adjustable.timeouts,
        });
        let target = adjustable.upstream;
        let upstream = target.map(|target| Upstream::new(target, metrics.upstream.clone()));
        Rc::new(Self {
            auth: adjustable.auth,
            limits,
            routes: routes::Services::new(&resources),
            series: Series::new(metrics),
            upstream,
            spending,
            tracer,
        })
    }
}
