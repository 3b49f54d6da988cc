//! Where a repository's refs lie, and by what rules they are written.
//!
//! Always true: a path of a ref lies below the git directory.
//! Never here: reading and writing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bstr::{BStr, BString};

use super::{PrepareError, Waiting};
use crate::config::Config;
use crate::files::{FileCalls, System};
use crate::refs::name;
use crate::repository::Snapshot;

/// `core.filesRefLockTimeout` and `core.packedRefsTimeout` where they are not set, in milliseconds.
const REF_TIMEOUT_MS: i64 = 100;
const PACKED_TIMEOUT_MS: i64 = 1_000;
/// What stands for a timeout without end: longer than any caller waits.
const TIMEOUT_MS_MAX: i64 = 600_000;
/// New values from which on they may go to `packed-refs`: one file and no journal, instead of a
/// file each.
const PACK_MIN: usize = 8;
/// Refs of each worktree (git-worktree(1), REFS).
const WORKTREE_REFS: [&[u8]; 3] = [b"refs/bisect/", b"refs/rewritten/", b"refs/worktree/"];

/// The refs of one repository, to be written.
#[derive(Debug, Clone)]
pub struct RefFiles {
    pub(super) git_dir: PathBuf,
    pub(super) common_dir: PathBuf,
    pub(super) calls: Arc<dyn FileCalls>,
    pub(super) ref_timeout: Duration,
    pub(super) packed_timeout: Duration,
    pub(super) logs: Logs,
    pub(super) log_entry: LogEntry,
    pub(super) pack_min: usize,
    /// `None`: any number of threads may wait.
    pub(super) waiting: Option<Arc<Waiting>>,
}

/// What a line of a reflog says beside the two ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogEntry {
    /// `name <mail>`; time and zone (UTC) are added.
    pub(super) committer: BString,
    /// One line; may be empty.
    pub(super) message: BString,
}

/// `core.logAllRefUpdates`: for which refs a log is begun. One that exists goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logs {
    None,
    /// Branches, remote-tracking branches, notes and HEAD.
    Usual,
    Always,
}

// === impl RefFiles ===

impl RefFiles {
    /// The refs of a snapshot's repository, under its configuration. Nothing else of the snapshot
    /// counts: what is updated is read again.
    ///
    /// # Errors
    /// [`PrepareError::Unsupported`]: reftable, sha256, or a format that is not known.
    pub fn of(snapshot: &Snapshot) -> Result<Self, PrepareError> {
        if let Some(unsupported) = snapshot.unsupported.filter(|reason| reason.is_unreadable()) {
            return Err(PrepareError::Unsupported(unsupported));
        }
        let config = &snapshot.config;
        let timeout = |key, default| {
            // A value that is no number costs a message in git, and is left out here.
            let set = config.integer(key).ok().flatten().unwrap_or(default);
            let set = if set < 0 { TIMEOUT_MS_MAX } else { set.min(TIMEOUT_MS_MAX) };
            Duration::from_millis(set.unsigned_abs())
        };
        Ok(Self {
            git_dir: snapshot.git_dir().to_path_buf(),
            common_dir: snapshot.common_dir().to_path_buf(),
            calls: System::durable(),
            ref_timeout: timeout("core.filesreflocktimeout", REF_TIMEOUT_MS),
            packed_timeout: timeout("core.packedrefstimeout", PACKED_TIMEOUT_MS),
            logs: Logs::of(config),
            log_entry: LogEntry::of(config),
            pack_min: PACK_MIN,
            waiting: None,
        })
    }

    /// The same through other file calls: volatile ones, or those of a test.
    #[must_use]
    pub fn with_calls(self, calls: Arc<dyn FileCalls>) -> Self {
        Self { calls, ..self }
    }

    /// The same, where not all threads may wait for locks.
    #[must_use]
    pub fn with_waiting(self, waiting: Arc<Waiting>) -> Self {
        Self { waiting: Some(waiting), ..self }
    }

    /// With this message in lines of reflogs; without a `committer`, of the configured user.
    #[must_use]
    pub fn with_log_entry(self, committer: Option<BString>, message: &str) -> Self {
        let committer = committer.unwrap_or(self.log_entry.committer);
        Self { log_entry: LogEntry { committer, message: message.into() }, ..self }
    }

    /// The file of a ref whose name was found good.
    pub(super) fn file(&self, name: &BStr) -> PathBuf {
        self.home(name).join(OsStr::from_bytes(name))
    }

    /// The reflog of a ref.
    pub(super) fn log(&self, name: &BStr) -> PathBuf {
        self.home(name).join("logs").join(OsStr::from_bytes(name))
    }

    /// The directory that holds all of ours.
    pub(super) fn room(&self) -> PathBuf {
        self.common_dir.join("gitring")
    }

    /// The file of packed refs, behind a symbolic link if it is one, as git replaces it.
    pub(super) fn packed(&self) -> PathBuf {
        let path = self.common_dir.join("packed-refs");
        if path.is_symlink() { path.canonicalize().unwrap_or(path) } else { path }
    }

    /// Whether all worktrees share a ref: then it may be packed.
    pub(super) fn is_shared(name: &BStr) -> bool {
        name.starts_with(b"refs/") && !WORKTREE_REFS.iter().any(|prefix| name.starts_with(prefix))
    }

    fn home(&self, name: &BStr) -> &Path {
        if Self::is_shared(name) { &self.common_dir } else { &self.git_dir }
    }
}

// === impl LogEntry ===

impl LogEntry {
    /// The configured user, without a message.
    fn of(config: &Config) -> Self {
        let setting = |key, other: &str| {
            let set = config.string(key).filter(|value| !value.is_empty());
            set.map_or_else(|| BString::from(other), BString::from)
        };
        let mut committer = setting("user.name", "unknown");
        committer.extend_from_slice(b" <");
        committer.extend_from_slice(&setting("user.email", "unknown"));
        committer.push(b'>');
        Self { committer, message: BString::default() }
    }
}

// === impl Logs ===

impl Logs {
    fn of(config: &Config) -> Self {
        if config
            .string("core.logallrefupdates")
            .is_some_and(|set| set.eq_ignore_ascii_case(b"always"))
        {
            return Self::Always;
        }
        let is_bare = config.boolean("core.bare").ok().flatten().unwrap_or(true);
        match config.boolean("core.logallrefupdates") {
            Ok(Some(true)) => Self::Usual,
            Ok(None) if !is_bare => Self::Usual,
            Ok(Some(false) | None) | Err(_) => Self::None,
        }
    }
}

/// Whether a ref may be given this name: valid, and below `refs/` or like `HEAD`.
pub(super) fn may_be_set(name: &BStr) -> bool {
    name::is_valid(name) && (name.starts_with(b"refs/") || name::is_safe(name)) && has_depth(name)
}

/// Whether a ref of this name may be removed or asked for: also one that no ref should have, as
/// long as it is harmless as a path and as a line, and no lock.
pub(super) fn may_be_removed(name: &BStr) -> bool {
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != 0x7f;
    !name.is_empty()
        && name::is_safe(name)
        && name.iter().all(is_plain)
        && !name.split(|byte| *byte == b'/').any(|part| part.ends_with(b".lock"))
        && has_depth(name)
}

/// Deeper ones are not read again ([`crate::refs`]); a component has a limit of the file system's.
fn has_depth(name: &BStr) -> bool {
    const DEPTH_MAX: usize = 100;
    const NAME_BYTES_MAX: usize = 3_000;
    name.len() <= NAME_BYTES_MAX && name.iter().filter(|byte| **byte == b'/').count() <= DEPTH_MAX
}
