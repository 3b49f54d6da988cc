//! Many identical fetches at once on a cache that holds nothing.

use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;

use super::clients::{Got, assert_same, clone_of, herd, over_gateway, over_sidechannel};
use super::{
    Roles, SETTLE_MAX, assert_healthy, default_directory, files, heavy, packs_built, unstored,
    wait_for_kept,
};

/// More than a CI pipeline of the size that operators complain about.
const CLIENTS: usize = 130;

/// A herd that has come completely before the pack begins to be built.
fn burst(node: &Node, input: &[u8], count: usize) -> Vec<Got> {
    let held = node.hold_packs();
    let before = Roles::of(node).total();
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| herd(node, "heavy.git", input, count));
        let come = || Roles::of(node).total() == before + count as u64;
        wait_until("the whole herd has come", SETTLE_MAX, come);
        drop(held);
        clients.join().expect("the herd does not panic")
    })
}

/// One pack for all; `kept` packs lie on disk when the herd has gone.
fn check(more: &str, kept: usize) {
    let mut node = Node::start_with(more);
    let repository = heavy(&node, 40);
    let input = clone_of(&repository, &["no-progress"]);
    let all = burst(&node, &input, CLIENTS);
    assert_eq!(all.len(), CLIENTS);
    let got = assert_same(&all);
    got.assert_complete(&[&repository.id("main")]);
    let roles = Roles::of(&node);
    assert_eq!((roles.leads, roles.total()), (1, CLIENTS as u64), "{more} {roles:?}");
    assert_eq!(packs_built(&node), 1, "{more} {}", node.children_log());
    wait_for_kept(&default_directory(&node), kept);
    let served = CLIENTS as u64 * got.pack.len() as u64;
    let counted = || metrics::sum(&node, "gitaly_pack_objects_served_bytes_total", &[]);
    wait_until("all bytes are counted", SETTLE_MAX, || counted() == served);
    let made = metrics::sum(&node, "gitaly_pack_objects_generated_bytes_total", &[]);
    assert_eq!(made, got.pack.len() as u64, "{more}");
    // Whoever comes later has the same objects, from a cache or not.
    over_gateway(&node, "heavy.git", &input).assert_complete(&[&repository.id("main")]);
    assert_healthy(&mut node);
}

#[test]
fn one_pack_is_built_and_kept() {
    check("", 1);
}

#[test]
fn one_pack_is_built_though_nothing_is_kept() {
    check("[pack_objects_cache]\nenabled = false\n", 0);
}

/// A child that is ahead of nobody waits for nobody either.
#[test]
fn one_pack_is_built_without_backpressure() {
    check("[pack_objects_cache]\nmin_occurrences = 0\nbackpressure = false\n", 1);
}

/// As the smallest window and one reactor.
#[test]
fn one_pack_is_built_through_a_small_window() {
    check(&format!("{}[runtime]\nreactors = 1\n", super::SMALL_WINDOW), 1);
}

/// Gitaly's default: once is not enough to be kept, but enough to be shared.
#[test]
fn what_was_asked_for_once_is_not_kept() {
    let mut node = Node::start_with("[pack_objects_cache]\nenabled = true\n");
    let repository = heavy(&node, 40);
    let input = clone_of(&repository, &["no-progress"]);
    let directory = default_directory(&node);
    let mut all = Vec::new();
    for (kept, expected) in [
        (0, Roles { leads: 1, joins: 0, hits: 0 }),
        (1, Roles { leads: 2, joins: 0, hits: 0 }),
        (1, Roles { leads: 2, joins: 0, hits: 1 }),
        (1, Roles { leads: 2, joins: 0, hits: 2 }),
    ] {
        all.push(over_sidechannel(&node, "heavy.git", &input));
        wait_for_kept(&directory, kept);
        assert_eq!(Roles::of(&node), expected);
    }
    assert_eq!((unstored(&node, "min_occurrences"), packs_built(&node)), (1, 2));
    assert_same(&all[1..]).assert_complete(&[&repository.id("main")]);
    let found = burst(&node, &clone_of(&repository, &["no-progress", "deepen 3"]), 20);
    assert_same(&found);
    assert_eq!((Roles::of(&node).leads, packs_built(&node)), (3, 3), "a herd shares it still");
    assert_healthy(&mut node);
}

/// Not one is left of a hundred packs that nobody may keep.
#[test]
fn packs_that_are_not_kept_leave_nothing() {
    let mut node = Node::start_with("[pack_objects_cache]\nenabled = false\n");
    let repository = heavy(&node, 12);
    for depth in 1..=10 {
        let depth = format!("deepen {depth}");
        let input = clone_of(&repository, &["no-progress", &depth]);
        assert_same(&burst(&node, &input, 8));
    }
    assert_eq!((Roles::of(&node).leads, packs_built(&node)), (10, 10));

    assert!(files(&default_directory(&node), ".stream").is_empty());
    let on_disk = || metrics::sum(&node, "gitring_pack_cache_bytes", &[]);
    wait_until("nothing counts against the budget", SETTLE_MAX, || on_disk() == 0);
    assert_healthy(&mut node);
}
