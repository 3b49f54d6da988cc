//! A shared pack is the right one for everybody who gets it, whatever has changed meanwhile.

use std::fs;
use std::path::Path;

use gitring_tests::client::Served;
use gitring_tests::git;
use gitring_tests::gitaly::run;
use gitring_tests::history;
use gitring_tests::node::Node;
use gitring_tests::picture::fsck;
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::stock_http::StockHttp;

use super::clients::{Fetching, Got, clone_of, fetch_of, over_gateway, over_sidechannel};
use super::{Roles, assert_healthy, packs_built};
use crate::fetch::{self, scenarios};

/// Every kind of fetch, in an order that nobody thought of, from one cache in every version.
#[test]
fn every_fetch_in_every_version_from_one_cache() {
    let mut node = fetch::node_with(Kind::Varied);
    let storage = node.storage();
    let stock = StockHttp::start(&storage);
    let seed = 17;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let mut rows: Vec<_> = scenarios::ALL.iter().collect();
    let mut faults = Vec::new();
    while !rows.is_empty() {
        let scenario = rows.swap_remove(random.below(rows.len()));
        for version in [2, 0, 1] {
            if !scenario.versions.contains(&version) {
                continue;
            }
            let (stock, ours) = (Served::StockHttp(&stock), Served::Gateway(&node));
            if let Err(fault) = fetch::compare(scenario, version, stock, ours) {
                faults.push(format!("{} v{version}: {fault}", scenario.name));
            }
        }
    }
    assert!(faults.is_empty(), "seed {seed}: {} faults\n{}", faults.len(), faults.join("\n"));
    let roles = Roles::of(&node);
    assert!(roles.hits > roles.leads, "what was asked for before is there: {roles:?}");
    assert_healthy(&mut node);
}

/// Something that an operator, a push or maintenance does to a repository, in words.
fn change(repository: &Repository, random: &mut Random, round: usize) -> String {
    let name = format!("tag-{round}");
    let words: &[&str] = match random.below(9) {
        0 | 1 => {
            repository.grow(1_000 + round as u64);
            return "new commits".to_owned();
        }
        2 => &["update-ref", "refs/heads/moving", "main~3"],
        3 => &["update-ref", "-d", "refs/heads/moving"],
        4 => &["tag", "-a", "-m", "new", &name, "main~1"],
        5 => &["repack", "-adfq", "--write-bitmap-index"],
        6 => &["gc", "--quiet", "--prune=now"],
        7 => &["pack-refs", "--all", "--prune"],
        _ => &["repack", "-dq"],
    };
    repository.git(words);
    words.join(" ")
}

/// The same refs as the server has, and all that they reach.
fn assert_mirrors(clone: &Path, repository: &Repository, what: &str) {
    fsck(clone);
    let refs = ["for-each-ref", "--format=%(objectname) %(refname)"];
    assert_eq!(git::run(clone, &refs), repository.git(&refs), "{what}");
}

#[test]
fn refs_and_packs_that_change_between_hits() {
    let mut node = Node::start();
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    repository.allow_everything();
    let url = node.url("varied.git");
    let seed = 5;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    git::run(folder.path(), &["clone", "-q", "--mirror", &url, "old"]);
    let old = folder.path().join("old");
    let kinds = ["--mirror", "--depth=2", "--filter=blob:none", "--no-tags", "--single-branch"];
    for round in 0..24 {
        let change = change(&repository, &mut random, round);
        let kind = kinds[random.below(kinds.len())];
        let version = format!("protocol.version={}", random.below(3));
        let what = format!("seed {seed} round {round}: {change} {kind} {version}");
        for name in ["a", "b"] {
            let words = ["-c", &version, "clone", "-q", "--no-checkout", kind, &url, name];
            git::run(folder.path(), &words);
            let clone = folder.path().join(name);
            match kind {
                "--mirror" => assert_mirrors(&clone, &repository, &what),
                "--filter=blob:none" => {
                    git::run(&clone, &["checkout", "-q", "main"]);
                }
                _ => fsck(&clone),
            }
            let main = git::run(&clone, &["rev-parse", "main"]);
            assert_eq!(main, repository.id("main"), "{what}");
            fs::remove_dir_all(clone).expect("a clone can be removed");
        }
        git::run(&old, &["-c", &version, "fetch", "-q", "--prune", "--tags", "--force", "origin"]);
        assert_mirrors(&old, &repository, &what);
    }
    assert!(Roles::of(&node).hits >= 20, "{:?}", Roles::of(&node));
    assert_healthy(&mut node);
}

/// Tags that come along by themselves: those of this moment, under the rules of this request.
#[test]
fn tags_that_come_along() {
    let mut node = Node::start();
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    let main = repository.id("main");
    let with = fetch_of(&[&main], &["ofs-delta", "no-progress", "include-tag"]);
    let without = fetch_of(&[&main], &["ofs-delta", "no-progress"]);
    let (old, hide) = (repository.id("v1"), "uploadpack.hideRefs=refs/tags/v1");
    let fetch = |input: &[u8], options: &[&str]| -> Vec<String> {
        let got: Got = run(async {
            Fetching::begin(&node, "varied.git", input, options).await.finish().await
        });
        got.assert_complete(&[&main]);
        got.objects()
    };
    // Twice: made, and from the cache.
    for round in 0..2 {
        assert!(fetch(&with, &[]).contains(&old), "round {round}");
        assert!(!fetch(&without, &[]).contains(&old), "round {round}");
        assert!(!fetch(&with, &[hide]).contains(&old), "round {round}: hidden");
    }
    assert_eq!(packs_built(&node), 3);
    repository.git(&["tag", "-a", "-m", "new", "new", "main~1"]);
    let new = repository.id("new");
    assert!(fetch(&with, &[]).contains(&new), "it was not there before");
    assert!(!fetch(&without, &[]).contains(&new));
    assert!(!fetch(&with, &["uploadpack.hideRefs=refs/tags/new"]).contains(&new), "hidden");
    repository.git(&["tag", "-d", "new"]);
    assert!(!fetch(&with, &[]).contains(&new), "it has gone");
    assert_healthy(&mut node);
}

/// The path is the same, and nothing else.
#[test]
fn a_repository_that_is_created_anew() {
    let mut node = Node::start();
    let first = Repository::create(&node.storage(), "varied", Kind::Varied);
    let (old, input) = (first.id("main"), clone_of(&first, &["no-progress"]));
    over_gateway(&node, "varied.git", &input).assert_complete(&[&old]);
    fs::remove_dir_all(&first.path).expect("a repository can be removed");
    let second = Repository::create(&node.storage(), "varied", Kind::Empty);
    second.import(&history::varied(99));
    let new = second.id("main");
    assert_ne!(old, new);
    for get in [over_gateway as fn(&Node, &str, &[u8]) -> Got, refused_over_sidechannel] {
        let got = get(&node, "varied.git", &input);
        assert!(got.pack.is_empty() && !got.is_whole, "{got:?}");
        assert!(got.error.as_ref().is_some_and(|text| text.contains("not our ref")), "{got:?}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    git::run(folder.path(), &["clone", "-q", "--mirror", &node.url("varied.git"), "c"]);
    assert_mirrors(&folder.path().join("c"), &second, "created anew");
    // And back again.
    fs::remove_dir_all(&second.path).expect("a repository can be removed");
    let third = Repository::create(&node.storage(), "varied", Kind::Varied);
    over_sidechannel(&node, "varied.git", &input).assert_complete(&[&old]);
    git::run(folder.path(), &["clone", "-q", "--mirror", &node.url("varied.git"), "d"]);
    assert_mirrors(&folder.path().join("d"), &third, "back again");
    assert_healthy(&mut node);
}

/// A request that the node refuses before it opens a pack.
fn refused_over_sidechannel(node: &Node, path: &str, input: &[u8]) -> Got {
    run(async {
        let mut fetching = Fetching::begin(node, path, input, &[]).await;
        fetching.read_up_to(usize::MAX).await;
        fetching.so_far()
    })
}
