//! Whether the owner of a repository may be trusted (git-config(1), `safe.directory`).
//!
//! Always true: only protected configuration (system, global, environment) can make an exception.
//! Never here: who may read a repository.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bstr::ByteSlice;

use super::{Environment, RepositoryError};
use crate::config::load::{self, Sources};

/// Whether the owner of a repository is checked before anything in it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The caller vouches for the repository: a storage of the server.
    #[default]
    Trusted,
    /// As `git upload-pack` checks it.
    Checked {
        /// `SUDO_UID`: for root, whose repositories count as its own besides root's.
        sudo_uid: Option<u32>,
        /// `GIT_TEST_ASSUME_DIFFERENT_OWNER`: only `safe.directory` counts.
        assume_different: bool,
    },
}

/// Checks a repository at `path`, which may have been reached through `gitfile`.
pub(super) fn check(
    gitfile: Option<&Path>,
    path: &Path,
    environment: &Environment,
) -> Result<(), RepositoryError> {
    let Ownership::Checked { sudo_uid, assume_different } = environment.ownership else {
        return Ok(());
    };
    let is_own = |path: &Path| is_own(path, sudo_uid);
    if (!assume_different && gitfile.is_none_or(is_own) && is_own(path))
        || is_declared_safe(path, environment)?
    {
        return Ok(());
    }
    Err(RepositoryError::DubiousOwnership(path.to_path_buf()))
}

fn is_own(path: &Path, sudo_uid: Option<u32>) -> bool {
    let (Ok(metadata), Some(user)) = (path.symlink_metadata(), effective_user()) else {
        return false;
    };
    metadata.uid() == user || (user == 0 && sudo_uid == Some(metadata.uid()))
}

/// The second number of `Uid:` in proc_pid_status(5): geteuid without unsafe code.
fn effective_user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn is_declared_safe(path: &Path, environment: &Environment) -> Result<bool, RepositoryError> {
    let protected = load::load(&Sources {
        defaults: &[],
        files: &environment.config_files,
        overrides: &environment.overrides,
        home: environment.home.as_deref(),
        ..Sources::default()
    })?;
    let mut is_safe = false;
    for (_, value) in protected.config.entries().filter(|(key, _)| *key == "safe.directory") {
        is_safe = match value.map(|value| value.as_bytes()) {
            None | Some(b"") => false,
            Some(b"*") => true,
            Some(value) => {
                let value = load::expand(value, environment.home.as_deref());
                is_safe || value.is_some_and(|value| is_same(&value, path))
            }
        };
    }
    Ok(is_safe)
}

/// `DIR/*` covers what is below `DIR`, as since git 2.46.
fn is_same(safe: &Path, path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    if safe.file_name().is_some_and(|name| name == "*") {
        return safe.parent().is_some_and(|parent| real != parent && real.starts_with(parent));
    }
    safe.as_os_str() == path.as_os_str() || safe.canonicalize().is_ok_and(|safe| safe == real)
}
