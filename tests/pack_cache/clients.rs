//! Clients of packs: one, a herd, and one that reads as slowly as a test wants it to.
//!
//! Always true: whether an answer is whole is judged by its own framing, as a client would.
//!
//! Never here: what should have arrived.

use std::time::Duration;

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_daemon::sidechannel::ClientEnd;
use gitring_proto::gitaly::PostUploadPackWithSidechannelRequest;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_tests::git;
use gitring_tests::gitaly::{Door, connect, named, run};
use gitring_tests::http::{self, Answer};
use gitring_tests::node::Node;
use gitring_tests::pktline::{Packet, parse, request};
use gitring_tests::repository::Repository;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tonic::{Request, Status};

/// How long a node may take until it opens a sidechannel: it may be serving a whole herd.
const SIDECHANNEL_MAX: Duration = Duration::from_secs(30);

/// What a client got.
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) struct Got {
    /// Band 1.
    pub(super) pack: Vec<u8>,
    /// Band 2.
    pub(super) said: String,
    /// Band 3, or an error in front of the pack.
    pub(super) error: Option<String>,
    /// Whether a client would take it for a whole answer.
    pub(super) is_whole: bool,
}

/// A fetch over a sidechannel of its own connection. Whoever drops it vanishes.
pub(super) struct Fetching {
    client: Client,
    end: ClientEnd,
    call: JoinHandle<Result<(), Status>>,
    bytes: Vec<u8>,
}

/// A clone of `main` in version 2, with more lines.
pub(super) fn clone_of(repository: &Repository, more: &[&str]) -> Vec<u8> {
    fetch_of(&[&repository.id("main")], &[&["ofs-delta"], more].concat())
}

/// A fetch of these ids in version 2, with more lines.
pub(super) fn fetch_of(ids: &[&str], more: &[&str]) -> Vec<u8> {
    let wants: Vec<String> = ids.iter().map(|id| format!("want {id}")).collect();
    let wants: Vec<&str> = wants.iter().map(String::as_str).collect();
    let head = ["command=fetch", "object-format=sha1", "delim"];
    request(&[&head[..], more, &wants, &["done", "flush"]].concat())
}

/// Sends a request of version 2 to the gateway.
pub(super) fn over_gateway(node: &Node, path: &str, input: &[u8]) -> Got {
    Got::of_http(&http::upload_pack(node.gateway(), path, 2, input))
}

/// Sends a request of version 2 over a sidechannel.
pub(super) fn over_sidechannel(node: &Node, path: &str, input: &[u8]) -> Got {
    run(async { Fetching::begin(node, path, input, &[]).await.finish().await })
}

/// So many clients with the same request at once, every other one over a sidechannel.
pub(super) fn herd(node: &Node, path: &str, input: &[u8], count: usize) -> Vec<Got> {
    let gateway = node.gateway();
    run(async {
        let mut clients = JoinSet::new();
        for at in 0..count {
            if at % 2 == 0 {
                let (path, input) = (path.to_owned(), input.to_owned());
                let answer = move || http::upload_pack(gateway, &path, 2, &input);
                clients.spawn_blocking(move || Got::of_http(&answer()));
            } else {
                let fetching = Fetching::begin(node, path, input, &[]).await;
                clients.spawn_local(fetching.finish());
            }
        }
        let mut all = Vec::new();
        while let Some(got) = clients.join_next().await {
            all.push(got.expect("no client panics"));
        }
        all
    })
}

/// Every client has the same whole pack, which is returned once.
#[track_caller]
pub(super) fn assert_same(all: &[Got]) -> &Got {
    let (first, others) = all.split_first().expect("there are clients");
    assert!(first.is_whole, "{first:?}");
    for (at, got) in others.iter().enumerate() {
        assert!(got.is_whole, "client {}: {got:?}", at + 1);
        assert!(got.pack == first.pack, "client {}: {got:?} is not {first:?}", at + 1);
    }
    first
}

// === impl Got ===

impl Got {
    /// Takes an answer with side-bands apart.
    pub(super) fn of(answer: &[u8]) -> Self {
        let mut got = Self::default();
        let packets = parse(answer);
        got.is_whole = packets.last() == Some(&Packet::Flush);
        for packet in packets {
            match packet {
                Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => {}
                Packet::Raw(_) => got.is_whole = false,
                Packet::Data(payload) => got.add(&payload),
            }
        }
        got.is_whole &= got.error.is_none() && !got.pack.is_empty();
        got
    }

    /// As an answer over HTTP, where what is no success, or has no end, is an error.
    pub(super) fn of_http(answer: &Answer) -> Self {
        let mut got = Self::of(&answer.body);
        if answer.status != 200 || !answer.complete {
            let what = format!("status {}, complete: {}", answer.status, answer.complete);
            got.error.get_or_insert(what);
            got.is_whole = false;
        }
        got
    }

    fn add(&mut self, payload: &[u8]) {
        match payload.split_first() {
            Some((1, pack)) => self.pack.extend_from_slice(pack),
            Some((2, text)) => self.said.push_str(&String::from_utf8_lossy(text)),
            Some((3, text)) => self.error = Some(String::from_utf8_lossy(text).into_owned()),
            _ if payload.starts_with(b"ERR ") => {
                self.error = Some(String::from_utf8_lossy(payload).into_owned());
            }
            _ => {}
        }
    }

    /// Lets git judge: the pack is sound, and everything that `tips` reach is in it.
    #[track_caller]
    pub(super) fn assert_complete(&self, tips: &[&str]) {
        let objects = self.objects();
        for tip in tips {
            assert!(objects.contains(&(*tip).to_owned()), "{tip} is missing: {self:?}");
        }
        let folder = self.unpacked(&["--strict"]);
        for (at, tip) in tips.iter().enumerate() {
            git::run(folder.path(), &["update-ref", &format!("refs/tips/{at}"), tip]);
        }
        git::run(folder.path(), &["fsck", "--full", "--strict", "--no-progress"]);
    }

    /// The ids of all objects in the pack.
    pub(super) fn objects(&self) -> Vec<String> {
        let folder = self.unpacked(&[]);
        let words = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
        git::run(folder.path(), &words).lines().map(str::to_owned).collect()
    }

    fn unpacked(&self, options: &[&str]) -> tempfile::TempDir {
        assert!(self.is_whole, "{self:?}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        git::run(folder.path(), &["init", "-q", "--bare", "."]);
        let words = [&["index-pack", "--stdin"], options].concat();
        git::run_with(folder.path(), &words, &self.pack);
        folder
    }
}

impl std::fmt::Debug for Got {
    /// A pack as its length.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Got")
            .field("pack_bytes", &self.pack.len())
            .field("said", &self.said)
            .field("error", &self.error)
            .field("is_whole", &self.is_whole)
            .finish()
    }
}

// === impl Fetching ===

impl Fetching {
    /// Sends a request of version 2 with git options; nothing is read yet.
    pub(super) async fn begin(node: &Node, path: &str, input: &[u8], options: &[&str]) -> Self {
        let client = connect(node, Door::Mux, "").await;
        Self::begin_on(client, path, input, options).await
    }

    /// The same on a connection that is there.
    pub(super) async fn begin_on(
        client: Client,
        path: &str,
        input: &[u8],
        options: &[&str],
    ) -> Self {
        let waiter = client.sidechannel().expect("the connection is a mux");
        let mut request = Request::new(PostUploadPackWithSidechannelRequest {
            repository: named(path),
            git_protocol: "version=2".to_owned(),
            git_config_options: options.iter().map(|option| (*option).to_owned()).collect(),
        });
        waiter.announce(request.metadata_mut());
        let mut http = SmartHttpServiceClient::new(client.clone());
        let call =
            spawn_local(
                async move { http.post_upload_pack_with_sidechannel(request).await.map(drop) },
            );
        let mut end = waiter.accept(SIDECHANNEL_MAX).await.expect("the node opens a sidechannel");
        end.write(Bytes::copy_from_slice(input)).await.expect("the node reads");
        end.finish_writing().await.expect("the node reads");
        Self { client, end, call, bytes: Vec::new() }
    }

    /// Reads until so many bytes have come, or no more will.
    pub(super) async fn read_up_to(&mut self, bytes: usize) {
        while self.bytes.len() < bytes {
            match self.end.read().await {
                Ok(Some(piece)) => self.bytes.extend_from_slice(&piece),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// What has come so far.
    pub(super) fn so_far(&self) -> Got {
        Got::of(&self.bytes)
    }

    /// Reads to the end. An answer is whole only if its call succeeded as well.
    pub(super) async fn finish(mut self) -> Got {
        let ended = loop {
            match self.end.read().await {
                Ok(Some(piece)) => self.bytes.extend_from_slice(&piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if ended {
            let _ = self.end.close().await;
        }
        let called = self.call.await.expect("the call does not panic");
        drop(self.client);
        let mut got = Got::of(&self.bytes);
        assert!(called.is_ok() || !got.is_whole, "{got:?} looks whole: {called:?}");
        assert!(called.is_err() || got.is_whole, "{got:?} was a success");
        got.is_whole &= ended && called.is_ok();
        got
    }
}
