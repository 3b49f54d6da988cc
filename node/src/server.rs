//! Start and end of the process.
//!
//! Always true: what can fail at the start fails before the first connection is accepted.

mod doors;
mod runtime_dir;
mod system;

pub use self::system::{FoundGit, find_git};

use self::doors::{Blueprint, Listening, MakeServices, StartListening};
use self::runtime_dir::RuntimeDir;
use crate::config::Config;
use crate::gitlab::{self, Client};
use crate::hooks::{Hooks, HooksConfig};
use crate::reactor::Reactors;
use crate::reactor::accept;
use crate::reactor::children::Children;
use crate::reactor::ring::Rings;
use crate::reactor::workers::Workers;
use crate::rpc::fetch::Buffers;
use crate::rpc::git::{Git, Surroundings};
use crate::rpc::{self, FetchMetrics, Services, defaults, push};
use crate::storage::{Repositories, WRITERS_DEFAULT, Writing};
use gitring_daemon::drain::{self, Control};
use gitring_daemon::listener::{self, ListenError};
use gitring_daemon::{log, metrics};
use gitring_git::repository::Environment;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long killed children may take to vanish at the end.
const BURIAL_MAX: Duration = Duration::from_secs(5);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no log.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// An address is taken or not ours.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no usable git.
    #[error("no usable git: {0}")]
    Git(String),
    /// The directory for what the node needs while it runs.
    #[error("prepare {path}")]
    RuntimeDir {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// GitLab cannot be asked as configured.
    #[error("could not create GitLab API client")]
    Gitlab(#[from] gitlab::ClientError),
    /// Threads, signals, event queues.
    #[error("start threads")]
    System(#[from] io::Error),
}

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    control: Control,
    gateway: Option<SocketAddr>,
    gitaly: Option<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    repositories: Repositories,
    children: Children,
    grace: Duration,
    _runtime_dir: RuntimeDir,
}

/// Serves until SIGTERM or SIGINT, and then as long as requests take, at most
/// `graceful_restart_timeout`. A second signal ends it at once.
pub fn run(config: Config) -> Result<(), StartError> {
    let _log = log::start(config.log)?;
    report_keys(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let node = Node::start(config)?;
        let repositories = node.repositories.clone();
        let sweeping = tokio::spawn(async move { repositories.sweep_hourly().await });
        signals.next().await;
        sweeping.abort();
        node.stop(signals.next()).await;
        Ok(())
    })
}

fn report_keys(config: &Config) {
    if !config.unused_keys.is_empty() {
        let keys = config.unused_keys.join(", ");
        tracing::info!(keys, "configuration keys that have no effect in this version");
    }
    if !config.unknown_keys.is_empty() {
        let keys = config.unknown_keys.join(", ");
        tracing::warn!(keys, "unknown configuration keys are ignored");
    }
}

// === impl StartError ===

impl From<StartListening> for StartError {
    fn from(error: StartListening) -> Self {
        match error {
            StartListening::Listen(error) => Self::Listen(error),
            StartListening::Address(error) => Self::System(error),
        }
    }
}

// === impl Node ===

impl Node {
    /// Starts threads and listeners. Returns when connections are accepted.
    pub fn start(config: Config) -> Result<Self, StartError> {
        system::raise_descriptor_limit();
        let registry = metrics::registry();
        let runtime_dir = RuntimeDir::create(config.runtime_dir.as_deref())?;
        let found = system::find_git(config.git.bin_path.as_deref())?;
        let git = Git {
            program: found.program,
            surroundings: Surroundings::Closed {
                defaults_file: runtime_dir.write("gitconfig", &defaults::file())?,
                config: config.git.config.clone(),
            },
        };
        let workers = Workers::start(config.runtime.workers, &registry)?;
        let children = Children::start(config.runtime.children_max, &found.version, &registry)?;
        let rings = Rings::start(config.runtime.io_uring, &registry)?;
        let environment = environment(config.git.config.clone());
        config.storages.identify();
        let writing = Writing::start(WRITERS_DEFAULT, &registry, config.runtime.is_durable)?;
        let repositories = Repositories::new(
            config.storages.clone(),
            environment,
            workers.clone(),
            writing.clone(),
        );
        let metrics = FetchMetrics::register(&registry);
        let gitlab = config.gitlab.as_ref().map(|gitlab| Client::new(gitlab, &registry));
        let pools = Pools { workers, writing, children: children.clone() };
        let hooks = pools.hooks(config.hooks.clone(), gitlab.transpose()?, &git.program);
        let services = services(pools, git, (hooks, metrics.clone()), config.pushes);
        let (control, drain) = drain::channel();
        let Listening { listeners, gateway, gitaly } = Listening::start(&config)?;
        if config.gitaly.auth.secret.is_none() && gitaly.is_some_and(|at| !at.ip().is_loopback()) {
            tracing::warn!("no auth.token: whoever reaches listen_addr may change repositories");
        }
        let services = (&metrics, services);
        let blueprint = Blueprint::new(&config, repositories.clone(), services, &registry);
        let build = move |ring| blueprint.build(ring);
        let from = (&rings, &registry);
        let reactors = Reactors::start(config.runtime.reactors, &drain, from, build)?;
        let metrics_address = match config.prometheus_listen_addr {
            None => None,
            Some(address) => {
                let listener = listener::tcp(address)?;
                let address = listener.local_addr()?;
                metrics::serve(listener, registry.clone())?;
                Some(address)
            }
        };
        accept::start(listeners, config.runtime.connections_max, reactors, drain)?;
        tracing::info!(
            address = gateway.map(|address| address.to_string()),
            gitaly_address = gitaly.map(|address| address.to_string()),
            socket_path = config.gitaly.socket_path.map(|path| path.display().to_string()),
            metrics_address = metrics_address.map(|address| address.to_string()),
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        let grace = config.grace;
        Ok(Self {
            control,
            gateway,
            gitaly,
            metrics_address,
            repositories,
            children,
            grace,
            _runtime_dir: runtime_dir,
        })
    }

    /// Where the gateway listens, if it does.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway
    }

    /// Where Gitaly's protocol is served over TCP, if it is.
    pub fn gitaly_address(&self) -> Option<SocketAddr> {
        self.gitaly
    }

    /// Where `/metrics` is, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Accepts no more, waits for requests until they have ended, the grace is over or `hurry`
    /// returns, cancels the rest and waits until their children are gone.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        tracing::info!(grace_s = self.grace.as_secs_f64(), "draining");
        self.control.begin();
        let why = tokio::select! {
            () = self.control.finished() => "every request has ended",
            () = tokio::time::sleep(self.grace) => "the grace is over",
            () = hurry => "asked again",
        };
        self.control.cancel();
        let buried = tokio::time::timeout(BURIAL_MAX, async {
            self.control.finished().await;
            self.children.ended().await;
        });
        let buried = buried.await.is_ok();
        tracing::info!(why, children_left = !buried, "stopped");
    }
}

/// Threads and processes.
struct Pools {
    workers: Workers,
    writing: Writing,
    children: Children,
}

// === impl Pools ===

impl Pools {
    fn hooks(&self, config: HooksConfig, gitlab: Option<Client>, git: &Path) -> Hooks {
        Hooks::new(config, gitlab, self.workers.clone(), self.children.clone(), git)
    }
}

/// What calls may use.
fn services(
    pools: Pools,
    git: Git,
    (hooks, metrics): (Hooks, FetchMetrics),
    pushes: push::Limits,
) -> MakeServices {
    let (git, buffers) = (Arc::new(git), Buffers::default());
    Arc::new(move |packs| Services {
        workers: pools.workers.clone(),
        writing: pools.writing.clone(),
        children: pools.children.clone(),
        pushes,
        landings: push::Landings::default(),
        git: Arc::clone(&git),
        hooks: hooks.clone(),
        metrics: metrics.clone(),
        buffers: buffers.clone(),
        packs,
        agent: rpc::agent(),
        trace: None,
        explain_errors: true,
    })
}

/// What every repository is opened with: as the children see it, no file of the machine counts.
fn environment(config: Vec<(String, String)>) -> Environment {
    let overrides = config.into_iter().map(|(key, value)| (key, Some(value)));
    Environment {
        defaults: defaults::all(),
        overrides: overrides.collect(),
        ..Environment::default()
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
