//! Server CPU of an ls-refs over the gateway against `git upload-pack --stateless-rpc`.
//!
//! Always true: both sides answer the same bytes to the same request, checked before measuring.
//!
//! Never here: wall time, which on two shared cores says little.

use gitring_tests::history;
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline;
use gitring_tests::process;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::stdio::{Call, Server};

use super::Bar;
use crate::series::Series;

/// Refs of the repository, tags included.
const REFS: usize = 2_000;

/// Alternating runs.
const ROUNDS: usize = 5;

/// Requests of one run. Ours are cheaper, and a tick of the clock is 10 ms: so there are more.
const OURS_PER_RUN: u32 = 2_000;
const STOCK_PER_RUN: u32 = 200;

/// The bar: ours costs at most an eighth.
const RATIO_MAX: f64 = 1.0 / 8.0;

/// Measures packed refs, loose refs, and loose refs in a folder each as GitLab has them.
pub fn measure() -> Vec<Bar> {
    let heads = |n: usize| format!("refs/heads/topic/{n}");
    let requests = |n: usize| format!("refs/merge-requests/{n}/head");
    vec![
        compare("packed refs", &history::many_refs(REFS * 4 / 5, heads), true),
        compare("loose refs", &history::many_refs(REFS * 4 / 5, heads), false),
        compare("loose merge-request refs", &history::many_refs(REFS * 4 / 5, requests), false),
    ]
}

fn compare(shape: &str, stream: &[u8], packed: bool) -> Bar {
    let node = Node::start();
    let repository = Repository::create(&node.storage(), "refs", Kind::Empty);
    repository.import(stream);
    repository.git(&["repack", "-adq"]);
    if packed {
        repository.git(&["pack-refs", "--all"]);
    }
    let lines = ["command=ls-refs", "object-format=sha1", "delim", "peel", "symrefs", "flush"];
    let body = pktline::request(&lines);
    let ask_node = || http::upload_pack(node.gateway(), "refs.git", 2, &body).body;
    let call = Call::stateless("version=2");
    let ask_stock = || Server::Stock.converse(&repository.path, &call, &body).stdout;
    assert_eq!(ask_node(), ask_stock(), "both list the same refs");

    let (mut ours, mut stock) = (Series::default(), Series::default());
    for _ in 0..ROUNDS {
        let before = process::cpu_time(node.pid());
        (0..OURS_PER_RUN).for_each(|_| drop(ask_node()));
        let used = process::cpu_time(node.pid()) - before;
        ours.push(used.as_secs_f64() * 1e3 / f64::from(OURS_PER_RUN));
        let before = process::own_children_cpu_time();
        (0..STOCK_PER_RUN).for_each(|_| drop(ask_stock()));
        let used = process::own_children_cpu_time() - before;
        stock.push(used.as_secs_f64() * 1e3 / f64::from(STOCK_PER_RUN));
    }
    let ratio = ours.ratios(&stock).median();
    let (low, high) = stock.spread();
    Bar {
        what: format!("ls-refs of {REFS} {shape}, server CPU against stock"),
        figure: format!("{ratio:.3} ({:.3} ms / {:.3} ms)", ours.median(), stock.median()),
        limit: format!("{RATIO_MAX:.3}"),
        noise: format!("stock {low:.3}–{high:.3} ms"),
        met: ratio <= RATIO_MAX,
    }
}
