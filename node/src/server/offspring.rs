//! What belongs to children: their budget, their cgroups, and limits that follow how they fare.

use crate::adaptation::{Adaptation, Watched};
use crate::cgroups::Cgroups;
use crate::config::Config;
use crate::limits::Limits;
use crate::reactor::children::{Children, Standing};
use prometheus::Registry;
use std::io;
use std::sync::Arc;

/// Children and what goes with them.
#[derive(Debug)]
pub(super) struct Offspring {
    pub(super) children: Children,
    cgroups: Option<Arc<Cgroups>>,
    pub(super) adaptation: Arc<Adaptation>,
}

// === impl Offspring ===

impl Offspring {
    pub(super) fn start(
        config: &Config,
        git_version: &str,
        limits: Limits,
        registry: &Registry,
    ) -> io::Result<Self> {
        let cgroups = Cgroups::start(&config.cgroups, registry);
        let standing = Standing::below(cgroups.clone());
        let children = Children::start(config.runtime.children, standing, git_version, registry)?;
        let watched = Watched { cgroups: cgroups.clone(), children: children.clone() };
        let adaptation = Adaptation::start(&config.adaptation, limits, watched, registry);
        Ok(Self { children, cgroups, adaptation: Arc::new(adaptation) })
    }

    /// Waits until no child is left, and removes their cgroups.
    pub(super) async fn buried(&self) {
        self.children.ended().await;
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove();
        }
    }
}
