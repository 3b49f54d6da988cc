//! `gitring-node cache`, beside a running node.

use std::path::Path;
use std::process::{Command, Output};

use gitring_tests::node::{self, Node};
use gitring_tests::process::wait_until;

use super::clients::{clone_of, over_gateway};
use super::{Roles, SETTLE_MAX, assert_healthy, default_directory, files, heavy, wait_for_kept};

/// `gitring-node cache WORDS… --dir DIRECTORY`
fn cache(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(node::program());
    command.arg("cache").args(words).arg("--dir").arg(directory);
    command.output().expect("the node's program runs")
}

/// What it prints, provided that it ends well.
#[track_caller]
fn says(directory: &Path, words: &[&str]) -> String {
    let output = cache(directory, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// Goal: an operator sees what is cached, whose it is, and why two fetches did not share a pack;
/// what is purged is a miss for the running node, and nothing else happens.
#[test]
fn an_operator_looks_and_purges() {
    let mut node = Node::start();
    let repository = heavy(&node, 20);
    let directory = default_directory(&node);
    let whole = clone_of(&repository, &[]);
    let shallow = clone_of(&repository, &["deepen 1"]);
    for body in [&whole, &shallow] {
        assert!(over_gateway(&node, "heavy.git", body).is_whole);
    }
    wait_for_kept(&directory, 2);
    let path = repository.path.to_str().expect("a temporary path is UTF-8");

    assert!(says(&directory, &["stats"]).starts_with("2 packs, "));
    let json = says(&directory, &["stats", "--json"]);
    assert!(json.contains("\"packs\": 2") && json.contains(path), "{json}");
    let listed = says(&directory, &["ls"]);
    assert_eq!(listed.lines().filter(|line| line.contains(path)).count(), 2, "{listed}");

    // By key, by log line and by the body of the fetch: each time the same difference.
    let keys: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    let log = node.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("\"served bytes\"")).collect();
    let bodies = tempfile::tempdir().expect("a temporary folder");
    let named = |name: &str, body: &[u8]| {
        let file = bodies.path().join(name);
        std::fs::write(&file, body).expect("a fresh folder takes files");
        file.to_str().expect("a temporary path is UTF-8").to_owned()
    };
    let files_of = [named("whole", &whole), named("shallow", &shallow)];
    let in_body = ["explain", &files_of[0], &files_of[1], "--repository", path];
    for words in [&["explain", keys[0], keys[1]][..], &["explain", lines[0], lines[1]], &in_body] {
        let said = says(&directory, words);
        assert!(said.contains("shallow boundaries differ"), "{words:?}: {said}");
    }
    let same = says(&directory, &["explain", &files_of[0], lines[0], "--repository", path]);
    assert!(same.ends_with("the same pack\n"), "{same}");
    let unknown = cache(&directory, &["explain", "nonsense", lines[0]]);
    assert!(!unknown.status.success() && !unknown.stderr.is_empty());

    let before = Roles::of(&node);
    assert!(says(&directory, &["purge", "--repository", "/nowhere"]).contains("removed 0 packs"));
    assert!(says(&directory, &["purge", "--dry-run"]).contains("would remove 2 packs"));
    assert_eq!(files(&directory, ".stream").len(), 2);
    assert!(says(&directory, &["purge", "--repository", path]).contains("removed 2 packs"));
    assert!(over_gateway(&node, "heavy.git", &whole).is_whole);
    wait_until("the pack is made again", SETTLE_MAX, || Roles::of(&node).leads == before.leads + 1);
    wait_for_kept(&directory, 1);
    assert_healthy(&mut node);
}
