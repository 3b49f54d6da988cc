//! Limits as clients meet them: queues, refusals, shares.
//!
//! Goal: whoever waits knows where it stands, whoever is refused knows when to come again, one
//! client never takes the share of others, and small requests go on beside large ones.
//! Method: clones over sidechannels on behalf of users, and over the gateway, while packs are held
//! up; statuses' details, band 2 and 3, headers and metrics are read as clients read them.
//!
//! Never here: the rules by themselves, which have a model of their own.

mod clones;
mod methods;
mod overload;
mod queue;
mod refusals;
mod shares;
mod unread;

use gitring_tests::history;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};
use std::time::Duration;

/// Longest wait for something that the node does by itself, on a loaded machine.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// `heavy.git`: 30 kB a commit that do not compress.
fn heavy(node: &Node, commits: usize) -> Repository {
    let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
    heavy.import(&history::heavy(commits));
    heavy
}

/// Waits until a figure is so much.
#[track_caller]
fn wait_for(node: &Node, name: &str, labels: &[(&str, &str)], expected: u64) {
    let what = format!("{name}{labels:?} is {expected}");
    wait_until(&what, SETTLE_MAX, || metrics::sum(node, name, labels) == expected);
}

/// Waits until so many packs are being built, and so many wait to be.
#[track_caller]
fn wait_for_packs(node: &Node, building: u64, queued: u64) {
    wait_for(node, "gitaly_pack_objects_in_progress", &[], building);
    wait_for(node, "gitaly_pack_objects_queued", &[], queued);
}
