//! Bringing names and contents to stable storage.
//!
//! Always true: what returns successfully outlives a loss of power.
//! Never here: deciding what has to.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Brings a file's content, or a directory's names, to stable storage.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Syncs `directory` and what it lies in, up to and with `root`.
pub(super) fn sync_up(directory: &Path, root: &Path) -> io::Result<()> {
    directory.ancestors().take_while(|above| above.starts_with(root)).try_for_each(sync)
}

/// Creates a file with `content`; the umask narrows `mode`.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Creates a directory unless it exists. A symbolic link in its place is an error, wherever it
/// leads; the umask narrows `mode`. Its name is not synced yet.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
pub(super) fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let is_dir = fs::symlink_metadata(path)?.is_dir();
            if is_dir { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) }
        }
        outcome => outcome,
    }
}
