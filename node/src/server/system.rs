//! What a node needs of the machine: git, and file descriptors enough.

use super::StartError;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest git that is supported: Debian 12's.
const GIT_OLDEST: (u32, u32) = (2, 39);

/// The git that children run.
#[derive(Debug)]
pub struct FoundGit {
    /// Absolute.
    pub program: PathBuf,
    /// As it was at the start, `2.39.5`.
    pub version: String,
}

/// Raises the soft limit of open files to the hard one: a fetch takes a handful, and the usual
/// soft limit is 1,024.
pub(super) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "raise the limit of open files");
    }
}

/// A git that is new enough: the one configured, else the first in PATH.
///
/// # Errors
/// [`StartError::Git`]: there is none, it cannot be run, or it is too old.
pub fn find_git(configured: Option<&Path>) -> Result<FoundGit, StartError> {
    let program = match configured {
        Some(path) => path.to_owned(),
        None => in_path("git").ok_or_else(|| {
            StartError::Git("there is none in PATH, and [git] bin_path is not set".to_owned())
        })?,
    };
    let unusable = |what: String| StartError::Git(format!("{}: {what}", program.display()));
    #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
    let output = Command::new(&program)
        .arg("version")
        .output()
        .map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = version(&text).ok_or_else(|| unusable(format!("says '{}'", text.trim())))?;
    if found < GIT_OLDEST {
        let (major, minor) = GIT_OLDEST;
        return Err(unusable(format!("{} is older than {major}.{minor}", text.trim())));
    }
    tracing::info!(path = %program.display(), version = text.trim(), "git");
    let version = text.trim().trim_start_matches("git version ").to_owned();
    Ok(FoundGit { program, version })
}

/// Major and minor of `git version 2.39.5 (…)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
    #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
    let found = candidates.filter(|path| path.is_absolute()).find(|path| path.is_file());
    found
}
