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
        let make = || DirBuilder::new().mode(0o700).create(&path);
        let made = make().or_else(|error| {
            // In a container the number of a killed process is that of the next one. Somebody
            // else's cannot be removed from a shared directory, and is never used.
            let exists = error.kind() == io::ErrorKind::AlreadyExists;
            if exists { fs::remove_dir_all(&path).and_then(|()| make()) } else { Err(error) }
        });
        match made {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what a killed process left is no obstacle to one with its number.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test prepares directories")]
    fn a_number_may_be_that_of_a_killed_process() {
        let parent = tempfile::tempdir().unwrap();
        for number in 0..32 {
            let left = format!("{PREFIX}{}-{number}/below", std::process::id());
            fs::create_dir_all(parent.path().join(left)).unwrap();
        }
        let dir = RuntimeDir::create(Some(parent.path())).unwrap();
        assert_eq!(fs::read_dir(&dir.path).unwrap().count(), 0);
    }
}
