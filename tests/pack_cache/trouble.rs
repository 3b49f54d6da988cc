//! What operators do to a cache's files while the node runs.

use std::fs::{self, OpenOptions};
use std::path::Path;

use gitring_tests::gitaly::run;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::random::Random;
use gitring_tests::repository::Repository;

use super::clients::{
    Fetching, assert_same, clone_of, fetch_of, herd, over_gateway, over_sidechannel,
};
use super::{Roles, SETTLE_MAX, assert_healthy, files, heavy, packs_built, table, wait_for_kept};

/// A node with one finished pack of 8 MB in a cache of its own folder.
struct Kept {
    node: Node,
    cache: tempfile::TempDir,
    repository: Repository,
    input: Vec<u8>,
}

// === impl Kept ===

impl Kept {
    fn new(more: &str) -> Self {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let node = Node::start_with(&table(cache.path(), more));
        let repository = heavy(&node, 260);
        let input = clone_of(&repository, &["no-progress"]);
        let kept = Self { node, cache, repository, input };
        kept.fetch();
        wait_for_kept(kept.cache.path(), 1);
        kept
    }

    /// A clone, which must be right.
    #[track_caller]
    fn fetch(&self) {
        let got = over_sidechannel(&self.node, "heavy.git", &self.input);
        got.assert_complete(&[&self.repository.id("main")]);
    }

    fn folder(&self) -> &Path {
        self.cache.path()
    }
}

/// Empties a folder, as `rm -rf folder/*` does.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.expect("it can be removed");
    }
}

#[test]
fn a_directory_that_is_removed_between_fetches() {
    let mut kept = Kept::new("");
    for round in 0..3 {
        match round {
            0 => empty(kept.folder()),
            1 => fs::remove_dir_all(kept.folder()).expect("it can be removed"),
            _ => files(kept.folder(), ".stream")
                .iter()
                .for_each(|path| fs::remove_file(path).expect("it can be removed")),
        }
        for _ in 0..2 {
            kept.fetch();
        }
        let all = herd(&kept.node, "heavy.git", &kept.input, 12);
        assert_same(&all).assert_complete(&[&kept.repository.id("main")]);
    }
    // Whatever has become of it: what is asked for often is not built each time.
    let (before, built) = (Roles::of(&kept.node), packs_built(&kept.node));
    for _ in 0..3 {
        kept.fetch();
    }
    assert!(packs_built(&kept.node) <= built + 1, "{before:?} {:?}", Roles::of(&kept.node));
    assert_healthy(&mut kept.node);
}

/// Those who read go on; those who come find nothing and are served all the same.
#[test]
fn a_directory_that_is_removed_while_packs_flow() {
    for is_finished in [true, false] {
        let mut kept = Kept::new("window_bytes = 1048576");
        let main = kept.repository.id("main");
        // Without deltas by offset it is another pack, which nobody has asked for yet.
        let more: &[&str] = if is_finished { &["ofs-delta"] } else { &[] };
        let input = fetch_of(&[&main], &[more, &["no-progress"]].concat());
        run(async {
            let mut all = Vec::new();
            for _ in 0..4 {
                let mut fetching = Fetching::begin(&kept.node, "heavy.git", &input, &[]).await;
                fetching.read_up_to(100_000).await;
                all.push(fetching);
            }
            empty(kept.folder());
            for _ in 0..2 {
                all.push(Fetching::begin(&kept.node, "heavy.git", &input, &[]).await);
            }
            let mut ends = tokio::task::JoinSet::new();
            for fetching in all {
                ends.spawn_local(fetching.finish());
            }
            for got in ends.join_all().await {
                got.assert_complete(&[&main]);
            }
        });
        kept.fetch();
        assert_healthy(&mut kept.node);
    }
}

#[test]
fn a_file_that_is_cut_between_fetches() {
    let mut kept = Kept::new("");
    let seed = 41;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..8 {
        wait_for_kept(kept.folder(), 1);
        let [path] = &files(kept.folder(), ".stream")[..] else { panic!("not one pack") };
        let length = fs::metadata(path).expect("the file is there").len();
        let short = match round {
            0 => 0,
            1 => length - 1,
            2 => 4_096,
            _ => random.next_u64() % length,
        };
        let file = OpenOptions::new().write(true).open(path).expect("the file is there");
        file.set_len(short).expect("a file can be cut");
        let what = format!("seed {seed} round {round}: {short} of {length}");
        let built = packs_built(&kept.node);
        let first = over_gateway(&kept.node, "heavy.git", &kept.input);
        assert!(first.is_whole, "{what}: {first:?}");
        first.assert_complete(&[&kept.repository.id("main")]);
        kept.fetch();
        assert_eq!(packs_built(&kept.node), built + 1, "{what}");
    }
    let cause = [("cause", "corrupt")];
    let corrupt = metrics::sum(&kept.node, "gitring_pack_cache_evictions_total", &cause);
    assert!(corrupt >= 1, "{}", metrics::text(&kept.node));
    assert!(kept.node.log().contains("a pack was lost"), "{}", kept.node.log());
    assert_healthy(&mut kept.node);
}

/// A file that is replaced, by another one or by something that is none.
#[test]
fn a_file_that_is_replaced_between_fetches() {
    let mut kept = Kept::new("");
    for round in 0..3 {
        wait_for_kept(kept.folder(), 1);
        let [path] = &files(kept.folder(), ".stream")[..] else { panic!("not one pack") };
        fs::remove_file(path).expect("a file can be removed");
        match round {
            0 => fs::create_dir(path).expect("a folder can be created"),
            1 => fs::write(path, "something else").expect("a file can be written"),
            _ => std::os::unix::fs::symlink("/dev/zero", path).expect("a link can be created"),
        }
        for _ in 0..2 {
            let got = over_gateway(&kept.node, "heavy.git", &kept.input);
            assert!(got.is_whole, "round {round}: {got:?}");
            got.assert_complete(&[&kept.repository.id("main")]);
        }
        if path.is_dir() {
            fs::remove_dir(path).expect("it is empty");
        }
        let others = clone_of(&kept.repository, &["no-progress", "deepen 2"]);
        assert!(over_gateway(&kept.node, "heavy.git", &others).is_whole);
        empty(kept.folder());
        kept.fetch();
    }
    assert_healthy(&mut kept.node);
}

/// What is too old goes, the file as well.
#[test]
fn packs_that_are_too_old() {
    let mut kept = Kept::new("max_age = \"3s\"");
    let gone = || files(kept.folder(), ".stream").is_empty();
    wait_until("it has become too old", SETTLE_MAX, gone);
    let cause = [("cause", "max_age")];
    let evicted = || metrics::sum(&kept.node, "gitring_pack_cache_evictions_total", &cause);
    wait_until("it is counted", SETTLE_MAX, || evicted() == 1);
    kept.fetch();
    assert_eq!(Roles::of(&kept.node).leads, 2);
    assert_healthy(&mut kept.node);
}
