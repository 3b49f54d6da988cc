//! What a node held before somebody was rude to it, and what it holds afterwards.

use std::time::Duration;

use gitring_proto::gitaly::{
    PostUploadPackWithSidechannelRequest, RepositoryExistsRequest,
    repository_service_client::RepositoryServiceClient,
    smart_http_service_client::SmartHttpServiceClient,
};
use gitring_tests::gitaly::{Door, connect, named, run, with_sidechannel};
use gitring_tests::history;
use gitring_tests::node::Node;
use gitring_tests::pktline::request;
use gitring_tests::process::{anonymous_bytes, children, open_files, wait_until};
use gitring_tests::repository::{Kind, Repository};

/// Files that a node may hold open more than before: maps of repositories.
const KEPT_FILES_MAX: usize = 8;

/// Anonymous memory that a node may hold more than before.
const KEPT_BYTES_MAX: u64 = 48 << 20;

/// How long a node may take until nothing is left of clients that are gone.
const FORGET_MAX: Duration = Duration::from_secs(20);

/// A node that has served one client, and what it held then.
pub(super) struct Health {
    pub(super) node: Node,
    /// A clone of `heavy.git`, in packets.
    pub(super) clone: Vec<u8>,
    files: usize,
    bytes: u64,
}

// === impl Health ===

impl Health {
    /// Serves `varied.git`, and `heavy.git`: 4 MB, more than all windows on the way.
    pub(super) fn new() -> Self {
        let node = Node::start();
        Repository::create(&node.storage(), "varied", Kind::Varied);
        let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
        heavy.import(&history::heavy(130));
        let want = format!("want {}", heavy.id("main"));
        let clone = request(&["command=fetch", "delim", "no-progress", &want, "done", "flush"]);
        serve(&node, &clone);
        let pid = node.pid();
        wait_until("the first clients are gone", FORGET_MAX, || children(pid).is_empty());
        std::thread::sleep(Duration::from_millis(100));
        let (files, bytes) = (open_files(pid), anonymous_bytes(pid));
        Self { node, clone, files, bytes }
    }

    /// The node serves others meanwhile, and what is held for the rude ones is bounded.
    pub(super) fn assert_serving(&self) {
        serve(&self.node, &self.clone);
        let grown = anonymous_bytes(self.node.pid()).saturating_sub(self.bytes);
        assert!(grown <= KEPT_BYTES_MAX, "{} MiB more than before", grown >> 20);
    }

    /// The node lives, serves, and holds no more than before.
    pub(super) fn assert_unchanged(mut self) {
        self.node.assert_alive();
        self.assert_serving();
        let pid = self.node.pid();
        wait_until("no child is left", FORGET_MAX, || children(pid).is_empty());
        let files_max = self.files + KEPT_FILES_MAX;
        wait_until("connections are closed", FORGET_MAX, || open_files(pid) <= files_max);
        let log = self.node.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// One call over each kind of socket, and a clone.
fn serve(node: &Node, clone: &[u8]) {
    run(async {
        for door in [Door::Unix, Door::Mux] {
            let client = connect(node, door, "").await;
            let request = RepositoryExistsRequest { repository: named("varied.git") };
            let mut repositories = RepositoryServiceClient::new(client.clone());
            let reply = repositories.repository_exists(request).await;
            assert!(reply.expect("a repository").into_inner().exists);
            if door == Door::Mux {
                let message = PostUploadPackWithSidechannelRequest {
                    repository: named("heavy.git"),
                    git_protocol: "version=2".to_owned(),
                    ..Default::default()
                };
                let mut http = SmartHttpServiceClient::new(client.clone());
                let answered = with_sidechannel(&client, message, clone, async move |request| {
                    http.post_upload_pack_with_sidechannel(request).await
                });
                let answered = answered.await;
                assert!(answered.reply.is_ok(), "{:?}", answered.reply);
                assert!(answered.bytes.len() > 3_000_000, "{}", answered.bytes.len());
            }
        }
    });
}
