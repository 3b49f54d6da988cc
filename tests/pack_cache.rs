//! The pack cache: many clients, one pack; and whatever may happen to it meanwhile.
//!
//! Goal: identical fetches cost one pack, nobody gets objects that are not theirs, nobody fails
//! because of the cache, and a pack that broke off never looks whole.
//! Method: stock clients and raw ones over the gateway and over sidechannels; `git index-pack` and
//! `git fsck` judge what arrived; the node's metrics and its count of children say what it cost.
//!
//! Never here: the cache by itself, which has a simulation of its own; CPU time.

mod burst;
mod clients;
mod disk;
mod forks;
mod hits;
mod leaving;
mod restart;
mod sample;
mod sharing;
mod slow;
mod texts;
mod tool;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitring_tests::history;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};

/// Longest wait for something that the node does by itself, on a loaded machine.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// How many lookups came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Roles {
    leads: u64,
    joins: u64,
    hits: u64,
}

// === impl Roles ===

impl Roles {
    fn of(node: &Node) -> Self {
        let sum = |role| metrics::sum(node, "gitring_pack_cache_lookups_total", &[("role", role)]);
        Self { leads: sum("lead"), joins: sum("join"), hits: sum("hit") }
    }

    fn total(self) -> u64 {
        self.leads + self.joins + self.hits
    }
}

/// Where packs lie if nobody says otherwise.
fn default_directory(node: &Node) -> PathBuf {
    node.storage().join("+gitaly/PackObjectsCache")
}

/// The table of a cache in `directory` that keeps packs from the first time on, with more keys.
fn table(directory: &Path, more: &str) -> String {
    let directory = directory.display();
    format!("[pack_objects_cache]\ndir = \"{directory}\"\nmin_occurrences = 0\n{more}\n")
}

/// The smallest window: a pack of some megabytes is still being built while nobody reads on.
const SMALL_WINDOW: &str = "[pack_objects_cache]\nmin_occurrences = 0\nwindow_bytes = 1048576\n";

/// `heavy.git`: 30 kB a commit that do not compress.
fn heavy(node: &Node, commits: usize) -> Repository {
    let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
    heavy.import(&history::heavy(commits));
    heavy
}

/// Files below `directory` whose names end so, sorted.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        // Files and folders of a cache may go while they are listed.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Waits until so many packs are kept, and nothing else lies beside them.
#[track_caller]
fn wait_for_kept(directory: &Path, count: usize) {
    let what = format!("{count} packs are kept");
    wait_until(&what, SETTLE_MAX, || {
        files(directory, ".stream").len() == count && files(directory, ".part").is_empty()
    });
}

/// How many packs git has built for clients.
fn packs_built(node: &Node) -> usize {
    node.children_log().lines().filter(|line| line.contains("pack-objects")).count()
}

/// Packs that are not kept, for this reason.
fn unstored(node: &Node, reason: &str) -> u64 {
    metrics::sum(node, "gitring_pack_cache_unstored_total", &[("reason", reason)])
}

/// Names of the packs that were served, in the order in which clients were done.
fn served_keys(node: &Node) -> Vec<String> {
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains("\"served bytes\""));
    let keys = lines.filter_map(|line| line.split("\"cache_key\":\"").nth(1)?.split('"').next());
    keys.map(str::to_owned).collect()
}

/// Fails with the log if anything in the node has panicked.
#[track_caller]
fn assert_healthy(node: &mut Node) {
    node.assert_alive();
    let log = node.log();
    assert!(!log.contains("panicked") && !log.contains("died of a panic"), "{log}");
}
