//! Gitaly's gRPC services.
//!
//! ```text
//!   connection ──► call (auth, deadline, log) ──► routes ──► smarthttp, ssh    ──► fetch
//!   (h2, or h2 within a mux)                             ├──► refs, commit      ──► git on a worker
//!                                                        ├──► repository, server ──► storage
//!                                                        └──► commit, blob, diff ──► talk (git children)
//! ```
//!
//! Always true:
//! - nothing of a request is looked at before its token was;
//! - a call ends at its deadline, and what it started ends with it;
//! - a method that is not built answers UNIMPLEMENTED.
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
mod voting;

pub use self::call::auth::AuthConfig;
pub use self::call::metrics::GitalyMetrics;

use self::call::auth::Auth;
use self::call::metrics::{NegotiationMetrics, Series};
use crate::rpc::Services;
use crate::spending::Spending;
use crate::storage::{Glances, Repositories};
use gitring_daemon::otlp::Tracer;
use prometheus::Histogram;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// `listen_addr`, `socket_path`, `[auth]`.
#[derive(Debug, Clone)]
pub struct GitalyConfig {
    /// Where it listens for TCP connections, if it does.
    pub listen_addr: Option<SocketAddr>,
    /// Where its unix socket is, if it has one.
    pub socket_path: Option<PathBuf>,
    /// Who may call.
    pub auth: AuthConfig,
    /// How long clients may negotiate.
    pub timeouts: Timeouts,
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
    auth: Auth,
    routes: routes::Services,
    series: Series,
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
    timeouts: Timeouts,
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
        config: &GitalyConfig,
        repositories: Repositories,
        services: Rc<Services>,
        metrics: GitalyMetrics,
    ) -> Rc<Self> {
        let negotiations = metrics.negotiations.clone();
        let (spending, tracer) = (services.spending.clone(), services.tracer.clone());
        let resources = Rc::new(Resources {
            services,
            repositories,
            glances: Glances::default(),
            negotiations,
            voting_delay: metrics.voting_delay.clone(),
            oids_asked: metrics.oids_asked.clone(),
            timeouts: config.timeouts,
        });
        let auth = Auth::new(config.auth.clone(), metrics.auth.clone());
        Rc::new(Self {
            auth,
            routes: routes::Services::new(&resources),
            series: Series::new(metrics),
            spending,
            tracer,
        })
    }
}
