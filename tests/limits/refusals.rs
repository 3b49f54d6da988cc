//! What those are told who are refused, by each way in.

use super::clones::{Bands, clone_as, clone_from, limit_error, shallow};
use super::{heavy, wait_for, wait_for_packs};
use gitring_tests::gitaly::run;
use gitring_tests::http;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use std::time::Duration;

const SIZE: &str = "maximum queue size reached";
const TIME: &str = "maximum time in concurrency queue reached";

#[test]
fn a_full_line_of_packs() {
    let table = "[pack_building]\nmax_concurrency = 1\nmax_queue_size = 1\n";
    let node = Node::start_with(table);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=4).map(|depth| shallow(&repository, depth)).collect();
    std::thread::scope(|scope| {
        let clone = |user: &'static str, pack: usize| {
            let (node, packs) = (&node, &packs);
            scope.spawn(move || run(clone_as(node, user, "heavy.git", &packs[pack])))
        };
        let first = clone("one", 0);
        wait_for_packs(&node, 1, 0);
        let second = clone("one", 1);
        wait_for_packs(&node, 1, 1);

        let refused = run(clone_as(&node, "two", "heavy.git", &packs[2]));
        let status = refused.reply.expect_err("the line is full");
        let (text, retry_after) = limit_error(&status);
        assert_eq!(text, SIZE);
        assert!(retry_after >= Duration::from_millis(100), "{retry_after:?}");
        assert!(refused.bytes.is_empty(), "nothing was said before");

        // By HTTP others are at fault, or oneself.
        let others = http::upload_pack(node.gateway(), "heavy.git", 2, &packs[2]);
        assert_eq!((others.status, others.body.as_slice()), (503, format!("{SIZE}\n").as_bytes()));
        let seconds: u64 = others.header("retry-after").parse().expect("whole seconds");
        assert!((1..=600).contains(&seconds), "{others:?}");

        // Whoever wants what is in line already is welcome.
        let joined = clone("two", 1);
        wait_for(&node, "gitring_pack_cache_lookups_total", &[("role", "join")], 1);
        drop(held);
        for client in [first, second, joined] {
            Bands::whole(&client.join().expect("no client panics"));
        }
    });
    let dropped = [("reason", "max_size")];
    assert_eq!(metrics::sum(&node, "gitaly_pack_objects_dropped_total", &dropped), 2);
    wait_for_packs(&node, 0, 0);
}

#[test]
fn whoever_fills_the_line_alone_is_told_so() {
    let table = "[pack_building]\nmax_concurrency = 1\nmax_queue_size = 2\n";
    let node = Node::start_with(table);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=5).map(|depth| shallow(&repository, depth)).collect();
    std::thread::scope(|scope| {
        let ask = |pack: usize| {
            let (gateway, packs) = (node.gateway(), &packs);
            scope.spawn(move || http::upload_pack(gateway, "heavy.git", 2, &packs[pack]))
        };
        let first = ask(0);
        wait_for_packs(&node, 1, 0);
        let second = ask(1);
        wait_for_packs(&node, 1, 1);
        let third = ask(2);
        wait_for_packs(&node, 1, 2);
        let refused = ask(3).join().expect("no client panics");
        assert_eq!((refused.status, refused.header("retry-after").is_empty()), (429, false));

        // A client that has nothing in line takes the place of the last of one that has more.
        let other = {
            let (node, packs) = (&node, &packs);
            scope.spawn(move || run(clone_as(node, "two", "heavy.git", &packs[4])))
        };
        let evicted = Bands::of(&third.join().expect("no client panics").body);
        // It was told of its place before: what follows comes by band 3.
        assert!(evicted.progress.contains("2nd in the queue"), "{evicted:?}");
        let sentence = format!("too many packs wait to be built already ({SIZE})");
        assert!(evicted.error.contains(&sentence), "{evicted:?}");
        assert!(evicted.error.contains("Please try again in "), "{evicted:?}");
        drop(held);
        let other = other.join().expect("no client panics");
        Bands::whole(&other);
        for client in [first, second] {
            let answer = client.join().expect("no client panics");
            assert!(Bands::of(&answer.body).is_whole, "{answer:?}");
        }
    });
    wait_for_packs(&node, 0, 0);
}

#[test]
fn a_wait_that_is_too_long() {
    let table = "[pack_building]\nmax_concurrency = 1\nmax_queue_wait = '1s'\n";
    let node = Node::start_with(table);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=2).map(|depth| shallow(&repository, depth)).collect();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(clone_as(&node, "one", "heavy.git", &packs[0])));
        wait_for_packs(&node, 1, 0);
        let late = run(clone_as(&node, "two", "heavy.git", &packs[1]));
        let (text, _) = limit_error(&late.reply.expect_err("it was not its turn"));
        assert_eq!(text, TIME);
        let bands = Bands::of(&late.bytes);
        assert!(bands.error.contains(TIME) && !bands.is_whole, "{bands:?}");
        wait_for_packs(&node, 1, 0);
        drop(held);
        Bands::whole(&first.join().expect("no client panics"));
    });
    let dropped = [("reason", "max_time")];
    assert_eq!(metrics::sum(&node, "gitaly_pack_objects_dropped_total", &dropped), 1);
}

/// Gitaly's own limit: of each address, as clients name it.
#[test]
fn the_packs_of_an_address() {
    let table = "[pack_objects_limiting]\nmax_concurrency = 1\nmax_queue_length = 1\n";
    let node = Node::start_with(table);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=5).map(|depth| shallow(&repository, depth)).collect();
    std::thread::scope(|scope| {
        let clone = |address: &'static str, pack: usize| {
            let (node, packs) = (&node, &packs);
            scope.spawn(move || run(clone_from(node, address, "heavy.git", &packs[pack])))
        };
        let first = clone("192.0.2.1:5000", 0);
        wait_for_packs(&node, 1, 0);
        let second = clone("192.0.2.1", 1);
        wait_for_packs(&node, 1, 1);
        let refused = clone("192.0.2.1", 2).join().expect("no client panics");
        assert_eq!(limit_error(&refused.reply.expect_err("the line is full")).0, SIZE);
        // Other addresses, and this machine, have nothing to do with it.
        let other = clone("192.0.2.2", 3);
        let own = clone("127.0.0.1", 4);
        wait_for_packs(&node, 3, 1);
        drop(held);
        for client in [first, second, other, own] {
            Bands::whole(&client.join().expect("no client panics"));
        }
    });
    wait_for_packs(&node, 0, 0);
}
