//! Forks and their pool: what is the pool's is everybody's, what is a fork's is nobody else's.

use std::fs;

use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::picture::fsck;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};

use super::clients::{fetch_of, over_gateway, over_sidechannel};
use super::{Roles, SETTLE_MAX, assert_healthy, packs_built};

/// A pool with a history, and forks without an object of their own.
struct Network {
    node: Node,
    pool: Repository,
    forks: [Repository; 2],
}

// === impl Network ===

impl Network {
    fn new() -> Self {
        let node = Node::start();
        let pool = Repository::create(&node.storage(), "pool", Kind::Varied);
        let forks = ["one", "two"].map(|name| {
            let fork = Repository::create(&node.storage(), name, Kind::Empty);
            let alternates = fork.path.join("objects/info/alternates");
            fs::write(alternates, "../../pool.git/objects\n").expect("alternates can be written");
            fork.git(&["update-ref", "refs/heads/main", &pool.id("main")]);
            fork
        });
        Self { node, pool, forks }
    }
}

/// Adds a commit of its own to a fork's main and returns its id.
fn commit(fork: &Repository, message: &str) -> String {
    let tree = fork.git(&["rev-parse", "main^{tree}"]);
    let blob = git::run_with(&fork.path, &["hash-object", "-w", "--stdin"], message.as_bytes());
    let listing = fork.git(&["ls-tree", &tree]);
    let listing = format!("{listing}\n100644 blob {blob}\t{message}\n");
    let tree = git::run_with(&fork.path, &["mktree"], listing.as_bytes());
    let id = fork.git(&["commit-tree", "-p", "main", "-m", message, &tree]);
    fork.git(&["update-ref", "refs/heads/main", &id]);
    id
}

#[test]
fn objects_of_the_pool_are_shared() {
    let Network { mut node, pool, forks } = Network::new();
    let main = pool.id("main");
    let input = fetch_of(&[&main], &["ofs-delta", "no-progress"]);
    let mut packs = Vec::new();
    for path in ["one.git", "two.git", "pool.git"] {
        let got = over_gateway(&node, path, &input);
        got.assert_complete(&[&main]);
        packs.push(got.pack);
    }
    assert!(packs[1] == packs[0] && packs[2] == packs[0]);
    assert_eq!(Roles::of(&node), Roles { leads: 1, joins: 0, hits: 2 });
    // Maintenance of the pool: the same objects, and what the forks fetch stays right.
    pool.git(&["repack", "-adfq"]);
    for path in ["two.git", "one.git"] {
        over_sidechannel(&node, path, &input).assert_complete(&[&main]);
    }
    assert_eq!(packs_built(&node), 1);
    let tip = commit(&forks[0], "one");
    let input = fetch_of(&[&main, &tip], &["ofs-delta", "no-progress"]);
    over_gateway(&node, "one.git", &input).assert_complete(&[&main, &tip]);
    assert_healthy(&mut node);
}

/// Neither a finished pack nor one that is being built is a way to another fork's objects.
#[test]
fn objects_of_a_fork_are_not() {
    let Network { mut node, pool, forks } = Network::new();
    let secret = commit(&forks[0], "secret");
    let input = fetch_of(&[&secret], &["ofs-delta", "no-progress"]);
    let have = format!("have {}", pool.id("main"));
    let thin = fetch_of(&[&secret], &["ofs-delta", "no-progress", "thin-pack", &have]);
    for input in [&input, &thin] {
        let (held, before) = (node.hold_packs(), packs_built(&node));
        let refused = |when: &str| {
            for path in ["two.git", "pool.git"] {
                let got = over_gateway(&node, path, input);
                let text = got.error.clone().unwrap_or_default();
                assert!(text.contains("not our ref"), "{path} {when}: {got:?}");
                assert!(got.pack.is_empty(), "{path} {when}: {got:?}");
            }
        };
        let got = std::thread::scope(|scope| {
            let leader = scope.spawn(|| over_gateway(&node, "one.git", input));
            wait_until("a builder", SETTLE_MAX, || packs_built(&node) > before);
            refused("while it is built");
            drop(held);
            leader.join().expect("the leader does not panic")
        });
        assert!(got.is_whole, "{got:?}");
        refused("when it is there");
    }
    assert_healthy(&mut node);
}

/// The same commit, brought to both forks by different people: both have it, each its own.
#[test]
fn equal_objects_of_two_forks() {
    let Network { mut node, forks, .. } = Network::new();
    let ids = forks.each_ref().map(|fork| commit(fork, "equal"));
    assert_eq!(ids[0], ids[1]);
    let input = fetch_of(&[&ids[0]], &["ofs-delta", "no-progress"]);
    for path in ["one.git", "two.git", "one.git", "two.git"] {
        over_gateway(&node, path, &input).assert_complete(&[&ids[0]]);
    }
    assert_eq!(Roles::of(&node), Roles { leads: 2, joins: 0, hits: 2 });
    assert_healthy(&mut node);
}

/// Stock clients of both forks while both grow.
#[test]
fn forks_that_grow_apart() {
    let Network { mut node, forks, .. } = Network::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["one", "two"] {
        let url = node.url(&format!("{name}.git"));
        git::run(folder.path(), &["clone", "-q", "--mirror", &url, name]);
    }
    for round in 0..6 {
        let fork = &forks[round % 2];
        // Every third commit is the same on both sides.
        let message = if round % 3 == 0 { "both".to_owned() } else { format!("round {round}") };
        commit(fork, &message.replace(' ', "-"));
        for (fork, name) in forks.iter().zip(["one", "two"]) {
            let client = folder.path().join(name);
            git::run(&client, &["fetch", "-q", "origin"]);
            fsck(&client);
            assert_eq!(git::run(&client, &["rev-parse", "main"]), fork.id("main"), "{round}");
            let url = node.url(&format!("{name}.git"));
            let fresh = format!("{name}-{round}");
            git::run(folder.path(), &["clone", "-q", &url, &fresh]);
            fsck(&folder.path().join(fresh));
        }
    }
    assert_healthy(&mut node);
}
