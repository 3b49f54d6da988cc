//! Which custom hooks there are.
//!
//! Always true: the repository's own hook comes first, then its `.d`, then the node's; within a
//! directory they are sorted by name. At most [`HOOKS_MAX`] are found.
//! Never here: running them.

use rustix::fs::{Access, access};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Of one name. Whoever has more has pointed us to the wrong directory.
const HOOKS_MAX: usize = 1000;

/// The hooks `name` in the order in which they run. Blocks.
pub(super) fn find(name: &str, git_dir: &Path, global: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let own = git_dir.join("custom_hooks");
    let mut found = Vec::new();
    let first = own.join(name);
    if is_hook(&first) {
        found.push(first);
    }
    let directory = format!("{name}.d");
    in_directory(&own.join(&directory), &mut found)?;
    if let Some(global) = global {
        in_directory(&global.join(&directory), &mut found)?;
    }
    Ok(found)
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn in_directory(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let before = found.len();
    for entry in entries {
        let path = entry?.path();
        if is_hook(&path) {
            found.push(path);
        }
        if found.len() > HOOKS_MAX {
            let text = format!("more than {HOOKS_MAX} hooks, the last in {}", directory.display());
            return Err(io::Error::other(text));
        }
    }
    found[before..].sort();
    Ok(())
}

/// Whether Gitaly would run it: executable, no directory, no backup of an editor.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn is_hook(path: &Path) -> bool {
    !path.as_os_str().as_bytes().ends_with(b"~")
        && fs::metadata(path).is_ok_and(|metadata| !metadata.is_dir())
        && access(path, Access::EXEC_OK).is_ok()
}
