//! What belongs to children: their budget, their cgroups, and limits that follow how they fare.

use crate::adaptation::{Adaptation, Adaptive, Watched};
use crate::cgroups::Cgroups;
use crate::config::Config;
use crate::reactor::children::{Children, Standing};
use prometheus::Registry;
use std::io;
use std::sync::Arc;

/// Children and what goes with them.
#[derive(Debug)]
pub(super) struct Offspring {
    pub(super) children: Children,
    cgroups: Option<Arc<Cgroups>>,
    adaptation: Adaptation,
}

// === impl Offspring ===

impl Offspring {
    pub(super) fn start(
        config: &Config,
        git_version: &str,
        limits: Vec<Adaptive>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let cgroups = Cgroups::start(&config.cgroups, registry);
        let standing = Standing::below(cgroups.clone());
        let children = Children::start(config.runtime.children, standing, git_version, registry)?;
        let watched = Watched { cgroups: cgroups.clone(), children: children.clone() };
        let adaptation = Adaptation::start(&config.adaptation, limits, watched, registry);
        Ok(Self { children, cgroups, adaptation })
    }

    /// Goes on with other limits.
    pub(super) fn reload(&self, config: &Config, limits: Vec<Adaptive>) {
        self.adaptation.reload(&config.adaptation, limits);
    }

    /// Waits until no child is left, and removes their cgroups.
    pub(super) async fn buried(&self) {
        self.children.ended().await;
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove();
        }
    }
}
