//! Which methods are built: what the node answers itself, whoever else could.
//!
//! Always true: the list is sorted, and every method that a service implements is in it.

/// Of Gitaly's; all others are an upstream's, or UNIMPLEMENTED.
const BUILT: &[&str] = &[
    "/gitaly.BlobService/GetBlobs",
    "/gitaly.BlobService/ListAllBlobs",
    "/gitaly.BlobService/ListAllLFSPointers",
    "/gitaly.BlobService/ListBlobs",
    "/gitaly.BlobService/ListLFSPointers",
    "/gitaly.CommitService/CheckObjectsExist",
    "/gitaly.CommitService/CommitIsAncestor",
    "/gitaly.CommitService/CountCommits",
    "/gitaly.CommitService/FindCommit",
    "/gitaly.CommitService/GetTreeEntries",
    "/gitaly.CommitService/ListAllCommits",
    "/gitaly.CommitService/ListCommits",
    "/gitaly.CommitService/ListCommitsByOid",
    "/gitaly.CommitService/TreeEntry",
    "/gitaly.DiffService/FindChangedPaths",
    "/gitaly.RefService/DeleteRefs",
    "/gitaly.RefService/FindAllBranches",
    "/gitaly.RefService/FindAllTags",
    "/gitaly.RefService/FindBranch",
    "/gitaly.RefService/FindDefaultBranchName",
    "/gitaly.RefService/FindLocalBranches",
    "/gitaly.RefService/FindRefsByOID",
    "/gitaly.RefService/FindTag",
    "/gitaly.RefService/ListRefs",
    "/gitaly.RefService/RefExists",
    "/gitaly.RefService/UpdateReferences",
    "/gitaly.RepositoryService/BackupCustomHooks",
    "/gitaly.RepositoryService/CreateRepository",
    "/gitaly.RepositoryService/FindMergeBase",
    "/gitaly.RepositoryService/GetCustomHooks",
    "/gitaly.RepositoryService/HasLocalBranches",
    "/gitaly.RepositoryService/ObjectFormat",
    "/gitaly.RepositoryService/RemoveRepository",
    "/gitaly.RepositoryService/RepositoryExists",
    "/gitaly.RepositoryService/RepositorySize",
    "/gitaly.RepositoryService/RestoreCustomHooks",
    "/gitaly.RepositoryService/SetCustomHooks",
    "/gitaly.RepositoryService/WriteRef",
    "/gitaly.SSHService/SSHReceivePack",
    "/gitaly.SSHService/SSHUploadArchive",
    "/gitaly.SSHService/SSHUploadPack",
    "/gitaly.SSHService/SSHUploadPackWithSidechannel",
    "/gitaly.ServerService/DiskStatistics",
    "/gitaly.ServerService/ReadinessCheck",
    "/gitaly.ServerService/ServerInfo",
    "/gitaly.SmartHTTPService/InfoRefsReceivePack",
    "/gitaly.SmartHTTPService/InfoRefsUploadPack",
    "/gitaly.SmartHTTPService/PostReceivePack",
    "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel",
];

/// Health and reflection tell of this node.
const OWN_PACKAGE: &str = "/grpc.";

/// Whether the node itself answers calls of this path.
pub(in crate::rpc::gitaly) fn is_built(path: &str) -> bool {
    path.starts_with(OWN_PACKAGE) || BUILT.binary_search(&path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_proto::methods;

    #[test]
    fn built_methods_exist_and_are_found() {
        assert!(BUILT.is_sorted());
        for path in BUILT {
            assert!(methods::find(path).is_some() && is_built(path), "{path}");
        }
        assert!(!is_built("/gitaly.RepositoryService/CreateFork"));
        assert!(is_built("/grpc.health.v1.Health/Check"));
    }
}
