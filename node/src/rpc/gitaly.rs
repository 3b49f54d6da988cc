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

mod all_objects;
mod ancestry;
mod auth;
mod blob;
mod blobs;
mod branches;
mod call;
mod cat_file;
mod changed_paths;
mod child;
mod chunks;
mod client;
mod commit;
mod commit_lists;
mod commit_reader;
mod commits;
mod connection;
mod context;
mod custom_hooks;
mod deadline;
mod delete_refs;
mod diff;
mod errors;
mod existence;
mod fetching;
mod hashed;
mod list_by_git;
mod list_refs;
mod listed;
mod look;
mod message_input;
mod metrics;
mod negotiation;
mod objects_by_git;
mod observed;
mod pieces;
mod pushing;
mod record;
mod ref_change;
mod ref_change_by_git;
mod ref_names;
mod ref_pages;
mod ref_refusal;
mod refs;
mod refs_by_oid;
mod repository;
mod revisions;
mod routes;
mod server;
mod sidechannels;
mod site;
mod smarthttp;
mod ssh;
mod tag_messages;
mod tags;
mod talk;
mod target;
mod trees;
mod update_references;
mod voting;
mod walk;
mod write_ref;

pub use self::auth::AuthConfig;
pub use self::metrics::GitalyMetrics;

use self::auth::Auth;
use self::metrics::{NegotiationMetrics, Series};
use super::Services;
use crate::storage::{Glances, Repositories};
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
        let resources = Rc::new(Resources {
            services,
            repositories,
            glances: Glances::default(),
            negotiations,
            voting_delay: metrics.voting_delay.clone(),
            timeouts: config.timeouts,
        });
        let auth = Auth::new(config.auth.clone(), metrics.auth.clone());
        Rc::new(Self {
            auth,
            routes: routes::Services::new(&resources),
            series: Series::new(metrics),
        })
    }
}
