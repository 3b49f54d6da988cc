//! The line of packs: where clients stand in it, who stays when who leaves.

use super::clones::{Bands, clone_as, shallow};
use super::{heavy, wait_for, wait_for_packs};
use gitring_tests::gitaly::run;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use tokio::task::spawn_blocking;

const ONE_AT_ONCE: &str = "[pack_building]\nmax_concurrency = 1\n";

/// Waits in between, so that clients come in this order.
async fn settled(node: &Node, queued: u64, joins: u64) {
    let metrics = node.metrics();
    let figures = move || {
        let text = gitring_tests::http::send(metrics, "GET", "/metrics", &[], b"");
        let text = String::from_utf8_lossy(&text.body).into_owned();
        let figure = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let joined = figure("gitring_pack_cache_lookups_total{role=\"join\"}");
        let building = figure("gitaly_pack_objects_in_progress");
        (building, figure("gitaly_pack_objects_queued"), joined) == (1, queued, joins)
    };
    let waited = spawn_blocking(move || {
        gitring_tests::process::wait_until("clients stand in line", super::SETTLE_MAX, figures);
    });
    waited.await.expect("the line forms");
}

#[test]
fn who_waits_is_told_where_it_stands() {
    let node = Node::start_with(ONE_AT_ONCE);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=4).map(|depth| shallow(&repository, depth)).collect();
    run(async {
        let clone = |user, pack: usize| clone_as(&node, user, "heavy.git", &packs[pack]);
        let ordered = async {
            settled(&node, 0, 0).await;
        };
        let first = clone("one", 0);
        // Each begins once those before it stand where they will.
        let second = async {
            ordered.await;
            clone("one", 1).await
        };
        let third = async {
            settled(&node, 1, 0).await;
            clone("one", 2).await
        };
        let joined = async {
            settled(&node, 2, 0).await;
            clone("one", 2).await
        };
        // Another user is next but one, whoever came before.
        let other = async {
            settled(&node, 2, 1).await;
            clone("two", 3).await
        };
        let released = async {
            settled(&node, 3, 1).await;
            drop(held);
        };
        let (first, second, third, joined, other, ()) =
            tokio::join!(first, second, third, joined, other, released);
        let said = |answered| Bands::whole(answered).progress;
        assert!(!said(&first).contains("queue"), "{}", said(&first));
        let lines = [
            (said(&second), "Your pack is 1st in the queue.\n"),
            (said(&third), "Your pack is 2nd in the queue.\n"),
            (said(&joined), "Your pack is 2nd in the queue: one for the 2 of you.\n"),
            (said(&other), "Your pack is 2nd in the queue.\n"),
        ];
        for (said, expected) in lines {
            assert!(said.starts_with(expected), "{expected}: {said}");
        }
    });
    wait_for_packs(&node, 0, 0);
    assert_eq!(metrics::sum(&node, "gitaly_pack_objects_acquiring_seconds_count", &[]), 4);
}

#[test]
fn a_pack_has_the_best_place_of_those_who_wait_and_outlives_who_wanted_it_first() {
    let node = Node::start_with(ONE_AT_ONCE);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=5).map(|depth| shallow(&repository, depth)).collect();
    run(async {
        let clone = |user, pack: usize| clone_as(&node, user, "heavy.git", &packs[pack]);
        let first = clone("one", 0);
        let waits = |queued, pack| {
            let settled = settled(&node, queued, 0);
            let clone = clone("one", pack);
            async move {
                settled.await;
                clone.await
            }
        };
        let (second, third) = (waits(0, 1), waits(1, 2));
        // Whoever wanted the last pack leaves before it was begun.
        let leaver = async {
            settled(&node, 2, 0).await;
            let leaving = clone("one", 3);
            tokio::select! {
                answered = leaving => panic!("it was held up: {answered:?}"),
                () = settled(&node, 3, 1) => {}
            }
        };
        let joined = async {
            settled(&node, 3, 0).await;
            clone("two", 3).await
        };
        let left = async {
            leaver.await;
            // The node hears of it.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            drop(held);
        };
        let (first, second, third, (), joined) = tokio::join!(first, second, third, left, joined);
        for answered in [&first, &second, &third] {
            Bands::whole(answered);
        }
        // Third of its user's, but first of the other's: there is one before it.
        let said = Bands::whole(&joined).progress;
        let expected = "Your pack is 2nd in the queue: one for the 2 of you.\n";
        assert!(said.starts_with(expected), "{said}");
    });
    wait_for_packs(&node, 0, 0);
}

#[test]
fn what_nobody_waits_for_any_more_leaves_the_line() {
    let node = Node::start_with(ONE_AT_ONCE);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=3).map(|depth| shallow(&repository, depth)).collect();
    run(async {
        let clone = |user, pack: usize| clone_as(&node, user, "heavy.git", &packs[pack]);
        let both = async {
            tokio::join!(clone("one", 0), async {
                settled(&node, 0, 0).await;
                clone("two", 1).await
            })
        };
        tokio::select! {
            answered = both => panic!("they were held up: {answered:?}"),
            () = settled(&node, 1, 0) => {}
        }
    });
    wait_for_packs(&node, 0, 0);
    drop(held);
    let answered = run(clone_as(&node, "three", "heavy.git", &packs[2]));
    Bands::whole(&answered);
    wait_for(&node, "gitaly_pack_objects_in_progress", &[], 0);
}
