//! `GITALY_PID_FILE`: where `gitaly-wrapper` looks for the process that serves.
//!
//! Always true: the file is replaced as a whole, and removed by none but the process that it names.

use std::io;
use std::path::PathBuf;

/// Names this process, if anybody asks.
pub(super) fn write() {
    let Some(path) = path() else { return };
    if let Err(error) = replace(&path) {
        tracing::warn!(path = %path.display(), %error, "write GITALY_PID_FILE");
    }
}

/// Removes the file, unless another process serves by now.
#[expect(clippy::disallowed_methods, reason = "the main thread, which carries no connection")]
pub(super) fn remove() {
    let Some(path) = path() else { return };
    if std::fs::read_to_string(&path).is_ok_and(|named| named == std::process::id().to_string()) {
        let _ = std::fs::remove_file(&path);
    }
}

fn path() -> Option<PathBuf> {
    std::env::var_os("GITALY_PID_FILE").filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "the main thread, which carries no connection")]
fn replace(path: &PathBuf) -> io::Result<()> {
    let pid = std::process::id();
    let mut fresh = path.clone().into_os_string();
    fresh.push(format!(".{pid}"));
    std::fs::write(&fresh, pid.to_string())?;
    std::fs::rename(&fresh, path)
}
