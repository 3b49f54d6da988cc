//! Whoever asks for the same, in whatever way, gets the same pack, and nothing is built again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use gitring_tests::git;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::picture::{Picture, fsck};
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shell::{Carrier, Shell};

use super::clients::{clone_of, fetch_of, herd, over_gateway};
use super::{
    Roles, SETTLE_MAX, assert_healthy, default_directory, packs_built, served_keys, wait_for_kept,
};

/// Clones into `c.git`, which git must find complete; what the client holds, and its pack.
fn clone(mut command: Command, folder: &Path, words: &[&str]) -> (Picture, Vec<u8>) {
    let output = command.args(words).output().expect("git can be started");
    assert!(output.status.success(), "{}", git::describe(words, &output));
    let clone = folder.join("c.git");
    fsck(&clone);
    let packs = super::files(&clone.join("objects/pack"), ".pack");
    let [pack] = &packs[..] else { panic!("not one pack: {packs:?}") };
    (Picture::of(&clone), fs::read(pack).expect("a pack can be read"))
}

/// Clones of one repository in every way there is: name of the way, what the client holds.
fn clones_in_every_way(node: &Node) -> Vec<(String, (Picture, Vec<u8>))> {
    let shells = [Carrier::Sidechannel, Carrier::Messages].map(|carrier| {
        let shell = Shell::start(node, carrier);
        (format!("{carrier:?}"), shell)
    });
    let mut all = Vec::new();
    for version in ["0", "1", "2"] {
        for progress in ["--progress", "--quiet"] {
            let setting = format!("protocol.version={version}");
            let words = |url| ["-c", &setting, "clone", "--bare", progress, url, "c.git"];
            let way = |name: &str| format!("{name}, version {version}, {progress}");
            let folder = tempfile::tempdir().expect("a temporary folder");
            let url = node.url("varied.git");
            let held = clone(git::command(folder.path()), folder.path(), &words(&url));
            all.push((way("gateway"), held));
            for (name, shell) in &shells {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let words = words("ssh://git@node/varied.git");
                all.push((way(name), clone(shell.git(folder.path()), folder.path(), &words)));
            }
        }
    }
    all
}

#[test]
fn clones_in_every_way_share_one_pack() {
    let mut node = Node::start();
    Repository::create(&node.storage(), "varied", Kind::Varied);
    let all = clones_in_every_way(&node);
    let (way, (picture, pack)) = &all[0];
    for (other, (other_picture, other_pack)) in &all[1..] {
        let difference = other_picture.difference(picture);
        assert_eq!(difference, None, "{other} is not {way}");
        assert!(other_pack == pack, "{other} has another pack than {way}");
    }
    let count = all.len();
    wait_until("all lines are there", SETTLE_MAX, || served_keys(&node).len() == count);
    let keys: BTreeSet<String> = served_keys(&node).into_iter().collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let expected = Roles { leads: 1, joins: 0, hits: count as u64 - 1 };
    assert_eq!((Roles::of(&node), packs_built(&node)), (expected, 1));
    assert_eq!(node.children_started(), 1, "{}", node.children_log());
    assert_healthy(&mut node);
}

/// A herd on a pack that is there: no process, the same bytes for all.
#[test]
fn a_herd_of_hits_spawns_nothing() {
    let mut node = Node::start();
    let repository = super::heavy(&node, 60);
    let input = clone_of(&repository, &["no-progress"]);
    let first = over_gateway(&node, "heavy.git", &input);
    wait_for_kept(&default_directory(&node), 1);
    let children = node.children_started();
    let all = herd(&node, "heavy.git", &input, 100);
    for got in &all {
        assert!(*got == first, "{got:?} is not {first:?}");
    }
    assert_eq!(Roles::of(&node), Roles { leads: 1, joins: 0, hits: 100 });
    assert_eq!(node.children_started(), children, "{}", node.children_log());
    assert_healthy(&mut node);
}

/// What does not change the pack does not change its name; what does, does.
#[test]
fn requests_that_mean_the_same_have_one_key() {
    let mut node = Node::start();
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    repository.allow_everything();
    let (main, topic) = (repository.id("main"), repository.id("topic/5"));
    let orphan = repository.id("orphan");
    let unknown = format!("have {:040x}", 7);
    let same: [(&[&str], &[&str]); 7] = [
        (&[&main, &orphan], &["ofs-delta"]),
        (&[&orphan, &main], &["ofs-delta", "no-progress"]),
        (&[&main, &main, &orphan], &["ofs-delta"]),
        (&[&main, &orphan], &["no-progress", "ofs-delta", &unknown]),
        // It is an ancestor of main, so main's pack holds it anyway.
        (&[&main, &topic, &orphan], &["ofs-delta", "no-progress"]),
        // Without anything in common no pack is thin.
        (&[&main, &orphan], &["ofs-delta", "thin-pack", "no-progress"]),
        (&[&main, &orphan], &["ofs-delta", "no-progress"]),
    ];
    let count = same.len();
    for (ids, more) in same {
        let got = over_gateway(&node, "varied.git", &fetch_of(ids, more));
        assert!(got.is_whole, "{ids:?} {more:?}: {got:?}");
    }
    wait_until("all lines are there", SETTLE_MAX, || served_keys(&node).len() == count);
    let keys: BTreeSet<String> = served_keys(&node).into_iter().collect();
    assert_eq!((keys.len(), packs_built(&node)), (1, 1), "{keys:?}");
    let have = format!("have {}", repository.id("main~2"));
    let others: [(&[&str], &[&str]); 6] = [
        (&[&main, &orphan], &["no-progress"]),
        (&[&main], &["ofs-delta", "no-progress"]),
        (&[&main, &orphan], &["ofs-delta", "no-progress", "deepen 2"]),
        (&[&main, &orphan], &["ofs-delta", "no-progress", "filter blob:none"]),
        (&[&main, &orphan], &["ofs-delta", "no-progress", &have]),
        (&[&main, &orphan], &["ofs-delta", "no-progress", "thin-pack", &have]),
    ];
    for (at, (ids, more)) in others.into_iter().enumerate() {
        let got = over_gateway(&node, "varied.git", &fetch_of(ids, more));
        assert!(got.is_whole, "{ids:?} {more:?}: {got:?}");
        assert_eq!(packs_built(&node), at + 2, "{ids:?} {more:?}");
    }
    assert_healthy(&mut node);
}

/// Without a ring the same work goes to threads, and operators see it.
#[test]
fn file_work_goes_where_the_configuration_says() {
    let off = "[runtime]\nio_uring = \"off\"\nreactors = 2\n";
    let mut node = Node::start_with(off);
    let repository = super::heavy(&node, 60);
    let input = clone_of(&repository, &["no-progress"]);
    let first = over_gateway(&node, "heavy.git", &input);
    assert!(over_gateway(&node, "heavy.git", &input) == first);
    first.assert_complete(&[&repository.id("main")]);
    let sum = |name, state| metrics::sum(&node, name, &[("state", state)]);
    for (state, reactors) in [("ring", 0), ("pool", 2)] {
        assert_eq!(sum("gitring_io_uring", state), reactors, "{state}");
        let operations = sum("gitring_file_operations_total", state);
        assert_eq!(operations > 0, reactors > 0, "{operations} of {state}");
    }
    assert_healthy(&mut node);
}
