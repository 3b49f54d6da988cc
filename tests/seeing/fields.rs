//! What a fetch cost, in its line.

use super::SETTLE_MAX;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shell::{Carrier, Shell};

/// The last lines of fetches of packs, the oldest first.
fn lines(node: &Node) -> Vec<String> {
    let log = node.log();
    let is_last = |line: &&str| line.contains("\"pack_objects_cache.role\":");
    log.lines().filter(is_last).map(str::to_owned).collect()
}

#[track_caller]
fn number(line: &str, key: &str) -> Option<f64> {
    let value = line.split(&format!("\"pack_objects_cache.{key}\":")).nth(1)?;
    Some(value.split([',', '}']).next()?.parse().expect("a number"))
}

/// Over the gateway, and over Gitaly's door: who built it, what that took, what a hit saved.
#[test]
fn a_line_says_what_its_pack_cost_or_saved() {
    let node = Node::start();
    Repository::create(&node.storage(), "varied", Kind::Varied);
    let shell = Shell::start(&node, Carrier::Sidechannel);
    for at in 0..2 {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut git = std::process::Command::new("git");
        git.current_dir(folder.path()).args(["clone", "-q", "--bare", &node.url("varied.git")]);
        assert!(git.status().expect("git can be started").success(), "{at}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut git = shell.git(folder.path());
    git.args(["clone", "-q", "--bare", "ssh://git@node/varied.git"]);
    assert!(git.status().expect("git can be started").success());
    wait_until("all lines are there", SETTLE_MAX, || lines(&node).len() == 3);
    let lines = lines(&node);
    let [lead, hit, over_ssh] = &lines[..] else { panic!("{lines:?}") };
    assert!(lead.contains("\"pack_objects_cache.role\":\"lead\""), "{lead}");
    let cost = number(lead, "build_cpu_ms").expect("a lead pays");
    assert!(cost > 0.0 && number(lead, "saved_cpu_ms").is_none(), "{lead}");
    assert!(number(lead, "wait_ms").is_some_and(|wait| wait > 0.0), "{lead}");
    for line in [hit, over_ssh] {
        assert!(line.contains("\"pack_objects_cache.role\":\"hit\""), "{line}");
        assert!(number(line, "build_cpu_ms").is_none(), "{line}");
        let saved = number(line, "saved_cpu_ms").expect("a hit saves");
        assert!((saved - cost).abs() < 0.001, "{saved} is not {cost}: {line}");
    }
    for line in &lines {
        assert!(line.contains("\"pack_objects_cache.builder\":\"child\""), "{line}");
    }
}
