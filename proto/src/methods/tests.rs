//! Methods whose shapes differ, and what holds for all of them.

use super::*;

fn method(name: &str) -> &'static Method {
    let mut found = all().iter().filter(|method| method.name == name);
    let method = found.next().unwrap_or_else(|| panic!("{name} is missing"));
    assert!(found.next().is_none(), "{name} occurs twice");
    method
}

#[test]
fn every_method_is_found_by_its_path() {
    assert_eq!(all().len(), 163);
    assert!(all().is_sorted_by(|one, next| one.path < next.path));
    for method in all() {
        assert_eq!(find(method.path), Some(method));
        assert_eq!(method.path, format!("/{}/{}", method.service, method.name));
    }
    for path in [
        "",
        "/",
        "gitaly.CommitService/FindCommit",
        "/gitaly.CommitService/findcommit",
        "/gitaly.CommitService/FindCommit/",
        "/gitaly.CommitService/",
        "/grpc.health.v1.Health/Check",
    ] {
        assert_eq!(find(path), None, "{path}");
    }
}

/// Paths: target, additional, storage.
#[test]
fn requests_name_repositories_in_known_places() {
    type Way = Option<&'static [u32]>;
    let check = |name: &str, target: Way, additional: Way, storage: Way| {
        let method = method(name);
        let ways = (method.target_repository, method.additional_repository, method.storage);
        assert_eq!(ways, (target, additional, storage), "{name}");
    };
    check("FindCommit", Some(&[1]), None, None);
    check("FindAllRemoteBranches", Some(&[1]), None, None);
    // The pool's own repository is field 1 of gitaly.ObjectPool.
    check("CreateObjectPool", Some(&[1, 1]), Some(&[2]), None);
    check("DeleteObjectPool", Some(&[1, 1]), None, None);
    check("LinkRepositoryToObjectPool", Some(&[2]), Some(&[1, 1]), None);
    check("FetchIntoObjectPool", Some(&[2, 1]), Some(&[1]), None);
    check("GetObjectPool", Some(&[1]), None, None);
    // In the header of a client's stream.
    check("UserCommitFiles", Some(&[1, 1]), None, None);
    check("UserApplyPatch", Some(&[1, 1]), None, None);
    check("UserRebaseConfirmable", Some(&[1, 1]), None, None);
    // Its header has a field called target_repository, which is not the target.
    check("ResolveConflicts", Some(&[1, 1]), None, None);
    check("RemoveAll", None, None, Some(&[1]));
    check("WalkRepos", None, None, Some(&[1]));
    check("FindRemoteRepository", None, None, Some(&[2]));
    check("BackupPartition", None, None, Some(&[1]));
    check("ServerInfo", None, None, None);
    // Its requests carry a repository for the proxy that answers.
    check("VoteTransaction", Some(&[1]), None, None);
}

#[test]
fn options_of_methods() {
    use Operation::{Accessor, Maintenance, Mutator, Unspecified};
    let check = |name: &str, operation, scope, flags: &str| {
        let method = method(name);
        assert_eq!((method.operation, method.scope), (operation, scope), "{name}");
        let all_flags = [
            (method.intercepted, "intercepted"),
            (method.client_streaming, "client"),
            (method.server_streaming, "server"),
            (method.deprecated, "deprecated"),
        ];
        let set = all_flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag);
        assert_eq!(set.collect::<Vec<_>>().join(" "), flags, "{name}");
    };
    check("FindCommit", Accessor, Scope::Repository, "");
    check("CommitLanguages", Accessor, Scope::Repository, "");
    check("ListRefs", Accessor, Scope::Repository, "server");
    check("WriteRef", Mutator, Scope::Repository, "");
    check("UserCommitFiles", Mutator, Scope::Repository, "client");
    check("SSHReceivePack", Mutator, Scope::Repository, "client server");
    check("PostUploadPackWithSidechannel", Accessor, Scope::Repository, "");
    check("OptimizeRepository", Maintenance, Scope::Repository, "");
    check("RemoveAll", Mutator, Scope::Storage, "");
    check("ListPartitions", Accessor, Scope::Storage, "");
    check("BackupPartition", Accessor, Scope::Partition, "");
    check("FullPath", Accessor, Scope::Repository, "deprecated");
    check("ServerInfo", Unspecified, Scope::Repository, "intercepted");
    check("StopTransaction", Unspecified, Scope::Repository, "intercepted");
    check("Dataloss", Unspecified, Scope::Repository, "intercepted server");
}

/// What a router relies on.
#[test]
fn every_scope_has_its_field() {
    for method in all().iter().filter(|method| !method.intercepted) {
        let (target, storage) = (method.target_repository, method.storage);
        match method.scope {
            Scope::Repository => assert!(target.is_some() && storage.is_none(), "{method:?}"),
            Scope::Storage | Scope::Partition => {
                assert!(target.is_none() && storage.is_some(), "{method:?}");
            }
        }
        assert_ne!(method.operation, Operation::Unspecified, "{method:?}");
    }
    assert!(all().iter().filter(|method| method.intercepted).all(|method| {
        method.operation == Operation::Unspecified && method.scope == Scope::Repository
    }));
}
