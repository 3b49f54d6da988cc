//! What one request sees of a repository.
//!
//! Always true: a snapshot never changes; `refs` are sorted by name.
//! Never here: hiding; a snapshot holds what exists, not what a client may see.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bstr::{BStr, BString, ByteSlice};

use super::locate::Places;
use super::memo::Memo;
use crate::at_once;
use crate::config::Config;
use crate::mailmap;
use crate::objects::{Store, StoreError, StoreOptions};
use crate::refs::loose::{self, Value};
use crate::refs::resolve::SYMBOLIC_DEPTH_MAX;
use crate::refs::{Head, Namespace, Ref, is_valid_name};

/// Refs, HEAD, configuration and objects of a repository at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// The settings of all files and of the environment.
    pub config: Config,
    /// The objects of the repository and its alternates.
    pub store: Arc<Store>,
    /// HEAD of the repository itself; for a namespace see [`Self::head_of`].
    pub head: Head,
    /// Everything under `refs/`, sorted by name, as git (since 2.34) advertises it: symbolic refs
    /// resolved, those that lead nowhere left out; refs whose object is missing are there, and
    /// broken ones with a null id ([`Ref::is_broken`]).
    pub refs: Arc<Vec<Ref>>,
    /// Why the repository has to be served by a git child. If the format is the reason, neither
    /// refs nor HEAD were read.
    pub unsupported: Option<Unsupported>,
    /// Whether `refs/replace/` has refs and `core.useReplaceRefs` heeds them. Packs are built
    /// without them; commit-graphs are not used beside them.
    pub has_replace_refs: bool,
    /// Answers made from this snapshot.
    pub memo: Memo,
    /// Looked for when it is first asked for.
    pub(crate) mailmap: OnceLock<mailmap::Loaded>,
    pub(super) namespace_heads: Vec<(BString, Head)>,
    pub(super) places: Places,
    /// The only alternate, where it has none itself and the environment names no directories.
    pub(super) pool: Option<PathBuf>,
}

/// Why the native path does not serve a repository; the most fundamental reason is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsupported {
    /// `core.repositoryFormatVersion` above 1.
    FormatVersion,
    /// An extension that is not known here, or one that the version does not allow.
    UnknownExtension,
    /// `extensions.objectFormat = sha256`
    Sha256,
    /// `extensions.refStorage = reftable`
    Reftable,
    /// A `shallow` file: history ends early.
    Shallow,
    /// `info/grafts`: parents are not those of the commits.
    Grafts,
    /// A partial clone, which may lack objects.
    Promisor,
    /// A conditional include whose condition only git evaluates.
    UnevaluatedInclude,
}

// === impl Snapshot ===

impl Snapshot {
    /// The same refs and settings with objects from other directories, as git reads them with
    /// `GIT_OBJECT_DIRECTORY` and `GIT_ALTERNATE_OBJECT_DIRECTORIES`. Costs the opening of a
    /// store; whether objects of refs exist is not looked at again.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn with_objects(
        &self,
        own: Option<&Path>,
        alternates: &[PathBuf],
    ) -> Result<Self, StoreError> {
        let mut places = self.places.clone();
        if let Some(own) = own {
            places.objects_dir = own.to_path_buf();
        }
        let is_allowed = self.config.boolean("core.commitgraph") != Ok(Some(false));
        let commit_graph = !self.has_replace_refs && self.unsupported.is_none() && is_allowed;
        let options = StoreOptions { alternates: alternates.to_vec(), commit_graph };
        Ok(Self {
            config: self.config.clone(),
            store: Arc::new(Store::open(&places.objects_dir, &options)?),
            head: self.head.clone(),
            refs: Arc::clone(&self.refs),
            unsupported: self.unsupported,
            has_replace_refs: self.has_replace_refs,
            memo: Memo::default(),
            mailmap: OnceLock::new(),
            namespace_heads: self.namespace_heads.clone(),
            places,
            pool: None,
        })
    }

    /// The ref of a full name.
    pub fn find(&self, full_name: &BStr) -> Option<&Ref> {
        let found = self.refs.binary_search_by(|one| one.name.as_bstr().cmp(full_name));
        found.ok().map(|at| &self.refs[at])
    }

    /// The refs whose full names begin with `prefix`, which need not end at a slash.
    pub fn with_prefix(&self, prefix: &[u8]) -> &[Ref] {
        let start = self.refs.partition_point(|one| one.name.as_slice() < prefix);
        let rest = &self.refs[start..];
        &rest[..rest.partition_point(|one| one.name.starts_with(prefix))]
    }

    /// HEAD of a namespace; a symbolic one has the full name of its target.
    pub fn head_of(&self, namespace: &Namespace) -> Head {
        if namespace.prefix().is_empty() {
            return self.head.clone();
        }
        let name = namespace.full_name(b"HEAD".as_bstr());
        if let Some((_, head)) = self.namespace_heads.iter().find(|(known, _)| *known == name) {
            return head.clone();
        }
        self.find(name.as_bstr()).map_or(Head::Missing, |head| Head::Detached(head.target))
    }

    /// Whether something that git may take for a ref lies outside `refs/` under this name, such as
    /// `FETCH_HEAD`. That is no part of the snapshot: the file is looked at now.
    pub(crate) fn may_have_outside_refs(&self, name: &BStr) -> bool {
        let is_other_worktree = |prefix: &&str| name.starts_with(prefix.as_bytes());
        if ["main-worktree/", "worktrees/"].iter().any(is_other_worktree) {
            return true;
        }
        if at_once::may_wait().is_err() {
            return true;
        }
        let Ok(name) = name.to_os_str() else { return true };
        // A worktree has pseudo refs of its own; other names are those of the common directory.
        let Places { git_dir, common_dir, .. } = &self.places;
        let is_ref = |dir: &Path| {
            matches!(
                loose::read_value(&dir.join(name)),
                Ok(Some(Value::Direct(_) | Value::Symbolic(_)))
            )
        };
        is_ref(git_dir) || (git_dir != common_dir && is_ref(common_dir))
    }

    /// Where a symbolic ref leads in the end; `None` for other refs, `Some(None)` if it leads
    /// nowhere that could be a ref. One to a ref that does not exist is no part of the snapshot:
    /// its file is looked at now.
    pub(crate) fn symbolic_target(&self, full_name: &BStr) -> Option<Option<BString>> {
        if let Some(found) = self.find(full_name) {
            return found.symref_target.clone().map(Some);
        }
        let value = |name: &BStr| {
            let path = self.places.common_dir.join(name.to_path().ok()?);
            loose::read_value(&path).ok().flatten()
        };
        if !is_valid_name(full_name) || !full_name.starts_with(b"refs/") {
            return None;
        }
        let Some(Value::Symbolic(mut target)) = value(full_name) else { return None };
        for _ in 1..SYMBOLIC_DEPTH_MAX {
            if !is_valid_name(&target) {
                return Some(None);
            }
            match value(target.as_bstr()) {
                None | Some(Value::Direct(_)) => return Some(Some(target)),
                Some(Value::Broken) => return Some(None),
                Some(Value::Symbolic(next)) => target = next,
            }
        }
        Some(None)
    }

    /// Whether worktrees are linked to the repository (git-worktree). That is no part of the
    /// snapshot: the directory is looked at now.
    pub(crate) fn has_linked_worktrees(&self) -> bool {
        let entries = std::fs::read_dir(self.places.common_dir.join("worktrees"));
        entries.is_ok_and(|mut entries| entries.next().is_some())
    }

    /// The directory that the repository's own objects lie in.
    pub fn objects_dir(&self) -> &Path {
        &self.places.objects_dir
    }

    /// The `objects` directory of the repository's pool: its only alternate
    /// (gitrepository-layout(5), `objects/info/alternates`), where that one needs no other.
    pub fn pool_objects_dir(&self) -> Option<&Path> {
        self.pool.as_deref()
    }

    /// The git directory; of a linked worktree its own.
    pub fn git_dir(&self) -> &Path {
        &self.places.git_dir
    }

    /// The directory that all worktrees share, which holds `refs/`, `packed-refs` and `config`
    /// (gitrepository-layout(5)); for others the git directory.
    pub fn common_dir(&self) -> &Path {
        &self.places.common_dir
    }
}

// === impl Unsupported ===

impl Unsupported {
    /// A word for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::FormatVersion => "format-version",
            Self::UnknownExtension => "unknown-extension",
            Self::Sha256 => "sha256",
            Self::Reftable => "reftable",
            Self::Shallow => "shallow",
            Self::Grafts => "grafts",
            Self::Promisor => "promisor",
            Self::UnevaluatedInclude => "unevaluated-include",
        }
    }

    /// Whether refs and objects are stored in a way that is not read here.
    pub fn is_unreadable(self) -> bool {
        self <= Self::Reftable
    }
}
