//! A node that is killed or restarted: what was finished is found again, what was not is gone, and
//! what the disk has lost is never served.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use gitring_tests::git;
use gitring_tests::gitaly::run;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::picture::fsck;
use gitring_tests::process::{signal, wait_until};
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};
use tempfile::TempDir;

use super::clients::{Fetching, assert_same, clone_of, herd, over_gateway, over_sidechannel};
use super::{Roles, SETTLE_MAX, assert_healthy, files, heavy, table, wait_for_kept};

/// Longest end of a node whose `graceful_restart_timeout` is 10 s.
const END_MAX: Duration = Duration::from_secs(20);

/// A node with a cache in a folder that stays.
fn node_with_cache(more: &str) -> (Node, TempDir) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    (Node::start_with(&table(cache.path(), more)), cache)
}

/// Packs of earlier runs that are served again.
fn adopted(node: &Node) -> u64 {
    metrics::sum(node, "gitring_pack_cache_adopted_total", &[])
}

fn lost(node: &Node) -> u64 {
    let cause = [("cause", "corrupt")];
    metrics::sum(node, "gitring_pack_cache_evictions_total", &cause)
}

#[test]
fn a_kill_within_a_herd() {
    let (mut node, cache) = node_with_cache("window_bytes = 1048576");
    let varied = Repository::create(&node.storage(), "varied", Kind::Varied);
    let finished = clone_of(&varied, &["no-progress"]);
    let before = over_gateway(&node, "varied.git", &finished);
    wait_for_kept(cache.path(), 1);
    let repository = heavy(&node, 260);
    let input = clone_of(&repository, &["no-progress"]);
    run(async {
        let mut all = Vec::new();
        for _ in 0..6 {
            let mut fetching = Fetching::begin(&node, "heavy.git", &input, &[]).await;
            fetching.read_up_to(100_000).await;
            all.push(fetching);
        }
        assert_eq!(files(cache.path(), ".part").len(), 1, "it is being written");
        node.kill();
        for fetching in all {
            let got = fetching.finish().await;
            assert!(!got.is_whole, "{got:?}");
        }
    });
    node.restart();
    wait_until("the finished pack is found", SETTLE_MAX, || adopted(&node) == 1);
    wait_for_kept(cache.path(), 1);
    let after = over_gateway(&node, "varied.git", &finished);
    assert!(after == before, "{after:?} is not {before:?}");
    assert_eq!(Roles::of(&node), Roles { leads: 0, joins: 0, hits: 1 });
    let all = herd(&node, "heavy.git", &input, 6);
    assert_same(&all).assert_complete(&[&repository.id("main")]);
    assert_eq!(Roles::of(&node).leads, 1);
    wait_for_kept(cache.path(), 2);
    assert_healthy(&mut node);
}

/// Stock clients, and a node that is killed at any moment, again and again.
#[test]
fn kills_at_any_moment() {
    let (mut node, cache) = node_with_cache("");
    heavy(&node, 120);
    let seed = 61;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for round in 0..6 {
        let url = node.url("heavy.git");
        let pause = Duration::from_millis(random.below(900) as u64);
        let depth = format!("--depth={}", 40 + random.below(4) * 20);
        std::thread::scope(|scope| {
            for at in 0..6 {
                let (url, depth) = (url.clone(), depth.clone());
                let into = format!("{round}-{at}");
                let folder = folder.path();
                scope.spawn(move || {
                    let words = ["clone", "-q", "--bare", &depth, &url, &into];
                    if git::try_run(folder, &words).status.success() {
                        fsck(&folder.join(into));
                    }
                });
            }
            std::thread::sleep(pause);
            node.kill();
        });
        node.restart();
        let url = node.url("heavy.git");
        for at in 6..8 {
            let into = format!("{round}-{at}");
            git::run(folder.path(), &["clone", "-q", "--bare", &depth, &url, &into]);
            fsck(&folder.path().join(into));
        }
    }
    let all_whole = || files(cache.path(), ".part").is_empty();
    wait_until("nothing unfinished is left", SETTLE_MAX, all_whole);
    assert_eq!(lost(&node), 0, "no file lost a byte: {}", metrics::text(&node));
    assert_healthy(&mut node);
}

/// Something that a machine which stops may do to a file that was never synced.
fn tear(path: &Path, random: &mut Random) -> String {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the file is there");
    let length = file.metadata().expect("the file is there").len();
    let at = random.next_u64() % length;
    match random.below(6) {
        0 => {
            file.set_len(at).expect("a file can be cut");
            format!("cut at {at} of {length}")
        }
        1 => {
            // Lengths are on disk before data: a hole that reads as zeros.
            let zeros = vec![0; usize::try_from((length - at).min(4_096)).expect("one page")];
            file.write_all_at(&zeros, at).expect("a file can be written");
            format!("{} zeros at {at}", zeros.len())
        }
        2 => {
            file.set_len(length + 1 + at).expect("a file can grow");
            format!("{at} bytes longer")
        }
        3 => {
            file.set_len(0).expect("a file can be cut");
            "empty".to_owned()
        }
        4 => {
            let at = at % 4_096;
            flip(&file, at);
            format!("a bit of the header at {at}")
        }
        _ => {
            flip(&file, at.max(4_096));
            format!("a bit at {}", at.max(4_096))
        }
    }
}

fn flip(file: &fs::File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte is there");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("a file can be written");
}

#[test]
fn torn_files_are_never_served() {
    let (mut node, cache) = node_with_cache("");
    let repository = heavy(&node, 40);
    let mut inputs = BTreeMap::new();
    for depth in 1..=14 {
        let line = format!("deepen {depth}");
        let input = clone_of(&repository, &["no-progress", &line]);
        inputs.insert(depth, (over_gateway(&node, "heavy.git", &input).objects(), input));
    }
    let seed = 71;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..4 {
        wait_for_kept(cache.path(), inputs.len());
        node.kill();
        let mut torn = Vec::new();
        for path in files(cache.path(), ".stream") {
            if random.below(4) > 0 {
                torn.push(tear(&path, &mut random));
            }
        }
        node.restart();
        let what = format!("seed {seed} round {round}: {torn:?}");
        if round % 2 == 0 {
            // Those that are whole are found; a flipped bit of the header may be in its padding.
            let intact = (inputs.len() - torn.len()) as u64;
            wait_until(&what, SETTLE_MAX, || adopted(&node) >= intact);
        }
        for (depth, (objects, input)) in &inputs {
            let got = over_sidechannel(&node, "heavy.git", input);
            assert!(got.is_whole, "{what}: depth {depth}: {got:?}");
            assert_eq!(&got.objects(), objects, "{what}: depth {depth}");
        }
    }
    assert_healthy(&mut node);
}

#[test]
fn a_graceful_restart() {
    let (mut node, cache) = node_with_cache("window_bytes = 1048576");
    let repository = heavy(&node, 260);
    let input = clone_of(&repository, &["no-progress"]);
    let mut got = over_gateway(&node, "heavy.git", &input);
    for runs in 0..3 {
        signal(node.pid(), "TERM");
        assert!(node.wait(END_MAX).success(), "{}", node.log());
        wait_for_kept(cache.path(), 1);
        node.restart();
        wait_until("the pack is found", SETTLE_MAX, || adopted(&node) == 1);
        let again = over_sidechannel(&node, "heavy.git", &input);
        assert!(again == got, "run {runs}: {again:?} is not {got:?}");
        assert_eq!(Roles::of(&node), Roles { leads: 0, joins: 0, hits: 1 }, "run {runs}");
        got = again;
    }
    got.assert_complete(&[&repository.id("main")]);
    // A pack that flows when the signal comes is finished, kept, and found again.
    let other = clone_of(&repository, &["no-progress", "include-tag", "deepen 250"]);
    let whole = run(async {
        let mut fetching = Fetching::begin(&node, "heavy.git", &other, &[]).await;
        fetching.read_up_to(100_000).await;
        signal(node.pid(), "TERM");
        fetching.finish().await
    });
    assert!(whole.is_whole, "{whole:?}");
    assert!(node.wait(END_MAX).success(), "{}", node.log());
    node.restart();
    wait_until("both packs are found", SETTLE_MAX, || adopted(&node) == 2);
    let again = over_gateway(&node, "heavy.git", &other);
    assert!(again == whole, "{again:?} is not {whole:?}");
    assert_eq!(Roles::of(&node).leads, 0);
    assert_healthy(&mut node);
}

/// As operators of Gitaly do it: one directory for several processes.
#[test]
fn two_nodes_on_one_directory() {
    let (mut one, cache) = node_with_cache("");
    let mut two = one.start_beside(&table(cache.path(), ""));
    let repository = heavy(&one, 60);
    let input = clone_of(&repository, &["no-progress"]);
    let shallow = clone_of(&repository, &["no-progress", "deepen 5"]);
    for node in [&one, &two] {
        let all = herd(node, "heavy.git", &input, 8);
        assert_same(&all).assert_complete(&[&repository.id("main")]);
        assert!(over_gateway(node, "heavy.git", &shallow).is_whole);
        assert!(over_gateway(node, "heavy.git", &input).is_whole);
        assert_eq!(Roles::of(node).leads, 2, "each has its own");
    }
    wait_for_kept(cache.path(), 4);
    // One of them dies; another one comes and takes over what is nobody's, and only that.
    one.kill();
    let mut three = two.start_beside(&table(cache.path(), ""));
    wait_until("two packs are taken over", SETTLE_MAX, || adopted(&three) == 2);
    for node in [&two, &three] {
        for _ in 0..2 {
            over_sidechannel(node, "heavy.git", &input).assert_complete(&[&repository.id("main")]);
            assert!(over_sidechannel(node, "heavy.git", &shallow).is_whole);
        }
    }
    assert_eq!(Roles::of(&two).leads, 2);
    assert_eq!(Roles::of(&three), Roles { leads: 0, joins: 0, hits: 4 });
    one.restart();
    over_gateway(&one, "heavy.git", &input).assert_complete(&[&repository.id("main")]);
    assert_eq!(Roles::of(&one).leads, 1, "what it had is another's now");
    for node in [&mut one, &mut two, &mut three] {
        assert_healthy(node);
    }
}

/// Whoever turns the cache off wants its disk back.
#[test]
fn a_cache_that_is_turned_off() {
    let (mut node, cache) = node_with_cache("");
    let repository = heavy(&node, 40);
    let input = clone_of(&repository, &["no-progress"]);
    over_gateway(&node, "heavy.git", &input);
    wait_for_kept(cache.path(), 1);
    node.kill();
    let mut other = node.start_beside(&table(cache.path(), "enabled = false"));
    wait_for_kept(cache.path(), 0);
    for _ in 0..2 {
        let got = over_gateway(&other, "heavy.git", &input);
        got.assert_complete(&[&repository.id("main")]);
    }
    assert_eq!(Roles::of(&other), Roles { leads: 2, joins: 0, hits: 0 });
    assert_healthy(&mut other);
}
