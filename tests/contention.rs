//! Many pushers, git's own upkeep and readers, all at one repository.
//!
//! Goal: no acknowledged push is lost, no reader sees an error or a ref to a missing object, and what
//! loses a race is told so.
//! Method: 64 pushers walk along commits of their own, in pairs of refs; some of them also want the
//! same ref, which one at a time gets. git packs refs and objects, collects garbage and prunes what is
//! old; readers clone and list, through the node and beside it.
//!
//! `git prune` gets an age, and `git repack` keeps what nothing refers to: otherwise they take what a
//! push has published and not yet referred to, or what was there and is pushed again, since
//! `git unpack-objects` does not write it twice. Stock git loses objects in the same way.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};

use crate::crash::chain::{self, Chain};
use crate::crash::writer::{Means, Writer, ZERO, move_ref};
use crate::push::OPEN;

const PUSHERS: usize = 64;
/// Commits of each.
const CHAIN_COMMITS: usize = 4;
/// Those of them that also want the ref that is everybody's.
const RIVALS: usize = 16;
/// How long it goes on.
const STORM: Duration = Duration::from_secs(8);
/// What everybody wants.
const SHARED: &str = "refs/heads/shared";

/// What git does to the repository meanwhile.
const UPKEEP: [&[&str]; 8] = [
    &["pack-refs", "--all", "--prune"],
    &["gc", "--quiet"],
    &["repack", "-A", "-d", "-q"],
    &["prune", "--expire=1.hour.ago"],
    &["pack-refs", "--all"],
    &["repack", "-d", "-q"],
    &["prune-packed", "-q"],
    &["for-each-ref", "--format=%(objectname) %(objecttype)"],
];

/// What a storm came to.
#[derive(Default)]
struct Counts {
    won: AtomicU64,
    lost: AtomicU64,
    upkeep: AtomicU64,
    read: AtomicU64,
}

#[test]
fn pushers_upkeep_and_readers_do_not_disturb_each_other() {
    let node = Node::start_with(OPEN);
    let repository = Repository::create(&node.storage(), "r", Kind::Empty);
    repository.import(chain::EVERYBODYS);
    let chains: Vec<Chain> = (0..PUSHERS).map(|at| Chain::new(at, CHAIN_COMMITS)).collect();
    let mut writers: Vec<Writer> =
        (0..PUSHERS).map(|number| Writer::new(number, Means::Push)).collect();
    let (ended, counts) = (AtomicBool::new(false), Counts::default());
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::thread::scope(|scope| {
        let (node, repository, ended, counts) = (&node, &repository, &ended, &counts);
        let folder = folder.path();
        for (writer, chain) in writers.iter_mut().zip(&chains) {
            scope.spawn(move || writer.write(node, Some(chain), ended));
        }
        for rival in 0..RIVALS {
            scope.spawn(move || want_the_same(node, rival, ended, counts));
        }
        for (at, words) in UPKEEP.iter().enumerate() {
            scope.spawn(move || keep_up(repository, at, words, ended, counts));
        }
        for at in 0..3 {
            let folder = folder.join(format!("reader-{at}"));
            scope.spawn(move || read(node, &folder, ended, counts));
        }
        std::thread::sleep(STORM);
        ended.store(true, Ordering::Relaxed);
    });
    for writer in &mut writers {
        let found = writer.look(&node);
        writer.judge(found).unwrap_or_else(|fault| panic!("{fault}\n{}", node.log()));
    }
    repository.git(&["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]);
    let acknowledged: u64 = writers.iter().map(Writer::acknowledged).sum();
    let [won, lost, upkeep, read] = [&counts.won, &counts.lost, &counts.upkeep, &counts.read]
        .map(|count| count.load(Ordering::Relaxed));
    println!("{acknowledged} pushes, {won} won and {lost} lost, {upkeep} of upkeep, {read} read");
    assert!(acknowledged >= PUSHERS as u64, "only {acknowledged} pushes\n{}", node.log());
    assert!(won > 0 && upkeep > 0 && read > 0, "{won} {upkeep} {read}");
}

/// Moves the ref from what it is to one of two commits; somebody else may be faster.
fn want_the_same(node: &Node, rival: usize, ended: &AtomicBool, counts: &Counts) {
    let mut random = Random::new(rival as u64 + 1);
    let mut known: BTreeSet<String> = chain::EVERYBODYS_IDS.map(str::to_owned).into();
    known.insert(ZERO.to_owned());
    let known: Vec<String> = known.into_iter().collect();
    while !ended.load(Ordering::Relaxed) {
        let (old, new) = (&known[random.below(known.len())], &known[random.below(known.len())]);
        if old == new {
            continue;
        }
        match move_ref(node.gateway(), SHARED, old, new) {
            Ok(true) => counts.won.fetch_add(1, Ordering::Relaxed),
            Ok(false) => counts.lost.fetch_add(1, Ordering::Relaxed),
            Err(fault) => panic!("{SHARED}: {fault}\n{}", node.log()),
        };
    }
}

/// git may lose a race for a lock, too; it must find nothing broken.
fn keep_up(
    repository: &Repository,
    at: usize,
    words: &[&str],
    ended: &AtomicBool,
    counts: &Counts,
) {
    while !ended.load(Ordering::Relaxed) {
        let output = git::try_run(&repository.path, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_broken = ["missing", "bad object", "corrupt", "unable to read"]
            .iter()
            .any(|word| said.contains(word));
        assert!(!is_broken, "upkeep {at} {words:?}: {said}");
        counts.upkeep.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Clones through the node, again and again.
fn read(node: &Node, folder: &std::path::Path, ended: &AtomicBool, counts: &Counts) {
    let url = node.url("r.git");
    let text = folder.to_string_lossy().into_owned();
    while !ended.load(Ordering::Relaxed) {
        git::run(&std::env::temp_dir(), &["clone", "--quiet", "--mirror", &url, &text]);
        git::run(folder, &["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]);
        std::fs::remove_dir_all(folder).expect("a clone can be removed");
        counts.read.fetch_add(1, Ordering::Relaxed);
    }
}
