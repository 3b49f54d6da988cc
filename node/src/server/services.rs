//! What calls stand on, made once for all reactors.

use super::doors::MakeServices;
use crate::gitlab::Client;
use crate::hooks::{Hooks, HooksConfig};
use crate::reactor::children::Children;
use crate::reactor::workers::Workers;
use crate::rpc::fetch::Buffers;
use crate::rpc::git::Git;
use crate::rpc::{self, FetchMetrics, Services, defaults, push};
use crate::storage::Writing;
use gitring_git::repository::Environment;
use std::path::Path;
use std::sync::Arc;

/// Threads and processes.
pub(super) struct Pools {
    pub(super) workers: Workers,
    pub(super) writing: Writing,
    pub(super) children: Children,
}

// === impl Pools ===

impl Pools {
    pub(super) fn hooks(&self, config: HooksConfig, gitlab: Option<Client>, git: &Path) -> Hooks {
        Hooks::new(config, gitlab, self.workers.clone(), self.children.clone(), git)
    }
}

/// What calls may use.
pub(super) fn services(
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
pub(super) fn environment(config: Vec<(String, String)>) -> Environment {
    let overrides = config.into_iter().map(|(key, value)| (key, Some(value)));
    Environment {
        defaults: defaults::all(),
        overrides: overrides.collect(),
        ..Environment::default()
    }
}
