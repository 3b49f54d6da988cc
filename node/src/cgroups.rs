//! Cgroups v2 for children, as Gitaly's `[cgroups]` describes them.
//!
//! ```text
//!   <mountpoint>/<hierarchy_root>/gitaly-<pid>/repos-<n>      n = crc32(storage/path) mod count
//! ```
//!
//! Always true:
//! - where they are not available, or not wanted, there are none, and nothing fails: one warning
//!   says why;
//! - directories of this process go when it ends, those of processes that are gone when the next
//!   one starts;
//! - all of it is done on threads that may wait: at the start, on the spawning thread, for a
//!   scraper.
//!
//! Never here: version 1, and what children are.

mod hierarchy;
mod metrics;
pub mod own;
pub mod stats;

use self::hierarchy::Hierarchy;
use flate2::Crc;
use prometheus::Registry;
use rustix::process::Pid;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// `[cgroups]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupsConfig {
    /// Where the hierarchy is mounted.
    pub mountpoint: PathBuf,
    /// Below it, made by the operator and owned by the node's user.
    pub hierarchy_root: String,
    /// Of all children together.
    pub all: Resources,
    /// Of each repository's group.
    pub repositories: Resources,
    /// How many groups there are; none without.
    pub count: usize,
    /// Neighbouring groups that one repository's children are spread over, at least one.
    pub groups_per_repository: usize,
    /// Whether `gitaly_cgroup_*` are served.
    pub metrics_enabled: bool,
}

/// What a group may use. 0: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// `memory.max`
    pub memory_bytes: u64,
    /// As version 1 counts them: 1,024 are one full share. Becomes `cpu.weight`.
    pub cpu_shares: u64,
    /// Microseconds of CPU in every [`CPU_PERIOD_US`]: `cpu.max`.
    pub cpu_quota_us: u64,
}

/// Gitaly's period of CPU quotas.
pub const CPU_PERIOD_US: u64 = 100_000;

/// The groups of this process.
#[derive(Debug)]
pub struct Cgroups {
    hierarchy: Hierarchy,
    config: CgroupsConfig,
    /// Which groups exist; made when first needed.
    made: Mutex<Vec<bool>>,
    /// Spreads the children of one repository over its groups.
    turn: AtomicU64,
}

// === impl Cgroups ===

impl Cgroups {
    /// Makes the group of this process; `None` where there are to be no groups, or can be none.
    pub fn start(config: &CgroupsConfig, registry: &Registry) -> Option<Arc<Self>> {
        if config.count == 0 {
            if config.all != Resources::default() {
                tracing::warn!(
                    "cgroups.repositories.count is not set or 0: children run without cgroups"
                );
            }
            return None;
        }
        let path = config.mountpoint.join(&config.hierarchy_root);
        let made = Hierarchy::make(&config.mountpoint, &config.hierarchy_root, &config.all);
        let hierarchy = match made {
            Ok(hierarchy) => hierarchy,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "cgroups are not available: children run without");
                return None;
            }
        };
        let made = Mutex::new(vec![false; config.count]);
        let this = Self { hierarchy, config: config.clone(), made, turn: AtomicU64::new(0) };
        let this = Arc::new(this);
        // Whether limits of repositories can be set shows here, not at the first child.
        this.make_group(0);
        if config.metrics_enabled {
            metrics::register(&this, registry);
        }
        Some(this)
    }

    /// Moves a child into its repository's group; the group's path below the mount point, `None`
    /// if that failed. A child that has ended already is moved all the same.
    pub fn place(&self, pid: Pid, repository: Option<&str>) -> Option<String> {
        let group = self.group_of(repository.unwrap_or_default());
        self.make_group(group);
        let name = group_name(group);
        match self.hierarchy.add(&name, pid) {
            Ok(()) => Some(self.hierarchy.shown(&name)),
            Err(error) => {
                tracing::debug!(%error, group = name, "move a child into its cgroup");
                None
            }
        }
    }

    /// The directory of the group that holds all others.
    pub fn directory(&self) -> &Path {
        self.hierarchy.directory()
    }

    /// Removes the groups. Children must have ended.
    pub fn remove(&self) {
        if let Err(error) = self.hierarchy.remove() {
            let path = self.directory().display();
            tracing::warn!(%path, %error, "remove cgroups");
        }
    }

    /// Names of the groups that exist.
    fn groups(&self) -> Vec<String> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = made.iter().enumerate().filter(|(_, made)| **made);
        groups.map(|(group, _)| group_name(group)).collect()
    }

    fn group_of(&self, repository: &str) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        group_of(repository, &self.config, turn)
    }

    fn make_group(&self, group: usize) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(is_made) = made.get_mut(group).filter(|made| !**made) else { return };
        *is_made = true;
        self.hierarchy.make_group(&group_name(group), &self.config.repositories);
    }
}

fn group_name(group: usize) -> String {
    format!("repos-{group}")
}

/// As Gitaly chooses; where a repository has several groups they are taken in turn, not by lot.
fn group_of(repository: &str, config: &CgroupsConfig, turn: u64) -> usize {
    let mut crc = Crc::new();
    crc.update(repository.as_bytes());
    let shift = turn % (config.groups_per_repository.max(1) as u64);
    ((u64::from(crc.sum()) + shift) % (config.count as u64)) as usize
}

#[cfg(test)]
mod tests;
