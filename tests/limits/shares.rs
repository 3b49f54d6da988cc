//! One noisy user and nine quiet ones.

use super::clones::{Bands, clone_as, shallow};
use super::{heavy, wait_for_packs};
use gitring_tests::gitaly::run;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use std::sync::Mutex;

/// Packs that the noisy one wants, each of them another.
const NOISY: usize = 30;
const QUIET: usize = 9;

#[test]
fn each_quiet_user_has_its_turn_in_each_round() {
    let node = Node::start_with("[pack_building]\nmax_concurrency = 1\n");
    let repository = heavy(&node, NOISY + QUIET);
    let held = node.hold_packs();
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let clone = |user: String, depth: usize| {
            let (node, ended, input) = (&node, &ended, shallow(&repository, depth));
            scope.spawn(move || {
                Bands::whole(&run(clone_as(node, &user, "heavy.git", &input)));
                ended.lock().expect("no client panics").push(user);
            });
        };
        (1..=NOISY).for_each(|depth| clone("noisy".to_owned(), depth));
        wait_for_packs(&node, 1, NOISY as u64 - 1);
        (1..=QUIET).for_each(|user| clone(format!("quiet {user}"), NOISY + user));
        wait_for_packs(&node, 1, (NOISY + QUIET) as u64 - 1);
        drop(held);
        wait_until("all are served", super::SETTLE_MAX, || {
            ended.lock().expect("no client panics").len() == NOISY + QUIET
        });
    });
    let ended = ended.into_inner().expect("no client panics");
    // The noisy one's first was being built; in the round behind it each has its turn. When they
    // end may differ a little from when they begin.
    let last = ended.iter().rposition(|user| user.starts_with("quiet")).expect("they were served");
    assert!(last < 1 + 1 + QUIET + 4, "{ended:?}");
    wait_for_packs(&node, 0, 0);
}
