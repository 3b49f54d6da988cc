//! A cache disk that is full, read-only or not there: packs are not kept, and nobody fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gitring_tests::history;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::{children, wait_until};
use gitring_tests::repository::{Kind, Repository};
use tempfile::TempDir;

use super::clients::{clone_of, herd, over_gateway, over_sidechannel};
use super::leaving::{every_temper, three_clones};
use super::{
    Roles, SETTLE_MAX, assert_healthy, files, heavy, packs_built, table, unstored, wait_for_kept,
};

/// Clients at once.
const CLIENTS: usize = 24;

/// A node that alone sees a small file system on `folder`, which is its cache's.
struct SmallDisk {
    node: Node,
    folder: TempDir,
}

// === impl SmallDisk ===

impl SmallDisk {
    /// Mounts with these options; nothing, with a printed reason, where that is not allowed.
    fn start(options: &str, more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().display();
        let script = format!("mount -t tmpfs -o {options} tmpfs '{path}' && exec \"$@\"");
        let launcher = ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned);
        let mut probe = Command::new(&launcher[0]);
        let output = probe.args(&launcher[1..]).arg("true").output();
        let refusal = match &output {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(refusal) = refusal {
            eprintln!("skipped, no file system of its own can be mounted: {refusal}");
            return None;
        }
        let node = Node::start_under(&launcher, &table(folder.path(), more));
        Some(Self { node, folder })
    }

    /// The cache's directory as the node sees it.
    fn directory(&self) -> PathBuf {
        let inside = self.folder.path().strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.node.pid())).join(inside)
    }
}

/// A herd of clones and one more client, none of whom may fail.
#[track_caller]
fn serve_everybody(node: &Node, repository: &Repository) {
    let input = clone_of(repository, &["no-progress"]);
    let all = herd(node, &repository.relative(), &input, CLIENTS);
    for got in &all {
        assert!(got.is_whole, "{got:?}");
    }
    all[0].assert_complete(&[&repository.id("main")]);
    let got = over_gateway(node, &repository.relative(), &input);
    got.assert_complete(&[&repository.id("main")]);
}

#[test]
fn a_disk_that_fills_up_within_a_pack() {
    let more = "bytes_max = 1073741824\nwindow_bytes = 1048576";
    let Some(mut small) = SmallDisk::start("size=3m", more) else { return };
    let repository = heavy(&small.node, 260);
    serve_everybody(&small.node, &repository);
    assert!(unstored(&small.node, "disk_full") >= 1, "{}", metrics::text(&small.node));
    let directory = small.directory();
    wait_for_kept(&directory, 0);
    // What is smaller than the disk is kept on it all the same.
    let varied = Repository::create(&small.node.storage(), "varied", Kind::Varied);
    let input = clone_of(&varied, &["no-progress"]);
    over_sidechannel(&small.node, "varied.git", &input).assert_complete(&[&varied.id("main")]);
    wait_for_kept(&directory, 1);
    let built = packs_built(&small.node);
    over_sidechannel(&small.node, "varied.git", &input).assert_complete(&[&varied.id("main")]);
    assert_eq!(packs_built(&small.node), built, "a hit");
    assert!(small.node.log().contains("a pack is not kept"), "{}", small.node.log());
    assert_healthy(&mut small.node);
}

/// Packs that move from a full disk into memory under clients who come, read slowly and leave.
#[test]
fn a_full_disk_under_clients_of_every_temper() {
    let more = "bytes_max = 1073741824\nwindow_bytes = 1048576";
    let Some(mut small) = SmallDisk::start("size=3m", more) else { return };
    let repository = heavy(&small.node, 260);
    let inputs = three_clones(&repository);
    assert!(every_temper(&small.node, &inputs, 29) > 20);
    let pid = small.node.pid();
    wait_until("no child is left", SETTLE_MAX, || children(pid).is_empty());
    let sum = |state| metrics::sum(&small.node, "gitring_pack_cache_bytes", &[("state", state)]);
    let left = || sum("making") + sum("unlinked");
    wait_until("nothing unfinished is counted", SETTLE_MAX, || left() == 0);
    assert!(files(&small.directory(), ".part").is_empty());
    assert_healthy(&mut small.node);
}

/// What is kept makes room for what is new.
#[test]
fn a_full_disk_evicts_first() {
    let more = "bytes_max = 1073741824";
    let Some(mut small) = SmallDisk::start("size=5m", more) else { return };
    let mut repositories = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let one = Repository::create(&small.node.storage(), name, Kind::Empty);
        one.import(&history::heavy(50));
        repositories.push(one);
    }
    for round in 0..2 {
        for one in &repositories {
            let input = clone_of(one, &["no-progress"]);
            let got = over_gateway(&small.node, &one.relative(), &input);
            assert!(got.is_whole && got.pack.len() > 1_400_000, "round {round}: {got:?}");
        }
    }
    let evicted = metrics::sum(&small.node, "gitring_pack_cache_evictions_total", &[]);
    assert!(evicted >= 2, "{}", metrics::text(&small.node));
    let kept = files(&small.directory(), ".stream").len();
    assert!((1..=3).contains(&kept), "{kept} packs of 1.5 MB on 5 MB");
    assert_healthy(&mut small.node);
}

#[test]
fn a_file_system_that_is_read_only() {
    let Some(mut small) = SmallDisk::start("ro,size=5m", "") else { return };
    let repository = heavy(&small.node, 60);
    serve_everybody(&small.node, &repository);
    assert!(unstored(&small.node, "disk_failed") >= 1, "{}", metrics::text(&small.node));
    assert_healthy(&mut small.node);
}

/// No inode is left: files cannot be created where bytes could be written.
#[test]
fn a_file_system_without_inodes() {
    let Some(mut small) = SmallDisk::start("size=50m,nr_inodes=2", "") else { return };
    let repository = heavy(&small.node, 60);
    serve_everybody(&small.node, &repository);
    assert_healthy(&mut small.node);
}

#[test]
fn a_directory_that_cannot_be_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "in the way").expect("a file can be written");
    let mut node = Node::start_with(&table(&file.join("cache"), ""));
    let repository = heavy(&node, 60);
    serve_everybody(&node, &repository);
    assert!(unstored(&node, "disk_failed") >= 1, "{}", metrics::text(&node));
    assert_healthy(&mut node);
}

/// Budgets that no pack fits into: shared while it is built, never kept.
#[test]
fn budgets_that_are_smaller_than_a_pack() {
    for (key, value, reason) in [
        ("bytes_max", "1000000".to_owned(), "bytes_max"),
        ("bytes_max", "0".to_owned(), "bytes_max"),
        ("free_bytes_min", i64::MAX.to_string(), "free_bytes_min"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let more = format!("{key} = {value}\nwindow_bytes = 1048576");
        let mut node = Node::start_with(&table(folder.path(), &more));
        let repository = heavy(&node, 200);
        serve_everybody(&node, &repository);
        assert!(unstored(&node, reason) >= 1, "{key} {value}: {}", metrics::text(&node));
        wait_for_kept(folder.path(), 0);
        wait_until("no child is left", SETTLE_MAX, || children(node.pid()).is_empty());
        assert_healthy(&mut node);
    }
}

/// Many packs through a budget of five: it holds, and those that are asked for stay.
#[test]
fn a_budget_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes_max: u64 = 9_000_000;
    let more = format!("bytes_max = {bytes_max}");
    let mut node = Node::start_with(&table(folder.path(), &more));
    let repository = heavy(&node, 60);
    let wanted = clone_of(&repository, &["no-progress", "deepen 3"]);
    for depth in 1..=40 {
        let depth = format!("deepen {}", 1 + depth % 20);
        let input = clone_of(&repository, &["no-progress", &depth]);
        assert!(over_gateway(&node, "heavy.git", &input).is_whole);
        assert!(over_gateway(&node, "heavy.git", &wanted).is_whole);
        let kept = files(folder.path(), ".stream");
        let lengths = kept.iter().filter_map(|path| fs::metadata(path).ok());
        let bytes: u64 = lengths.map(|found| found.len()).sum();
        assert!(bytes <= bytes_max, "{bytes} bytes are kept after {depth}");
    }
    let roles = Roles::of(&node);
    let cause = [("cause", "bytes_max")];
    let evicted = metrics::sum(&node, "gitring_pack_cache_evictions_total", &cause);
    assert!(evicted >= 5, "{evicted} {roles:?}");
    assert!(roles.hits >= 35, "the one that everybody wants stays: {roles:?}");
    assert_healthy(&mut node);
}
