//! What the calls of every reactor stand on, made once, before anything listens.

use super::StartError;
use super::offspring::Offspring;
use super::runtime_dir::RuntimeDir;
use super::{seeing, system};
use crate::config::Config;
use crate::gitlab::Client;
use crate::hooks::Hooks;
use crate::limits::Limits;
use crate::pack_cache::{Packs, SharedPacks};
use crate::reactor::children::Children;
use crate::reactor::ring::Rings;
use crate::reactor::workers::Workers;
use crate::rpc::fetch::Buffers;
use crate::rpc::git::{Git, Surroundings};
use crate::rpc::{self, FetchMetrics, Services, defaults, push};
use crate::spending::Spending;
use crate::storage::{Repositories, WRITERS_DEFAULT, Writing};
use gitring_daemon::metrics;
use gitring_daemon::otlp::Tracer;
use gitring_git::repository::Environment;
use prometheus::Registry;
use std::sync::Arc;

/// Everything that runs before a connection is accepted.
#[derive(Debug)]
pub(super) struct Foundation {
    pub(super) registry: Registry,
    pub(super) runtime_dir: RuntimeDir,
    pub(super) rings: Rings,
    pub(super) offspring: Offspring,
    pub(super) shared: Shared,
}

/// What reactors share. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) repositories: Repositories,
    pub(super) packs: SharedPacks,
    pub(super) limits: Limits,
    pub(super) metrics: FetchMetrics,
    pub(super) spending: Spending,
    /// As it was at the start.
    pub(super) git_version: String,
    workers: Workers,
    writing: Writing,
    children: Children,
    git: Arc<Git>,
    hooks: Hooks,
    tracer: Tracer,
    buffers: Buffers,
    pushes: push::Limits,
    command_memory: push::CommandMemory,
}

// === impl Foundation ===

impl Foundation {
    pub(super) fn lay(config: &Config) -> Result<Self, StartError> {
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
        let limits = Limits::new(&config.limits, &registry);
        let offspring = Offspring::start(config, &found.version, limits.clone(), &registry)?;
        let children = offspring.children.clone();
        let rings = Rings::start(config.runtime.io_uring, &registry)?;
        config.storages.identify();
        let writing = Writing::start(WRITERS_DEFAULT, &registry, config.runtime.is_durable)?;
        let repositories = Repositories::new(
            config.storages.clone(),
            environment(config.git.config.clone()),
            workers.clone(),
            writing.clone(),
        );
        repositories.count(&registry)?;
        let gitlab = config.gitlab.as_ref();
        let gitlab = gitlab.map(|gitlab| Client::new(gitlab, &registry, &config.latency_buckets));
        let on = (workers.clone(), children.clone());
        let hooks = Hooks::new(config.hooks.clone(), gitlab.transpose()?, on.0, on.1, &git.program);
        let shared = Shared {
            repositories,
            packs: SharedPacks::new(&config.pack_cache, limits.packs().clone(), &registry),
            limits,
            metrics: FetchMetrics::register(&registry),
            spending: Spending::new(),
            git_version: found.version,
            workers,
            writing,
            children,
            git: Arc::new(git),
            hooks,
            tracer: seeing::tracer(&registry)?,
            buffers: Buffers::default(),
            pushes: config.pushes,
            command_memory: push::CommandMemory::default(),
        };
        Ok(Self { registry, runtime_dir, rings, offspring, shared })
    }
}

// === impl Shared ===

impl Shared {
    /// What the calls of one reactor may use, with its way to the packs.
    pub(super) fn services(&self, packs: Packs) -> Services {
        Services {
            workers: self.workers.clone(),
            writing: self.writing.clone(),
            children: self.children.clone(),
            pushes: self.pushes,
            landings: push::Landings::default(),
            command_memory: self.command_memory.clone(),
            git: Arc::clone(&self.git),
            hooks: self.hooks.clone(),
            metrics: self.metrics.clone(),
            limits: self.limits.clone(),
            spending: self.spending.clone(),
            tracer: self.tracer.clone(),
            buffers: self.buffers.clone(),
            packs,
            agent: rpc::agent(),
            trace: None,
            explain_errors: true,
        }
    }
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
