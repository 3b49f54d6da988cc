//! Directories of cgroupfs (cgroups(7), Documentation/admin-guide/cgroup-v2.rst of the kernel).
//!
//! Always true: a limit that cannot be set is told once, with the file and the reason, and the
//! group is used without it.

#![expect(clippy::disallowed_methods, reason = "never on a reactor: see the head of `cgroups`")]

use super::{CPU_PERIOD_US, Resources};
use rustix::process::{Pid, test_kill_process};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Gitaly's names, so that its dashboards and clean-ups find ours.
const PREFIX: &str = "gitaly-";
/// What `statfs` says of cgroup2 (linux/magic.h).
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// Rounds of removals at the end: the kernel empties a group a moment after its last child was
/// reaped.
const REMOVALS_MAX: u32 = 20;

/// Why there are no groups.
#[derive(Debug, thiserror::Error)]
pub(super) enum HierarchyError {
    /// Something else is mounted there.
    #[error("no cgroup2 is mounted at {}, and version 1 is not supported", .0.display())]
    Version(PathBuf),
    /// The system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: io::Error,
    },
}

/// The directory of this process.
#[derive(Debug)]
pub(super) struct Hierarchy {
    mountpoint: PathBuf,
    directory: PathBuf,
    /// A limit that could not be set was told.
    has_complained: AtomicBool,
}

// === impl Hierarchy ===

impl Hierarchy {
    /// Removes what dead processes left, and makes the directory of this one.
    pub(super) fn make(
        mountpoint: &Path,
        root: &str,
        resources: &Resources,
    ) -> Result<Self, HierarchyError> {
        let found = rustix::fs::statfs(mountpoint).map_err(|error| HierarchyError::Io {
            what: format!("look at {}", mountpoint.display()),
            source: error.into(),
        })?;
        if u64::try_from(found.f_type) != Ok(CGROUP2_MAGIC) {
            return Err(HierarchyError::Version(mountpoint.to_owned()));
        }
        Self::make_in(mountpoint, root, resources)
    }

    /// The same, whatever is mounted there.
    pub(super) fn make_in(
        mountpoint: &Path,
        root: &str,
        resources: &Resources,
    ) -> Result<Self, HierarchyError> {
        let above = mountpoint.join(root.trim_matches('/'));
        prune(&above);
        let directory = above.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&directory).map_err(|source| HierarchyError::Io {
            what: format!("create {}", directory.display()),
            source,
        })?;
        let has_complained = AtomicBool::new(false);
        let this = Self { mountpoint: mountpoint.to_owned(), directory, has_complained };
        let up_to = this.directory.ancestors();
        let mut parents: Vec<_> = up_to.take_while(|path| path.starts_with(mountpoint)).collect();
        parents.reverse();
        for parent in parents {
            enable_controllers(parent);
        }
        this.limit(&this.directory, resources);
        Ok(this)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A group as logs and metrics show it: its path below the mount point.
    pub(super) fn shown(&self, group: &str) -> String {
        let below = self.directory.strip_prefix(&self.mountpoint).unwrap_or(&self.directory);
        below.join(group).display().to_string()
    }

    pub(super) fn make_group(&self, group: &str, resources: &Resources) {
        let path = self.directory.join(group);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return self.complain(&path, &error),
        }
        self.limit(&path, resources);
    }

    pub(super) fn add(&self, group: &str, pid: Pid) -> io::Result<()> {
        let path = self.directory.join(group).join("cgroup.procs");
        match fs::write(path, pid.as_raw_nonzero().to_string()) {
            // It has ended and was not reaped yet.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                Ok(())
            }
            written => written,
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        let mut rounds = 0;
        loop {
            match remove(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    rounds += 1;
                    if rounds == REMOVALS_MAX {
                        return Err(error);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                ended => return ended,
            }
        }
    }

    fn limit(&self, directory: &Path, resources: &Resources) {
        for (file, text) in limits(resources) {
            let path = directory.join(file);
            if let Err(error) = fs::write(&path, text) {
                self.complain(&path, &error);
            }
        }
    }

    fn complain(&self, path: &Path, error: &io::Error) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            let path = path.display();
            tracing::warn!(%path, %error, "a limit of cgroups is not in force");
        }
    }
}

/// Which files say so, and what they are to hold.
pub(super) fn limits(resources: &Resources) -> Vec<(&'static str, String)> {
    let mut limits = Vec::new();
    if resources.memory_bytes > 0 {
        limits.push(("memory.max", resources.memory_bytes.to_string()));
    }
    if resources.cpu_shares > 0 {
        limits.push(("cpu.weight", weight(resources.cpu_shares).to_string()));
    }
    if resources.cpu_quota_us > 0 {
        limits.push(("cpu.max", format!("{} {CPU_PERIOD_US}", resources.cpu_quota_us)));
    }
    limits
}

/// Shares of version 1, 2 to 262,144, as weights of version 2, 1 to 10,000: the mapping of runc,
/// crun and systemd, and so of Gitaly.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9_999 / 262_142
}

/// Lets the groups below have limits. Where this may not be done, or was done already by whoever
/// delegated the hierarchy, setting a limit tells.
fn enable_controllers(directory: &Path) {
    let read = |name| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let (offered, enabled) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let has = |list: &str, name: &str| list.split_whitespace().any(|one| one == name);
    for name in ["cpu", "memory"] {
        if has(&offered, name) && !has(&enabled, name) {
            // Refused in a group that has processes of its own; then its children stay unlimited.
            let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

/// Removes the groups of processes that are gone.
fn prune(above: &Path) {
    let Ok(entries) = fs::read_dir(above) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(pid) = pid.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let is_gone = test_kill_process(pid) == Err(rustix::io::Errno::SRCH);
        if is_gone && let Err(error) = remove(&entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "remove an old cgroup");
        }
    }
}

/// Removes a group and those right below it. The files in them go with them.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir(entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
