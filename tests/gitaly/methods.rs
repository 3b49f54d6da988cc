//! Every method of the wire is either built or says that it is not.

use std::time::{Duration, Instant};

use gitring_proto::gitaly::PostUploadPackWithSidechannelRequest;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::methods;
use gitring_tests::gitaly::{DOORS, Door, call, connect, metadata, named, refusal, run};
use gitring_tests::metrics;
use gitring_tests::node::Node;
use tonic::{Code, Request};

use super::node_with_varied;

/// What gRPC's Go library keeps a message below, and Gitaly with it.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Methods that are built; all others answer UNIMPLEMENTED.
pub(crate) const BUILT: &[&str] = &[
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

/// Built methods that have an answer for an empty message.
const ABOUT_THE_NODE: &[&str] = &[
    "/gitaly.ServerService/DiskStatistics",
    "/gitaly.ServerService/ReadinessCheck",
    "/gitaly.ServerService/ServerInfo",
];

/// Who pushes is asked for first.
fn is_push(path: &str) -> bool {
    path.ends_with("/SSHReceivePack") || path.ends_with("/PostReceivePack")
}

#[test]
fn every_method_is_built_or_says_so() {
    let node = Node::start();
    assert_eq!(methods::all().len(), 163);
    let known = |path: &&&str| methods::find(path).is_some();
    assert_eq!(BUILT.iter().filter(known).count(), BUILT.len());
    run(async {
        let client = connect(&node, Door::Mux, "").await;
        for method in methods::all() {
            let path = method.path;
            let reply = call(&client, path, metadata(&[]), b"").await;
            if ABOUT_THE_NODE.contains(&path) {
                assert!(reply.is_ok(), "{path}: {reply:?}");
            } else if BUILT.contains(&path) {
                // Every other one is about a repository, and the message names none.
                let (code, text) = refusal(reply);
                let missing = if is_push(path) { "empty GlId" } else { "repository not set" };
                assert_eq!((code, &*text), (Code::InvalidArgument, missing), "{path}");
            } else {
                let (code, text) = refusal(reply);
                let says = format!(
                    "method {} of service {} is not built yet",
                    method.name, method.service
                );
                assert_eq!((code, text), (Code::Unimplemented, says), "{path}");
            }
        }
    });
}

#[test]
fn methods_of_nobody() {
    let node = Node::start();
    for door in DOORS {
        run(async {
            let client = connect(&node, door, "").await;
            for (path, expected) in [
                (
                    "/gitaly.RefService/Nothing",
                    "unknown method Nothing for service gitaly.RefService",
                ),
                ("/gitaly.Nobody/Nothing", "unknown service gitaly.Nobody"),
                ("/gitaly.refservice/RefExists", "unknown service gitaly.refservice"),
            ] {
                let (code, text) = refusal(call(&client, path, metadata(&[]), b"").await);
                assert_eq!((code, &*text), (Code::Unimplemented, expected), "{door:?}");
            }
            for path in ["/", "/gitaly.RefService", "/a/b/c", "/gitaly.RefService/RefExists/"] {
                let (code, text) = refusal(call(&client, path, metadata(&[]), b"").await);
                assert_eq!(code, Code::Unimplemented, "{door:?} {path}: {text}");
            }
        });
    }
}

/// A client that says nothing on its sidechannel is told when its time is over.
#[test]
fn deadlines_are_enforced() {
    let (node, _) = node_with_varied("");
    run(async {
        let client = connect(&node, Door::Mux, "").await;
        for limit in ["300m", "1S"] {
            let waiter = client.sidechannel().expect("the connection is a mux");
            let mut request = Request::new(PostUploadPackWithSidechannelRequest {
                repository: named("varied.git"),
                git_protocol: "version=2".to_owned(),
                ..Default::default()
            });
            waiter.announce(request.metadata_mut());
            request.metadata_mut().insert("grpc-timeout", limit.parse().expect("ASCII"));
            let mut http = SmartHttpServiceClient::new(client.clone());
            let begun = Instant::now();
            let waiting = waiter.accept(Duration::from_secs(10));
            let calling = http.post_upload_pack_with_sidechannel(request);
            let (reply, end) = tokio::join!(calling, async {
                let mut end = waiting.await.expect("the node opens it");
                // Nothing is sent; what comes is the end of the stream.
                drop(end.read().await);
                end
            });
            let (code, text) = refusal(reply);
            assert_eq!((code, &*text), (Code::DeadlineExceeded, "context deadline exceeded"));
            let elapsed = begun.elapsed();
            assert!(elapsed > Duration::from_millis(250), "{limit}: {elapsed:?}");
            assert!(elapsed < Duration::from_secs(10), "{limit}: {elapsed:?}");
            drop(end);
        }
        // A time that is over before the call begins.
        let metadata = metadata(&[("grpc-timeout", "0n")]);
        let path = "/gitaly.ServerService/ServerInfo";
        assert_eq!(refusal(call(&client, path, metadata, b"").await).0, Code::DeadlineExceeded);
    });
    let label = [("grpc_code", "DeadlineExceeded")];
    assert_eq!(metrics::sum(&node, "grpc_server_handled_total", &label), 3);
}

#[test]
fn messages_have_a_limit() {
    let node = Node::start();
    run(async {
        for door in DOORS {
            let client = connect(&node, door, "").await;
            let path = "/gitaly.RepositoryService/RepositoryExists";
            // Field 1 of nobody's: an unknown field of the largest message that is read.
            let field = |bytes: usize| {
                let mut message = vec![0x7a, 0, 0, 0, 0];
                let length = bytes - message.len();
                for (at, byte) in message[1..].iter_mut().enumerate() {
                    let more = if at < 3 { 0x80 } else { 0 };
                    *byte = u8::try_from(length >> (7 * at) & 0x7f).expect("7 bits") | more;
                }
                message.resize(bytes, 0);
                message
            };
            let largest = field(MESSAGE_BYTES_MAX);
            let (code, text) = refusal(call(&client, path, metadata(&[]), &largest).await);
            assert_eq!((code, &*text), (Code::InvalidArgument, "repository not set"), "{door:?}");
            let larger = field(MESSAGE_BYTES_MAX + 1);
            let (code, text) = refusal(call(&client, path, metadata(&[]), &larger).await);
            assert_eq!(code, Code::ResourceExhausted, "{door:?}: {text}");
            // No message at all, and a message of nobody's.
            let (code, _) = refusal(call(&client, path, metadata(&[]), &[0xff; 20]).await);
            assert_eq!(code, Code::Internal, "{door:?}");
        }
    });
}
