//! Finding a repository: the suffixes that `git upload-pack` tries, `.git` files, worktrees.
//!
//! Always true: a [`Places`] had a HEAD, objects and refs when it was made.
//! Never here: reading more of them than it takes to know that.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use super::RepositoryError;
use crate::config::load;
use crate::refs::loose::{self, Value};

/// `max_file_size` of git for a `.git` file.
const GITFILE_BYTES_MAX: u64 = 1 << 20;
const PATH_BYTES_MAX: usize = 4_096;

/// The directories of a repository (gitrepository-layout(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// Holds HEAD.
    pub(super) git_dir: PathBuf,
    /// Holds refs, packed-refs and config; another than `git_dir` for a linked worktree.
    pub(super) common_dir: PathBuf,
    pub(super) objects_dir: PathBuf,
}

/// Where a path given by a user leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The path with its suffix.
    pub(super) path: PathBuf,
    /// The same path, if it is a `.git` file.
    pub(super) gitfile: Option<PathBuf>,
    pub(super) git_dir: PathBuf,
}

/// `enter_repo` of git.
pub(super) fn enter(
    directory: &Path,
    is_strict: bool,
    home: Option<&Path>,
) -> Result<Found, RepositoryError> {
    if is_strict {
        return found(directory.to_path_buf());
    }
    let text = directory.as_os_str().as_bytes();
    let kept = text.len() - text.iter().rev().take_while(|byte| **byte == b'/').count();
    let text = &text[..kept.max(1).min(text.len())];
    let expanded = load::expand(text, home).filter(|_| text.len() < PATH_BYTES_MAX);
    let Some(base) = expanded else {
        return Err(RepositoryError::Missing(directory.to_path_buf()));
    };
    for suffix in ["/.git", "", ".git/.git", ".git"] {
        let mut path = base.clone().into_os_string();
        path.push(suffix);
        let path = PathBuf::from(path);
        let is_candidate = fs::metadata(&path)
            .is_ok_and(|metadata| metadata.is_file() || (metadata.is_dir() && is_git_dir(&path)));
        if is_candidate {
            return found(path);
        }
    }
    Err(absent_or_other(directory))
}

fn found(path: PathBuf) -> Result<Found, RepositoryError> {
    if !path.is_file() {
        return Ok(Found { git_dir: path.clone(), gitfile: None, path });
    }
    let git_dir = read_gitfile(&path).ok_or_else(|| absent_or_other(&path))?;
    Ok(Found { git_dir, gitfile: Some(path.clone()), path })
}

/// Where a `.git` file leads (`gitdir: <path>`).
fn read_gitfile(path: &Path) -> Option<PathBuf> {
    if fs::metadata(path).ok()?.len() > GITFILE_BYTES_MAX {
        return None;
    }
    let text = fs::read(path).ok()?;
    let text = text.strip_prefix(b"gitdir: ")?.trim_end_with(|byte| matches!(byte, '\n' | '\r'));
    let target = PathBuf::from(OsString::from_vec(text.to_vec()));
    let target = path.parent()?.join(target);
    let is_repository = !text.is_empty() && is_git_dir(&target);
    is_repository.then(|| target.canonicalize().ok()).flatten()
}

/// `is_git_directory` of git, without a given object directory.
fn is_git_dir(path: &Path) -> bool {
    Places::of(path, None).is_ok()
}

fn absent_or_other(path: &Path) -> RepositoryError {
    if path.exists() {
        RepositoryError::NotARepository(path.to_path_buf())
    } else {
        RepositoryError::Missing(path.to_path_buf())
    }
}

// === impl Places ===

impl Places {
    /// The places of a git directory; `objects` stands for `GIT_OBJECT_DIRECTORY`.
    pub(super) fn of(git_dir: &Path, objects: Option<&Path>) -> Result<Self, RepositoryError> {
        let git_dir = git_dir.to_path_buf();
        let common_dir = match fs::read(git_dir.join("commondir")) {
            Ok(text) => {
                let text = text.trim_end_with(|byte| matches!(byte, '\n' | '\r'));
                git_dir.join(PathBuf::from(OsString::from_vec(text.to_vec())))
            }
            Err(_) => git_dir.clone(),
        };
        let objects_dir = objects.map_or_else(|| common_dir.join("objects"), Path::to_path_buf);
        let places = Self { git_dir, common_dir, objects_dir };
        places.check()?;
        Ok(places)
    }

    /// Whether git would still know this as a repository.
    pub(super) fn check(&self) -> Result<(), RepositoryError> {
        let is_repository =
            self.has_head() && self.objects_dir.is_dir() && self.common_dir.join("refs").is_dir();
        if is_repository { Ok(()) } else { Err(absent_or_other(&self.git_dir)) }
    }

    /// `validate_headref` of git: an object id or a ref, which need not exist.
    fn has_head(&self) -> bool {
        match loose::read_value(&self.git_dir.join("HEAD")) {
            Ok(Some(Value::Symbolic(target))) => target.starts_with(b"refs/"),
            Ok(Some(Value::Direct(_))) => true,
            // Ids of 64 digits are no refs that we read, but such a repository exists.
            Ok(Some(Value::Broken)) => fs::read(self.git_dir.join("HEAD"))
                .is_ok_and(|text| text.len() >= 64 && text[..64].iter().all(u8::is_ascii_hexdigit)),
            Ok(None) | Err(_) => false,
        }
    }
}
