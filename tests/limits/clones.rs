//! Clones on behalf of users, and how they end.
//!
//! Never here: what a pack holds; `pack_cache` judges that.

use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::{LimitError, PostUploadPackWithSidechannelRequest};
use gitring_tests::gitaly::{Answered, Door, connect, named, with_sidechannel};
use gitring_tests::node::Node;
use gitring_tests::pktline::{Packet, parse, request};
use gitring_tests::repository::Repository;
use prost::Message;
use std::time::Duration;
use tonic::{Code, Status};

/// What a client was sent, by band.
#[derive(Debug, Default)]
pub(super) struct Bands {
    pub(super) pack_bytes: usize,
    pub(super) progress: String,
    pub(super) error: String,
    pub(super) is_whole: bool,
}

/// `google.rpc.Status` (google/rpc/status.proto).
#[derive(Clone, PartialEq, Message)]
struct Detailed {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A clone of the last `depth` commits, with progress: each depth is a pack of its own.
pub(super) fn shallow(repository: &Repository, depth: usize) -> Vec<u8> {
    let (want, depth) = (format!("want {}", repository.id("main")), format!("deepen {depth}"));
    let head = ["command=fetch", "object-format=sha1", "delim", "ofs-delta"];
    request(&[&head[..], &[&depth, &want, "done", "flush"]].concat())
}

/// Sends a request of version 2 on behalf of a user, over a connection of its own.
pub(super) async fn clone_as(node: &Node, user: &str, path: &str, input: &[u8]) -> Answered<()> {
    clone_with(node, &[("user_id", user), ("username", user)], path, input).await
}

/// The same from an address.
pub(super) async fn clone_from(
    node: &Node,
    address: &str,
    path: &str,
    input: &[u8],
) -> Answered<()> {
    clone_with(node, &[("remote_ip", address), ("username", "jane")], path, input).await
}

async fn clone_with(
    node: &Node,
    who: &[(&'static str, &str)],
    path: &str,
    input: &[u8],
) -> Answered<()> {
    let client = connect(node, Door::Mux, "").await;
    let message = PostUploadPackWithSidechannelRequest {
        repository: named(path),
        git_protocol: "version=2".to_owned(),
        git_config_options: Vec::new(),
    };
    let mut http = SmartHttpServiceClient::new(client.clone());
    with_sidechannel(&client, message, input, async |mut request| {
        for (key, value) in who {
            let value = value.parse().expect("an ASCII value");
            request.metadata_mut().insert(*key, value);
        }
        http.post_upload_pack_with_sidechannel(request).await.map(drop)
    })
    .await
}

/// What a refusal says in its details: Gitaly's words, and when to come again.
#[track_caller]
pub(super) fn limit_error(status: &Status) -> (String, Duration) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let detailed = Detailed::decode(status.details()).expect("details are a google.rpc.Status");
    let [detail] = &detailed.details[..] else { panic!("one detail: {detailed:?}") };
    assert_eq!(detail.type_url, "type.googleapis.com/gitaly.LimitError");
    let limit = LimitError::decode(&*detail.value).expect("the detail is what it says");
    let retry_after = limit.retry_after.expect("it says when to come again");
    (limit.error_message, retry_after.try_into().expect("the time is not negative"))
}

// === impl Bands ===

impl Bands {
    /// Takes an answer with side-bands apart.
    pub(super) fn of(answer: &[u8]) -> Self {
        let mut bands = Self::default();
        let packets = parse(answer);
        bands.is_whole = packets.last() == Some(&Packet::Flush);
        for packet in packets {
            let Packet::Data(payload) = packet else { continue };
            match payload.split_first() {
                Some((1, pack)) => bands.pack_bytes += pack.len(),
                Some((2, text)) => bands.progress.push_str(&String::from_utf8_lossy(text)),
                Some((3, text)) => bands.error.push_str(&String::from_utf8_lossy(text)),
                _ => {}
            }
        }
        bands.is_whole &= bands.error.is_empty() && bands.pack_bytes > 0;
        bands
    }

    /// Of a call that must have ended well.
    #[track_caller]
    pub(super) fn whole(answered: &Answered<()>) -> Self {
        let bands = Self::of(&answered.bytes);
        assert!(answered.reply.is_ok() && bands.is_whole, "{:?} {bands:?}", answered.reply);
        bands
    }
}
