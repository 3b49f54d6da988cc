//! Builders that die and clients that leave: who has a part of a pack is told that it broke, who
//! has nothing yet starts over, and what nobody reads is not made.

use std::time::Duration;

use gitring_tests::gitaly::run;
use gitring_tests::http;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::{children, signal, wait_until};
use gitring_tests::random::Random;
use gitring_tests::repository::Repository;
use tokio::task::{JoinSet, spawn_blocking};

use super::clients::{Fetching, Got, assert_same, clone_of, herd, over_gateway};
use super::{
    Roles, SETTLE_MAX, SMALL_WINDOW, assert_healthy, default_directory, files, heavy, packs_built,
    wait_for_kept,
};

/// What a client reads before something happens: less than the windows on its way.
const PART_BYTES: usize = 150_000;

/// A node whose builders wait after two or three megabytes that nobody reads, and 8 MB to clone.
fn small_window() -> (Node, Repository, Vec<u8>) {
    let node = Node::start_with(SMALL_WINDOW);
    let repository = heavy(&node, 260);
    let input = clone_of(&repository, &["no-progress"]);
    (node, repository, input)
}

/// So many clients that have read a part of the pack; the first of them caused it.
async fn begin(node: &Node, input: &[u8], count: usize) -> Vec<Fetching> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut fetching = Fetching::begin(node, "heavy.git", input, &[]).await;
        fetching.read_up_to(PART_BYTES).await;
        let got = fetching.so_far();
        assert!(got.pack.len() > PART_BYTES / 2 && !got.is_whole, "{got:?}");
        all.push(fetching);
    }
    all
}

/// Nothing is being built, and nothing of it is left.
#[track_caller]
fn assert_nothing_left(node: &Node) {
    wait_until("no child is left", SETTLE_MAX, || children(node.pid()).is_empty());
    wait_for_kept(&default_directory(node), 0);
    let sum = |name| metrics::sum(node, name, &[]);
    wait_until("nothing is made", SETTLE_MAX, || sum("gitring_pack_cache_productions") == 0);
    wait_until("nobody reads", SETTLE_MAX, || sum("gitring_pack_cache_readers") == 0);
    wait_until("no byte is counted", SETTLE_MAX, || sum("gitring_pack_cache_bytes") == 0);
}

#[test]
fn a_builder_that_is_killed_within_the_pack() {
    let (mut node, repository, input) = small_window();
    run(async {
        let all = begin(&node, &input, 4).await;
        let [builder] = children(node.pid())[..] else { panic!("not one child") };
        signal(builder, "KILL");
        for fetching in all {
            let got = fetching.finish().await;
            assert!(!got.is_whole && got.error.is_some(), "{got:?}");
        }
    });
    assert_nothing_left(&node);
    let got = over_gateway(&node, "heavy.git", &input);
    got.assert_complete(&[&repository.id("main")]);
    assert_eq!((Roles::of(&node).leads, packs_built(&node)), (2, 2));
    assert_healthy(&mut node);
}

/// Over HTTP there is no status behind the answer: band 3 and a missing flush have to do.
#[test]
fn a_builder_that_is_killed_under_clients_of_the_gateway() {
    let (mut node, _, input) = small_window();
    let mut stream = http::open_upload_pack(node.gateway(), "heavy.git", &input);
    wait_until("a builder", SETTLE_MAX, || packs_built(&node) > 0);
    let begun = || metrics::sum(&node, "gitring_pack_cache_bytes", &[]) > 0;
    wait_until("the pack has begun", SETTLE_MAX, begun);
    for builder in children(node.pid()) {
        signal(builder, "KILL");
    }
    let answer = http::read_answer(&mut stream).expect("an answer begins");
    let got = Got::of_http(&answer);
    // On a fast machine all of it may have been in the sockets' buffers already.
    assert!(got.is_whole || got.error.is_some(), "{got:?}");
    assert!(!got.is_whole || got.pack.len() > 7_000_000, "{got:?} looks whole");
    assert_healthy(&mut node);
}

/// Whoever has no byte yet does not suffer from a builder that dies.
#[test]
fn a_builder_that_is_killed_before_the_pack() {
    const CLIENTS: usize = 20;
    let (mut node, repository, input) = small_window();
    let held = node.hold_packs();
    let all = std::thread::scope(|scope| {
        let clients = scope.spawn(|| herd(&node, "heavy.git", &input, CLIENTS));
        let come = || Roles::of(&node).total() == CLIENTS as u64;
        wait_until("all have come", SETTLE_MAX, come);
        wait_until("a builder", SETTLE_MAX, || !children(node.pid()).is_empty());
        for builder in children(node.pid()) {
            signal(builder, "KILL");
        }
        wait_until("another builder", SETTLE_MAX, || packs_built(&node) == 2);
        drop(held);
        clients.join().expect("the herd does not panic")
    });
    let (whole, failed): (Vec<Got>, Vec<Got>) = all.into_iter().partition(|got| got.is_whole);
    assert!(failed.len() <= 1, "only who caused the builder may fail: {failed:?}");
    assert!(failed.iter().all(|got| got.pack.is_empty()), "{failed:?}");
    for got in &failed {
        let text = got.error.as_deref().unwrap_or_default();
        assert!(text.contains("aborting due to possible repository corruption"), "{got:?}");
    }
    assert_same(&whole).assert_complete(&[&repository.id("main")]);
    assert_eq!(packs_built(&node), 2, "{}", node.children_log());
    assert_healthy(&mut node);
}

#[test]
fn the_first_client_leaves_and_others_read_on() {
    let (mut node, repository, input) = small_window();
    run(async {
        let mut all = begin(&node, &input, 4).await;
        drop(all.remove(0));
        let mut ends = JoinSet::new();
        for fetching in all {
            ends.spawn_local(fetching.finish());
        }
        let got = ends.join_all().await;
        assert_same(&got).assert_complete(&[&repository.id("main")]);
    });
    assert_eq!((Roles::of(&node).leads, packs_built(&node)), (1, 1));
    wait_for_kept(&default_directory(&node), 1);
    assert_eq!(metrics::sum(&node, "gitring_pack_cache_broken_total", &[]), 0);
    assert_healthy(&mut node);
}

#[test]
fn all_clients_leave() {
    let (mut node, repository, input) = small_window();
    run(async {
        let all = begin(&node, &input, 4).await;
        assert_eq!(children(node.pid()).len(), 1);
        drop(all);
    });
    assert_nothing_left(&node);
    assert_eq!(metrics::sum(&node, "gitring_pack_cache_broken_total", &[]), 1);
    assert!(files(&default_directory(&node), ".part").is_empty());
    // Before the first byte, too.
    let held = node.hold_packs();
    run(async {
        let fetching = Fetching::begin(&node, "heavy.git", &input, &[]).await;
        spawn_blocking({
            let pid = node.pid();
            move || wait_until("a builder", SETTLE_MAX, || !children(pid).is_empty())
        })
        .await
        .expect("there is one");
        drop(fetching);
    });
    assert_nothing_left(&node);
    drop(held);
    let got = over_gateway(&node, "heavy.git", &input);
    got.assert_complete(&[&repository.id("main")]);
    assert_healthy(&mut node);
}

/// Clients that read fast, slowly, a part or nothing, for some seconds, on a few packs; how many
/// of them finished. None that stayed may fail.
pub(super) fn every_temper(node: &Node, inputs: &[Vec<u8>], seed: u64) -> usize {
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    run(async {
        let mut clients = JoinSet::new();
        for _ in 0..60 {
            let input = &inputs[random.below(inputs.len())];
            let mut fetching = Fetching::begin(node, "heavy.git", input, &[]).await;
            let (part, pause) = (random.below(3_000_000), random.below(400) as u64);
            let temper = random.below(4);
            clients.spawn_local(async move {
                match temper {
                    0 => return None,
                    1 => fetching.read_up_to(part).await,
                    2 => tokio::time::sleep(Duration::from_millis(pause)).await,
                    _ => {}
                }
                // Half of those who have read a part leave.
                let leaves = temper == 1 && part % 2 == 0;
                if leaves { None } else { Some(fetching.finish().await) }
            });
            tokio::time::sleep(Duration::from_millis(random.below(40) as u64)).await;
        }
        let mut finished = 0;
        for got in clients.join_all().await.into_iter().flatten() {
            assert!(got.is_whole, "seed {seed}: {got:?}");
            finished += 1;
        }
        finished
    })
}

/// Three packs of 2, 4 and 8 MB.
pub(super) fn three_clones(repository: &Repository) -> [Vec<u8>; 3] {
    ["deepen 300", "deepen 40", "deepen 90"]
        .map(|depth| clone_of(repository, &["no-progress", depth]))
}

#[test]
fn clients_of_every_temper() {
    let (mut node, repository, _) = small_window();
    let inputs = three_clones(&repository);
    assert!(every_temper(&node, &inputs, 23) > 20);
    for input in &inputs {
        assert!(over_gateway(&node, "heavy.git", input).is_whole);
    }
    wait_for_kept(&default_directory(&node), inputs.len());
    wait_until("no child is left", SETTLE_MAX, || children(node.pid()).is_empty());
    assert_healthy(&mut node);
}
