//! Requests by hand: our answers and stock git's, packet by packet.
//!
//! Goal: what clients never send, or send too rarely to be met by `fetch`, is answered alike.
//! Method: the same bytes go to both upload-packs over stdio, and to both servers over HTTP.
//! Agent and session id are replaced, pack bytes are not compared, everything else is.
//!
//! Never here: whether packs are right; `fetch` compares objects.

mod advertisement;
mod dialogue;
mod gateway;
mod listing;
mod refusal;

use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline::{readable, request};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::stdio::{Call, Server};
use gitring_tests::stock_http::StockHttp;
use tempfile::TempDir;

/// A repository in a folder of its own, which goes with the value.
struct Fixture {
    /// Removed with the value.
    _folder: TempDir,
    repository: Repository,
}

// === impl Fixture ===

impl Fixture {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let repository = Repository::create(folder.path(), "varied", kind);
        repository.allow_everything();
        Self { _folder: folder, repository }
    }

    fn id(&self, revision: &str) -> String {
        self.repository.id(revision)
    }

    /// Sends the same bytes to both upload-packs and compares answers and exit codes.
    fn check(&self, call: &Call<'_>, input: &[u8]) {
        let path = &self.repository.path;
        let ours = Server::Ours.converse(path, call, input);
        let stock = Server::Stock.converse(path, call, input);
        let shown: String = input.escape_ascii().take(600).map(char::from).collect();
        assert_eq!(
            readable(&ours.stdout),
            readable(&stock.stdout),
            "{call:?} {shown}\nour stderr: {}\nstock's: {}",
            String::from_utf8_lossy(&ours.stderr),
            String::from_utf8_lossy(&stock.stderr)
        );
        assert_eq!(ours.status.success(), stock.status.success(), "{call:?} {shown}");
    }

    /// [`Self::check`] for a v2 request in words, in one stateless round.
    fn check_v2(&self, lines: &[&str]) {
        self.check(&Call::stateless("version=2"), &request(lines));
    }
}

/// Both servers over HTTP, with the same repository behind them.
struct Pair {
    node: Node,
    stock: StockHttp,
    repository: Repository,
}

// === impl Pair ===

impl Pair {
    fn new(kind: Kind) -> Self {
        let node = Node::start();
        let repository = Repository::create(&node.storage(), "varied", kind);
        repository.allow_everything();
        let stock = StockHttp::start(&node.storage());
        Self { node, stock, repository }
    }

    /// Lists refs or capabilities over both, and compares status, head and packets.
    fn check_info_refs(&self, version: u8) {
        let ours = http::info_refs(self.node.gateway(), "varied.git", version);
        let stock = http::info_refs(self.stock.address(), "varied.git", version);
        compare_answers(&ours, &stock, &format!("info/refs v{version}"));
    }

    /// Posts the same request to both, and compares status, head and packets.
    fn check_post(&self, version: u8, body: &[u8]) {
        let ours = http::upload_pack(self.node.gateway(), "varied.git", version, body);
        let stock = http::upload_pack(self.stock.address(), "varied.git", version, body);
        compare_answers(&ours, &stock, &format!("v{version} {}", body.escape_ascii()));
    }
}

fn compare_answers(ours: &http::Answer, stock: &http::Answer, what: &str) {
    assert_eq!(ours.status, stock.status, "{what}");
    for name in ["content-type", "cache-control", "pragma", "expires"] {
        assert_eq!(ours.header(name), stock.header(name), "{what}: {name}");
    }
    assert_eq!(readable(&ours.body), readable(&stock.body), "{what}");
    assert!(ours.complete, "{what}: our answer ends early");
}
