//! kill -9 at random instants of pushes and updates of refs.
//!
//! Goal: after a crash every acknowledged update is there, no atomic one is there in half, every ref
//! points to a complete object, and nothing temporary is left.
//! Method: writers push commits and move refs, each in pairs of refs that must stay equal, and note
//! what was acknowledged and what was under way. A node is killed under them after a random time and
//! started again, many times; each time every pair is compared with what its writer knows.
//!
//! `SEED` and `CRASHES` in the environment choose another or a longer run.
//!
//! Never here: loss of power, which no test of processes can play; `git::ref_transaction` has that.

pub(crate) mod chain;
pub(crate) mod writer;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gitring_tests::node::Node;
use gitring_tests::process::{children, signal, wait_until};
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};

use crate::push::OPEN;
use chain::Chain;
use writer::{Means, Writer};

/// Commits that one writer walks along, forth and back.
const CHAIN_COMMITS: usize = 40;
/// A node's life, at most.
const LIFE_MAX_MS: usize = 500;
/// How many times a node is killed unless the environment says otherwise.
const CRASHES_DEFAULT: u64 = 12;
/// Children of a killed node end by themselves.
const ORPHANS_MAX: Duration = Duration::from_secs(10);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let seed = number("SEED", u64::from(std::process::id()));
    let crashes = number("CRASHES", CRASHES_DEFAULT);
    println!("SEED={seed} CRASHES={crashes}");
    let mut random = Random::new(seed);
    let mut node = Node::start_with(OPEN);
    let repository = Repository::create(&node.storage(), "r", Kind::Empty);
    let chains: Vec<Chain> = (0..4).map(|at| Chain::new(at, CHAIN_COMMITS)).collect();
    repository.import(chain::EVERYBODYS);
    let means = [Means::Push, Means::Push, Means::Push, Means::Push, Means::Update, Means::Update];
    let mut writers: Vec<Writer> =
        means.iter().enumerate().map(|(at, means)| Writer::new(at, *means)).collect();
    for crash in 0..crashes {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let chain = chains.get(writer.number());
                let (node, ended) = (&node, &ended);
                scope.spawn(move || writer.write(node, chain, ended));
            }
            std::thread::sleep(Duration::from_millis(20 + random.below(LIFE_MAX_MS) as u64));
            signal(node.pid(), "KILL");
            ended.store(true, Ordering::Relaxed);
        });
        node.kill();
        node.restart();
        for writer in &mut writers {
            // The first that asks makes the node deal with what its predecessor left.
            let found = writer.look(&node);
            writer.judge(found).unwrap_or_else(|fault| {
                panic!("SEED={seed}, crash {crash}: {fault}\n{}", node.log())
            });
        }
        repository.git(&["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]);
    }
    let acknowledged: u64 = writers.iter().map(Writer::acknowledged).sum();
    let survived: u64 = writers.iter().map(Writer::finished_by_themselves).sum();
    println!("{acknowledged} acknowledged, {survived} under way when the node died and there");
    assert!(acknowledged > crashes, "only {acknowledged} in {crashes} lives");
    wait_until("orphans end", ORPHANS_MAX, || children(std::process::id()).len() <= 1);
    node.kill();
    node.restart();
    writers[0].look(&node);
    let left = temporary_files(&repository);
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// What no repository holds while nobody writes to it.
fn temporary_files(repository: &Repository) -> Vec<String> {
    let folder = repository.git(&["rev-parse", "--absolute-git-dir"]);
    let found = Command::new("find").arg(folder).output().expect("find can be started");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let is_temporary =
        |path: &&str| path.contains("tmp_") || path.ends_with(".lock") || path.ends_with(".keep");
    found.lines().filter(is_temporary).map(str::to_owned).collect()
}
