//! What a client can ask for.
//!
//! Always true: names are the words of `--mix` and of reports.
//!
//! Never here: messages.

use std::fmt;
use std::str::FromStr;

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `RepositoryExists`
    RepositoryExists,
    /// `RefExists` of one ref of many.
    RefExists,
    /// `FindCommit` of one commit of many.
    FindCommit,
    /// `FindDefaultBranchName`
    FindDefaultBranchName,
    /// ls-refs of protocol version 2, over `PostUploadPackWithSidechannel`.
    LsRefs,
    /// All branches and tags, over `PostUploadPackWithSidechannel`.
    Clone,
    /// The last steps of the default branch, over `PostUploadPackWithSidechannel`.
    Fetch,
    /// [`Kind::LsRefs`] over `SSHUploadPackWithSidechannel`.
    SshLsRefs,
    /// [`Kind::Clone`] over `SSHUploadPackWithSidechannel`.
    SshClone,
    /// `InfoRefsUploadPack` of protocol version 2.
    InfoRefs,
    /// `WriteRef` of a new ref each time.
    WriteRef,
}

/// A word that is no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no kind of request, expected one of {all}", all = names())]
pub struct UnknownKind(pub String);

// === impl Kind ===

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::RepositoryExists,
        Self::RefExists,
        Self::FindCommit,
        Self::FindDefaultBranchName,
        Self::LsRefs,
        Self::Clone,
        Self::Fetch,
        Self::SshLsRefs,
        Self::SshClone,
        Self::InfoRefs,
        Self::WriteRef,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RepositoryExists => "repository-exists",
            Self::RefExists => "ref-exists",
            Self::FindCommit => "find-commit",
            Self::FindDefaultBranchName => "find-default-branch-name",
            Self::LsRefs => "ls-refs",
            Self::Clone => "clone",
            Self::Fetch => "fetch",
            Self::SshLsRefs => "ssh-ls-refs",
            Self::SshClone => "ssh-clone",
            Self::InfoRefs => "info-refs",
            Self::WriteRef => "write-ref",
        }
    }

    /// The method, as it stands in `:path`.
    pub fn method(self) -> &'static str {
        match self {
            Self::RepositoryExists => "/gitaly.RepositoryService/RepositoryExists",
            Self::RefExists => "/gitaly.RefService/RefExists",
            Self::FindCommit => "/gitaly.CommitService/FindCommit",
            Self::FindDefaultBranchName => "/gitaly.RefService/FindDefaultBranchName",
            Self::LsRefs | Self::Clone | Self::Fetch => {
                "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel"
            }
            Self::SshLsRefs | Self::SshClone => "/gitaly.SSHService/SSHUploadPackWithSidechannel",
            Self::InfoRefs => "/gitaly.SmartHTTPService/InfoRefsUploadPack",
            Self::WriteRef => "/gitaly.RepositoryService/WriteRef",
        }
    }

    /// Whether its answer comes on a sidechannel, which takes a connection with a mux.
    pub fn has_sidechannel(self) -> bool {
        self.method().ends_with("WithSidechannel")
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn names() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}
