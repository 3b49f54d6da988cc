//! The directory for what a node needs while it runs: `gitring-<pid>` below `runtime_dir`.
//!
//! Always true: it belongs to this process alone and goes with it; one that a killed process left
//! behind goes with the next start.

use super::StartError;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "gitring-";

#[derive(Debug)]
pub(super) struct RuntimeDir {
    path: PathBuf,
}

// === impl RuntimeDir ===

#[expect(clippy::disallowed_methods, reason = "start and end: no reactor runs")]
impl RuntimeDir {
    pub(super) fn create(parent: Option<&Path>) -> Result<Self, StartError> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        sweep(&parent);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        // Fails if it exists: in a shared directory it could be somebody else's.
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(StartError::RuntimeDir { path, source }),
        }
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, StartError> {
        let path = self.path.join(name);
        match fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(source) => Err(StartError::RuntimeDir { path, source }),
        }
    }
}

impl Drop for RuntimeDir {
    #[expect(clippy::disallowed_methods, reason = "start and end: no reactor runs")]
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "remove the runtime directory");
        }
    }
}

/// Removes what processes that are gone have left.
#[expect(clippy::disallowed_methods, reason = "start and end: no reactor runs")]
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let pid = rest.split('-').next().unwrap_or(rest);
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            match fs::remove_dir_all(entry.path()) {
                Ok(()) => {}
                // Another user's, in a shared directory.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => tracing::warn!(path = %entry.path().display(), %error, "sweep"),
            }
        }
    }
}
