//! The conditions of `includeIf` (git-config(1), Conditional includes).
//!
//! Always true: a condition that is not evaluated exactly as git does is [`Verdict::Unknown`].
//! Never here: reading the included file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use super::wildmatch;

/// What is known of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Holds,
    Fails,
    /// Not evaluated here: `onbranch:`, `hasconfig:`, `~user/`, and what newer gits add.
    Unknown,
}

/// Where a condition is evaluated.
pub(super) struct Place<'a> {
    /// None where git has no repository yet: then every `gitdir:` fails.
    pub(super) git_dir: Option<&'a Path>,
    pub(super) home: Option<&'a Path>,
    /// The file that contains the condition; none for the environment's settings.
    pub(super) file: Option<&'a Path>,
}

/// Evaluates what stands between `includeif.` and `.path`.
pub(super) fn evaluate(condition: &[u8], place: &Place<'_>) -> Verdict {
    let (pattern, fold) = if let Some(pattern) = condition.strip_prefix(b"gitdir:") {
        (pattern, false)
    } else if let Some(pattern) = condition.strip_prefix(b"gitdir/i:") {
        (pattern, true)
    } else {
        return Verdict::Unknown;
    };
    let Some(git_dir) = place.git_dir else { return Verdict::Fails };
    let (pattern, literal) = match prepare(pattern, place) {
        Prepared::Pattern { pattern, literal } => (pattern, literal),
        Prepared::Fails => return Verdict::Fails,
        Prepared::Unknown => return Verdict::Unknown,
    };
    let holds = |text: &Path| {
        let text = text.as_os_str().as_bytes();
        let (Some(head), Some(tail)) = (text.get(..literal), text.get(literal..)) else {
            return false;
        };
        let same = if fold {
            head.eq_ignore_ascii_case(&pattern[..literal])
        } else {
            head == &pattern[..literal]
        };
        same && wildmatch::matches(&pattern[literal..], tail, fold)
    };
    // The pattern may name the directory through a symbolic link: both spellings are tried.
    let real = git_dir.canonicalize().unwrap_or_else(|_| git_dir.to_path_buf());
    let absolute = std::path::absolute(git_dir).unwrap_or_else(|_| real.clone());
    if holds(&real) || holds(&absolute) { Verdict::Holds } else { Verdict::Fails }
}

/// `~/` and `%(prefix)/` at the start of a path (git-config(1), pathname); none for what only
/// git itself can expand.
pub(crate) fn expand(path: &[u8], home: Option<&Path>) -> Option<PathBuf> {
    match path {
        [b'~'] => home.map(Path::to_path_buf),
        [b'~', b'/', rest @ ..] => home.map(|home| home.join(OsStr::from_bytes(rest))),
        [b'~', ..] => None,
        _ if path.starts_with(b"%(prefix)/") => None,
        _ => Some(PathBuf::from(OsStr::from_bytes(path))),
    }
}

enum Prepared {
    /// The first `literal` bytes are compared as they are.
    Pattern {
        pattern: Vec<u8>,
        literal: usize,
    },
    Fails,
    Unknown,
}

fn prepare(pattern: &[u8], place: &Place<'_>) -> Prepared {
    let Some(expanded) = expand(pattern, place.home) else { return Prepared::Unknown };
    let mut pattern = if pattern.starts_with(b"~") {
        // The home directory itself is compared with its links resolved.
        let home = place.home.and_then(|home| home.canonicalize().ok());
        match home.and_then(|home| expand(pattern, Some(&home))) {
            Some(path) => path.into_os_string().as_bytes().to_vec(),
            None => return Prepared::Fails,
        }
    } else {
        expanded.as_os_str().as_bytes().to_vec()
    };
    let mut literal = 0;
    if pattern.starts_with(b"./") {
        let Some(file) = place.file.and_then(|file| file.canonicalize().ok()) else {
            return Prepared::Fails;
        };
        let directory = file.parent().map(|parent| parent.as_os_str().as_bytes().to_vec());
        let directory = directory.unwrap_or_default();
        literal = directory.len() + 1;
        pattern.splice(..1, directory);
    } else if !pattern.starts_with(b"/") {
        pattern.splice(..0, *b"**/");
    }
    if pattern.ends_with_str("/") {
        pattern.extend_from_slice(b"**");
    }
    Prepared::Pattern { pattern, literal }
}
