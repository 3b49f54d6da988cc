//! Refs as git's files backend stores them, hidden refs and namespaces.
//!
//! Always true: reading takes the loose refs before `packed-refs`, so a ref that git packs in the
//! meantime is found in at least one of the two.
//! Never here: objects; whoever resolves refs hands in what it knows of them. Writing.

mod hidden;
pub(crate) mod loose;
pub mod name;
mod namespace;
pub(crate) mod packed;
pub(crate) mod resolve;

pub use hidden::HideRules;
pub use name::is_valid as is_valid_name;
pub use namespace::{BadNamespace, Namespace};

use std::path::PathBuf;

use bstr::BString;

use crate::ObjectId;

/// One ref with its symbolic links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The full name, with any namespace: `refs/heads/main`.
    pub name: BString,
    /// The object that it stands for, which may be missing; null for a broken ref.
    pub target: ObjectId,
    /// What an annotated tag finally points to; none for other and for missing objects.
    pub peeled: Option<ObjectId>,
    /// For a symbolic ref, the ref at the end of the chain (`symref-target` of ls-refs).
    pub symref_target: Option<BString>,
}

/// What a HEAD stands for. As in git, the object is not checked to be present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// No HEAD, or one that cannot be read.
    Missing,
    /// An object id.
    Detached(ObjectId),
    /// A ref.
    Symbolic {
        /// The full name at the end of the chain.
        target: BString,
        /// None if that ref does not exist ("unborn").
        id: Option<ObjectId>,
    },
}

/// Why refs could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RefsError {
    /// A directory or file of refs cannot be read.
    #[error("read {path}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `packed-refs` is not what git writes (git-pack-refs(1)).
    #[error("{path}: line {line}: {reason}")]
    Packed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A ref whose name leads out of `refs/` (git refuses such a repository as well).
    #[error("loose or packed ref name is dangerous: {0}")]
    Dangerous(BString),
    /// More refs, bytes or levels of directories than are read.
    #[error("{path}: more than {limit} {what}")]
    TooMany {
        /// Where the limit was met.
        path: PathBuf,
        /// The limit.
        limit: u64,
        /// Its unit.
        what: &'static str,
    },
}

/// Refs of a repository beyond this number are refused: about 2 GiB of memory.
pub(crate) const REFS_MAX: usize = 10_000_000;

// === impl Ref ===

impl Ref {
    /// Whether the ref has a name that git refuses or a content that is no object id. Git (since
    /// 2.34) advertises such a ref with a null id, and does not resolve its name.
    pub fn is_broken(&self) -> bool {
        self.target.is_null()
    }
}
