//! A push in the words of GitLab and of hooks.

use crate::reactor::children::Account;
use gix_hash::ObjectId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookName {
    /// Before anything is changed; may refuse all.
    PreReceive,
    /// For each ref; may refuse it.
    Update,
    /// After all was changed.
    PostReceive,
}

/// How a push came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Smart HTTP.
    Http,
    /// SSH.
    Ssh,
    /// Made by GitLab itself.
    Web,
}

/// Who pushes what to which project, in GitLab's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pusher {
    /// `user-1`, `key-1` or `username-name`.
    pub gl_id: String,
    /// The login name.
    pub gl_username: String,
    /// `project-1`, `wiki-1`.
    pub gl_repository: String,
    /// `group/project`
    pub gl_project_path: String,
    /// How the push came.
    pub protocol: Protocol,
}

/// A ref that is to change, or has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Zeros for a ref that was not there.
    pub old: ObjectId,
    /// Zeros for a ref that goes.
    pub new: ObjectId,
    /// `refs/…`
    pub name: Vec<u8>,
}

/// Where the objects of a push are until they are published: absolute paths without symbolic
/// links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDirectories {
    /// The quarantine.
    pub object_directory: PathBuf,
    /// The repository's own `objects`, and what its alternates lead to where that is wanted.
    pub alternates: Vec<PathBuf>,
}

/// One push, as hooks see it.
#[derive(Debug, Clone)]
pub struct Push<'a> {
    /// The repository: an absolute path without symbolic links.
    pub git_dir: &'a Path,
    /// As clients of the node name it.
    pub relative_path: &'a str,
    /// At least one.
    pub changes: &'a [Change],
    /// As the pusher gave them.
    pub push_options: &'a [Vec<u8>],
    /// Where the new objects are; `None` once they are in the repository.
    pub quarantine: Option<&'a ObjectDirectories>,
    /// Who pushes.
    pub pusher: &'a Pusher,
    /// Who pays for hooks; its correlation id goes to GitLab and into their environment.
    pub account: Arc<Account>,
}

// === impl HookName ===

impl HookName {
    /// As git names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreReceive => "pre-receive",
            Self::Update => "update",
            Self::PostReceive => "post-receive",
        }
    }
}

// === impl Pusher ===

impl Pusher {
    /// Somebody of whom nothing is known: a GitLab that is asked for them refuses.
    pub fn nobody() -> Self {
        Self {
            gl_id: String::new(),
            gl_username: String::new(),
            gl_repository: String::new(),
            gl_project_path: String::new(),
            protocol: Protocol::Http,
        }
    }
}

// === impl Protocol ===

impl Protocol {
    /// As GitLab names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Web => "web",
        }
    }
}
