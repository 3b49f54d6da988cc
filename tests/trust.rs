//! Who gets in, and what an operator may change without anybody noticing.
//!
//! Goal: a stranger gets nothing, whatever he speaks; tokens, certificates, configuration and the
//! program itself are replaced while clients go on, and not one of them is refused.
//! Method: clients that know what they may know run without a pause; what they were refused is
//! counted, and must be nothing.
//!
//! Never here: which methods need a token, and the forms of tokens; `gitaly/auth` has those.

mod activation;
mod handover;
mod reload;
mod secrets;
mod tls;
mod tokens;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gitring_daemon::client::Address;
use gitring_tests::gitaly::{Door, call, dial, metadata, run};
use gitring_tests::node::Node;
use gitring_tests::pktline::request;
use gitring_tests::repository::{Kind, Repository};
use tonic::Code;

/// Answers `InvalidArgument` to an empty message, once the token was judged.
const METHOD: &str = "/gitaly.RepositoryService/RepositoryExists";
/// How it answers to whom it has let in.
const LET_IN: Code = Code::InvalidArgument;

/// What a fresh connection's call comes to.
async fn ask(address: &Address, door: Door, token: &str) -> Code {
    let client = dial(address, door, token).await;
    match call(&client, METHOD, metadata(&[]), b"").await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

/// As [`ask`], on a thread of its own, once.
fn ask_once(address: &Address, door: Door, token: &str) -> Code {
    run(ask(address, door, token))
}

/// Calls with fresh connections until told to end; fails at the first that is not let in.
fn ask_on(address: &Address, door: Door, token: &str, ended: &AtomicBool, asked: &AtomicUsize) {
    while !ended.load(Ordering::Relaxed) {
        assert_eq!(ask_once(address, door, token), LET_IN, "{door:?} {token}");
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until a counter has grown by this much: the clients behind it are at work.
fn wait_for_more(counter: &AtomicUsize, more: usize) {
    let wanted = counter.load(Ordering::Relaxed) + more;
    let limit = std::time::Duration::from_secs(60);
    let grown = || counter.load(Ordering::Relaxed) >= wanted;
    gitring_tests::process::wait_until("clients are at work", limit, grown);
}

fn tcp(node: &Node) -> Address {
    Door::Tcp.address(node)
}

/// A repository of some MB, and a request for all of `main`.
fn heavy(node: &Node) -> (Repository, Vec<u8>) {
    let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
    heavy.import(&gitring_tests::history::heavy(400));
    let want = format!("want {}", heavy.id("main"));
    let head = ["command=fetch", "object-format=sha1", "delim", "no-progress"];
    let body = request(&[&head[..], &[&want, "done", "flush"]].concat());
    (heavy, body)
}
