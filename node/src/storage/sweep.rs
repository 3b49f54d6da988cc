//! Sweeping `+gitaly/tmp`: what processes that were killed have left there.
//!
//! Always true: only entries older than a week go, as in Gitaly, which shares the directory; but
//! removed repositories go at once, since nobody will ever ask for them again.
//! Never here: other directories.

use super::delete::Deletion;
use super::place;
use super::{Repositories, Storages};
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In the names of directories that hold a removed repository, by the name below.
pub(super) const REMOVED: &str = "+removed-";
pub(super) const REMOVED_REPOSITORY: &str = "repo";

const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const INTERVAL: Duration = Duration::from_secs(3600);

// === impl Repositories ===

impl Repositories {
    /// Sweeps all storages now and every hour, for ever. Failures are logged.
    ///
    /// Has to be called in a tokio runtime with timers.
    pub async fn sweep_hourly(&self) {
        loop {
            self.sweep().await;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Sweeps all storages once.
    pub(super) async fn sweep(&self) {
        for root in distinct_roots(&self.shared.storages) {
            let scratch = place::scratch(&root);
            let list = {
                let scratch = scratch.clone();
                move || abandoned(&scratch)
            };
            let found = self.shared.workers.run(list).await;
            let outcome = match found.map_err(io::Error::other).and_then(|found| found) {
                Ok(found) => self.delete(found).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(path = %scratch.display(), %error, "sweep");
            }
        }
    }

    async fn delete(&self, abandoned: Vec<PathBuf>) -> io::Result<()> {
        for path in abandoned {
            tracing::info!(path = %path.display(), "sweep");
            Deletion::of(path).run(&self.shared.workers).await?;
        }
        Ok(())
    }
}

/// Two storages may share a directory.
pub(super) fn distinct_roots(storages: &Storages) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = storages.iter().map(|(_, root)| root.to_owned()).collect();
    roots.sort();
    roots.dedup();
    roots
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn abandoned(scratch: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(scratch) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_abandoned(&entry) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn is_abandoned(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_named = name.as_bytes().windows(REMOVED.len()).any(|part| part == REMOVED.as_bytes());
    // An empty one may be about to receive its repository.
    if is_named && fs::symlink_metadata(entry.path().join(REMOVED_REPOSITORY)).is_ok() {
        return true;
    }
    // Gone meanwhile, or from the future: not ours to sweep.
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age >= AGE_MAX))
}
