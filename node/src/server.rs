//! Start and end of the process.
//!
//! Always true: what can fail at the start fails before the first connection is accepted.

mod doors;
mod error;
mod foundation;
mod offspring;
mod pid_file;
mod reload;
mod renewal;
mod runtime_dir;
mod seeing;
mod signals;
mod successor;
mod system;

pub use self::error::StartError;
pub use self::reload::OpenedError;
pub use self::system::{FoundGit, find_git};

use self::doors::{Addresses, Blueprint, Listening};
use self::foundation::Foundation;
use self::offspring::Offspring;
use self::reload::{Live, ReloadMetrics, Reloader};
use self::renewal::RenewalMetrics;
use self::runtime_dir::RuntimeDir;
use self::signals::{Request, Signals};
use self::successor::{Launch, Outcome, SETTLE};
use crate::config::Config;
use crate::reactor::Reactors;
use crate::reactor::accept;
use crate::rpc::gitaly::Adjustable;
use crate::storage::Repositories;
use gitring_daemon::drain::{self, Control};
use gitring_daemon::handover::Predecessor;
use gitring_daemon::listener::{Inherited, Kept};
use gitring_daemon::{log, metrics, notify};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long killed children may take to vanish at the end.
const BURIAL_MAX: Duration = Duration::from_secs(5);

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    control: Control,
    at: Addresses,
    live: Live,
    /// Sockets for a successor.
    kept: Vec<Kept>,
    metrics: Option<metrics::Endpoint>,
    repositories: Repositories,
    offspring: Offspring,
    _runtime_dir: RuntimeDir,
}

/// Serves as a file says until SIGTERM or SIGINT, and then as long as requests take, at most
/// `graceful_restart_timeout`. A second signal ends it at once. SIGHUP reads the file again, SIGUSR2
/// starts the program that lies there now and leaves the rest to it.
pub fn run(path: &Path) -> Result<(), StartError> {
    let launch = Launch::observe()?;
    let (mut predecessor, inherited) = match Predecessor::receive()? {
        Some((predecessor, inherited)) => (Some(predecessor), inherited),
        None => (None, Inherited::from_service_manager()?),
    };
    let outcome = serve(path, &launch, inherited, &mut predecessor);
    if let (Err(error), Some(predecessor)) = (&outcome, predecessor) {
        predecessor.failed(&log::chain(error));
    }
    outcome
}

fn serve(
    path: &Path,
    launch: &Launch,
    mut inherited: Inherited,
    predecessor: &mut Option<Predecessor>,
) -> Result<(), StartError> {
    let config = Config::load(path)?;
    if let Some(predecessor) = predecessor {
        reload::stays_closed(path, predecessor.facts.is_closed, &config)?;
    }
    let log = log::start(config.log)?;
    report(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut reloader = Reloader::new(path.to_owned(), &config, log);
        let mut node = Node::start_with(config, &mut inherited)?;
        for socket in inherited.settle() {
            tracing::warn!(
                socket,
                "closed an inherited socket that the configuration does not name"
            );
        }
        pid_file::write();
        match predecessor.take() {
            // The service manager hears of it from the process that it knows.
            Some(predecessor) => predecessor.ready(),
            None => notify::ready(),
        }
        let tasks = node.tasks();
        if node.ends(launch, &mut reloader, &mut signals).await {
            notify::stopping();
            pid_file::remove();
        } else {
            node.leave();
            tokio::select! {
                () = tokio::time::sleep(SETTLE) => {}
                () = signals.end() => {}
            }
        }
        drop(tasks);
        node.stop(signals.end()).await;
        Ok(())
    });
    // A configuration that is still being read is not waited for.
    runtime.shutdown_background();
    served
}

fn report(config: &Config) {
    if !config.unused_keys.is_empty() {
        let keys = config.unused_keys.join(", ");
        tracing::info!(keys, "configuration keys that have no effect in this version");
    }
    if !config.unknown_keys.is_empty() {
        let keys = config.unknown_keys.join(", ");
        tracing::warn!(keys, "unknown configuration keys are ignored");
    }
    for remark in &config.remarks {
        tracing::warn!(remark, "configuration");
    }
}

// === impl Node ===

impl Node {
    /// Starts threads and listeners. Returns when connections are accepted.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, &mut Inherited::default())
    }

    /// As [`Node::start`], over sockets that listen already.
    fn start_with(config: Config, inherited: &mut Inherited) -> Result<Self, StartError> {
        system::raise_descriptor_limit();
        let Foundation { registry, runtime_dir, rings, offspring, shared } =
            Foundation::lay(&config)?;
        let (control, drain) = drain::channel();
        let Listening { listeners, kept, metrics, tls, at } = Listening::start(&config, inherited)?;
        warn_if_open(&config, at);
        let gitaly = Adjustable::register(&config.gitaly, &registry);
        let blueprint = Blueprint::new(&config, shared.clone(), gitaly.clone(), &registry);
        let build = move |ring| blueprint.build(ring);
        let from = (&rings, &registry);
        let reactors = Reactors::start(config.runtime.reactors, &drain, from, build)?;
        let sources = seeing::sources(&config, &shared, &registry);
        let metrics = metrics.map(|listener| seeing::serve(listener, sources)).transpose()?;
        let connections_max = config.runtime.connections_max;
        accept::start(listeners, connections_max, reactors, &drain, &registry)?;
        at.announce(config.gitaly.socket_path.as_deref());
        let live = Live {
            gitaly,
            limits: shared.limits,
            adaptation: Arc::clone(&offspring.adaptation),
            tls,
            grace: config.grace,
            metrics: ReloadMetrics::register(&registry),
            renewals: RenewalMetrics::register(&registry),
        };
        Ok(Self {
            control,
            at,
            live,
            kept,
            metrics,
            repositories: shared.repositories,
            offspring,
            _runtime_dir: runtime_dir,
        })
    }

    /// Serves until somebody ends it; `false` if another process serves from now on.
    async fn ends(
        &mut self,
        launch: &Launch,
        reloader: &mut Reloader,
        signals: &mut Signals,
    ) -> bool {
        loop {
            match signals.next().await {
                Request::End => return true,
                Request::Reload => {
                    notify::reloading();
                    // It may wait a minute for a program; nothing has changed before it has read all.
                    tokio::select! {
                        () = reloader.reload(&mut self.live) => notify::ready(),
                        () = signals.end() => return true,
                    }
                }
                Request::HandOver => {
                    match launch.hand_over(self, reloader.is_closed(), signals).await {
                        Outcome::HandedOver => return false,
                        Outcome::Stays => {}
                        Outcome::Ends => return true,
                    }
                }
            }
        }
    }

    /// What goes on beside requests, for as long as it is held.
    fn tasks(&self) -> tokio::task::JoinSet<()> {
        let mut tasks = tokio::task::JoinSet::new();
        let repositories = self.repositories.clone();
        tasks.spawn(async move { repositories.sweep_hourly().await });
        if let Some(tls) = &self.live.tls {
            tasks.spawn(renewal::renew(Arc::clone(tls), self.live.renewals.clone()));
        }
        tasks
    }

    /// Another process accepts from now on, on the same sockets. Connections that are open notice
    /// nothing yet.
    fn leave(&mut self) {
        for kept in self.kept.drain(..) {
            kept.give_away();
        }
        if let Some(metrics) = &self.metrics {
            metrics.close();
        }
        self.control.leave();
    }

    /// Where the gateway listens, if it does.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.at.gateway
    }

    /// Where Gitaly's protocol is served over TCP, if it is.
    pub fn gitaly_address(&self) -> Option<SocketAddr> {
        self.at.gitaly
    }

    /// Where `/metrics` is, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.at.metrics
    }

    /// Accepts no more, waits for requests until they have ended, the grace is over or `hurry`
    /// returns, cancels the rest and waits until their children are gone.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let grace = self.live.grace;
        tracing::info!(grace_s = grace.as_secs_f64(), "draining");
        // A socket listens for as long as it is kept.
        drop(self.kept);
        self.control.begin();
        let why = tokio::select! {
            () = self.control.finished() => "every request has ended",
            () = tokio::time::sleep(grace) => "the grace is over",
            () = hurry => "asked again",
        };
        self.control.cancel();
        let buried = tokio::time::timeout(BURIAL_MAX, async {
            self.control.finished().await;
            self.offspring.buried().await;
            self.repositories.writing().settled().await;
        });
        let buried = buried.await.is_ok();
        tracing::info!(why, children_left = !buried, "stopped");
    }
}

/// Says so where whoever reaches a port may do anything, and nothing says that this is meant.
fn warn_if_open(config: &Config, at: Addresses) {
    let auth = &config.gitaly.auth;
    let is_public = |at: Option<SocketAddr>| at.is_some_and(|at| !at.ip().is_loopback());
    if auth.tokens.is_empty() && !auth.insecure && (is_public(at.gitaly) || is_public(at.tls)) {
        tracing::warn!("no auth.token: whoever reaches the port may change repositories");
    }
}
