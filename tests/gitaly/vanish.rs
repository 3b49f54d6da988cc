//! Repositories that go, or break, while somebody fetches from them.

use std::fs;

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::{
    PostUploadPackWithSidechannelRequest, RemoveRepositoryRequest, RepositoryExistsRequest,
    repository_service_client::RepositoryServiceClient,
};
use gitring_tests::gitaly::{Door, connect, named, refusal, run};
use gitring_tests::history;
use gitring_tests::node::Node;
use gitring_tests::pktline::{Packet, parse, request};
use gitring_tests::repository::{Kind, Repository};
use tonic::{Code, Request, Status};

/// What a fetch came to that something happened to.
struct Outcome {
    reply: Result<(), Status>,
    bytes: Vec<u8>,
}

fn node_with_heavy() -> (Node, Repository, Vec<u8>) {
    let node = Node::start();
    let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
    heavy.import(&history::heavy(260));
    let want = format!("want {}", heavy.id("main"));
    let clone = request(&["command=fetch", "delim", "no-progress", &want, "done", "flush"]);
    (node, heavy, clone)
}

// === impl Outcome ===

impl Outcome {
    /// Whether a client would take what it got for a whole pack.
    fn is_whole(&self) -> bool {
        let packets = parse(&self.bytes);
        let failed = |packet: &Packet| match packet {
            Packet::Data(payload) => payload.starts_with(b"ERR ") || payload.first() == Some(&3),
            Packet::Raw(_) => true,
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => false,
        };
        packets.last() == Some(&Packet::Flush) && !packets.iter().any(failed)
    }

    /// All of it arrived, or the call failed with one of these codes and what arrived is no pack.
    fn assert_honest(&self, expected: &[Code]) {
        match &self.reply {
            Ok(()) => assert!(self.is_whole() && self.bytes.len() > 6_000_000),
            Err(status) => {
                assert!(!self.is_whole(), "{} bytes look whole: {status:?}", self.bytes.len());
                assert!(expected.contains(&status.code()), "{status:?}");
            }
        }
    }
}

/// Reads `before` bytes of a clone, lets something happen, and reads on.
async fn fetch(
    client: &Client,
    clone: &[u8],
    before: usize,
    happening: impl AsyncFnOnce(),
) -> Outcome {
    let waiter = client.sidechannel().expect("the connection is a mux");
    let mut request = Request::new(PostUploadPackWithSidechannelRequest {
        repository: named("heavy.git"),
        git_protocol: "version=2".to_owned(),
        ..Default::default()
    });
    waiter.announce(request.metadata_mut());
    let talking = async {
        let Ok(mut end) = waiter.accept(std::time::Duration::from_secs(20)).await else {
            return Vec::new();
        };
        let (mut bytes, mut happening) = (Vec::new(), Some(happening));
        if before == 0 {
            happening.take().expect("once")().await;
        }
        let sent = end.write(Bytes::copy_from_slice(clone)).await.is_ok()
            && end.finish_writing().await.is_ok();
        if !sent {
            return bytes;
        }
        loop {
            match end.read().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) | Err(_) => break,
            }
            if bytes.len() >= before
                && let Some(happening) = happening.take()
            {
                happening().await;
            }
        }
        bytes
    };
    let mut http = SmartHttpServiceClient::new(client.clone());
    let calling = http.post_upload_pack_with_sidechannel(request);
    let (reply, bytes) = tokio::join!(calling, talking);
    Outcome { reply: reply.map(drop), bytes }
}

async fn exists(client: &Client) -> bool {
    let request = RepositoryExistsRequest { repository: named("heavy.git") };
    let mut repositories = RepositoryServiceClient::new(client.clone());
    repositories.repository_exists(request).await.expect("an answer").into_inner().exists
}

/// A clone that has begun when its repository is removed is whole, or fails with a reason; it is
/// never half a pack that looks whole.
#[test]
fn a_repository_that_is_removed() {
    for before in [0, 100_000] {
        let (mut node, _, clone) = node_with_heavy();
        run(async {
            let client = connect(&node, Door::Mux, "").await;
            let other = connect(&node, Door::Tcp, "").await;
            let outcome = fetch(&client, &clone, before, async || {
                let request = RemoveRepositoryRequest { repository: named("heavy.git") };
                let mut repositories = RepositoryServiceClient::new(other);
                repositories.remove_repository(request).await.expect("it can be removed");
            })
            .await;
            outcome.assert_honest(&[Code::NotFound, Code::FailedPrecondition, Code::Internal]);
            assert!(!exists(&client).await);
            let message = PostUploadPackWithSidechannelRequest {
                repository: named("heavy.git"),
                ..Default::default()
            };
            let mut http = SmartHttpServiceClient::new(client);
            let (code, text) = refusal(http.post_upload_pack_with_sidechannel(message).await);
            assert_eq!((code, &*text), (Code::NotFound, "repository not found"));
        });
        node.assert_alive();
    }
}

/// A pack that is cut behind the node's back: a failure of this fetch, and of nothing else.
#[test]
fn a_pack_that_is_truncated() {
    for before in [0, 100_000] {
        let (mut node, heavy, clone) = node_with_heavy();
        Repository::create(&node.storage(), "varied", Kind::Varied);
        run(async {
            let client = connect(&node, Door::Mux, "").await;
            let outcome = fetch(&client, &clone, before, async || {
                for entry in fs::read_dir(heavy.path.join("objects/pack")).expect("packs") {
                    let path = entry.expect("a file").path();
                    if path.extension().is_some_and(|extension| extension == "pack") {
                        let file = fs::OpenOptions::new().write(true).open(&path);
                        file.and_then(|file| file.set_len(5_000)).expect("a pack can be cut");
                    }
                }
            })
            .await;
            outcome.assert_honest(&[Code::FailedPrecondition, Code::Internal]);
            let request = RepositoryExistsRequest { repository: named("varied.git") };
            let mut repositories = RepositoryServiceClient::new(client);
            assert!(
                repositories.repository_exists(request).await.expect("a reply").into_inner().exists
            );
        });
        node.assert_alive();
    }
}
