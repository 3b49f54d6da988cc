//! What a custom hook finds in its environment, and how object directories are named.
//!
//! Always true: of the node's own variables a hook sees those that Gitaly hands on, no other.
//! Never here: `CORRELATION_ID`, which children get from their account.

use super::{ObjectDirectories, Push};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// What Gitaly hands on to its children.
const HANDED_ON: &[&str] = &[
    "HOME",
    "LD_LIBRARY_PATH",
    "TZ",
    "GIT_TRACE",
    "GIT_TRACE_PACK_ACCESS",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PERFORMANCE",
    "GIT_TRACE_SETUP",
    "GIT_EXEC_PATH",
    "GIT_DEFAULT_REF_FORMAT",
    "all_proxy",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// A child's environment.
pub type Variables = Vec<(OsString, OsString)>;

/// What every hook gets of the node's environment; the directory of `git_program` comes first in
/// its `PATH`, so that hooks run the git that the node runs.
pub(super) fn inherited(git_program: &Path) -> Variables {
    let handed_on = HANDED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let mut variables: Variables = handed_on.map(|(name, value)| (name.into(), value)).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let before = git_program.parent().map(Path::as_os_str).unwrap_or_default();
    let path = [before.as_bytes(), path.as_bytes()].join(&b':');
    variables.push(("PATH".into(), OsString::from_vec(path)));
    variables
}

/// The environment of the hooks of a push.
pub(super) fn of(inherited: &Variables, push: &Push<'_>) -> Variables {
    let mut variables = inherited.clone();
    let mut set = |name: &str, value: &OsStr| variables.push((name.into(), value.to_owned()));
    let pusher = push.pusher;
    set("GIT_DIR", push.git_dir.as_os_str());
    set("GL_REPOSITORY", pusher.gl_repository.as_ref());
    set("GL_PROJECT_PATH", pusher.gl_project_path.as_ref());
    set("GL_ID", pusher.gl_id.as_ref());
    set("GL_USERNAME", pusher.gl_username.as_ref());
    set("GL_PROTOCOL", pusher.protocol.name().as_ref());
    if let Some(ObjectDirectories { object_directory, alternates }) = push.quarantine {
        set("GIT_OBJECT_DIRECTORY", object_directory.as_os_str());
        // With it git refuses to update refs, which could lead to objects that never arrive.
        set("GIT_QUARANTINE_PATH", object_directory.as_os_str());
        if !alternates.is_empty() {
            set("GIT_ALTERNATE_OBJECT_DIRECTORIES", &joined(alternates));
        }
    }
    if !push.push_options.is_empty() {
        set("GIT_PUSH_OPTION_COUNT", push.push_options.len().to_string().as_ref());
        for (index, option) in push.push_options.iter().enumerate() {
            set(&format!("GIT_PUSH_OPTION_{index}"), OsStr::from_bytes(option));
        }
    }
    variables
}

/// Paths as git separates them (git(1), GIT_ALTERNATE_OBJECT_DIRECTORIES): one that holds a colon
/// is quoted.
pub(super) fn joined(paths: &[PathBuf]) -> OsString {
    let quoted = paths.iter().map(|path| {
        let bytes = path.as_os_str().as_bytes();
        if !bytes.contains(&b':') && !bytes.starts_with(b"\"") {
            return bytes.to_vec();
        }
        let mut quoted = vec![b'"'];
        for byte in bytes {
            match byte {
                b'"' | b'\\' => quoted.extend([b'\\', *byte]),
                b'\n' => quoted.extend(b"\\n"),
                other => quoted.push(*other),
            }
        }
        quoted.push(b'"');
        quoted
    });
    OsString::from_vec(quoted.collect::<Vec<_>>().join(&b':'))
}

/// The quarantine and the other object directories as GitLab names them when it calls back:
/// relative to the repository. Nothing for a push without a quarantine.
pub(super) fn relative_directories(push: &Push<'_>) -> (String, Vec<String>) {
    let Some(quarantine) = push.quarantine else { return Default::default() };
    let name = |path: &PathBuf| relative(push.git_dir, path).to_string_lossy().into_owned();
    let alternates = quarantine.alternates.iter().map(name).collect();
    (name(&quarantine.object_directory), alternates)
}

/// `path` as seen from `base`; both are absolute and without symbolic links.
fn relative(base: &Path, path: &Path) -> PathBuf {
    let (mut from, mut to) = (base.components().peekable(), path.components().peekable());
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    let found: PathBuf = from.map(|_| Component::ParentDir).chain(to).collect();
    if found.as_os_str().is_empty() { Component::CurDir.as_os_str().into() } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_directories_are_named_from_the_repository() {
        fn check(base: &str, path: &str, expected: &str) {
            assert_eq!(relative(Path::new(base), Path::new(path)), Path::new(expected), "{path}");
        }
        check("/s/a.git", "/s/a.git/objects", "objects");
        check("/s/a.git", "/s/a.git", ".");
        check("/s/a.git", "/s/+gitaly/tmp/q", "../+gitaly/tmp/q");
        check("/s/a.git", "/other", "../../other");
    }

    #[test]
    fn paths_with_colons_are_quoted() {
        fn check(paths: &[&str], expected: &str) {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            assert_eq!(joined(&paths), OsStr::new(expected));
        }
        check(&["/a", "/b"], "/a:/b");
        check(&["/a:b", "/c"], "\"/a:b\":/c");
        check(&["/a\"\\:b"], "\"/a\\\"\\\\:b\"");
    }
}
