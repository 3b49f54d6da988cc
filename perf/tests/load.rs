//! The load program as its users run it.
//!
//! Goal: every kind of request is answered whole by a node, also beside slow and vanishing
//! clients, and bad arguments are refused with a reason.
//! Method: one short run against a node with a token, its JSON read as text.
//!
//! Never here: speed.

use std::process::{Command, Output};

use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

const TOKEN: &str = "a token of tests";

const KINDS: [&str; 10] = [
    "repository-exists",
    "ref-exists",
    "find-commit",
    "find-default-branch-name",
    "ls-refs",
    "clone",
    "fetch",
    "ssh-ls-refs",
    "ssh-clone",
    "info-refs",
];

fn load(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(words).output().expect("the load program can be started")
}

/// The object of one row.
fn row<'a>(json: &'a str, name: &str) -> &'a str {
    let key = format!("{{\"kind\":\"{name}\"");
    let start = json.find(&key).unwrap_or_else(|| panic!("no {name} in {json}"));
    let rest = &json[start + 1..];
    &rest[..rest.find("{\"kind\"").unwrap_or(rest.len())]
}

#[test]
fn every_kind_is_answered() {
    let node = Node::start_with(&format!("[auth]\ntoken = \"{TOKEN}\"\n"));
    let repository = Repository::create(&node.storage(), "load", Kind::Varied);
    let address = format!("tcp://{}", node.gitaly_address());
    let mix = KINDS.map(|kind| format!("{kind}=1")).join(",");
    let relative = repository.relative();
    let common = ["--address", &address, "--repository", &relative, "--seconds", "1", "--json"];
    let clients = ["--connections=3", "--threads=2", "--slow=2", "--vanishing=4", "--seed=7"];
    let output = load(&[&common[..], &clients, &["--token", TOKEN, "--mix", &mix]].concat());
    let json = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{json}\n{said}");
    assert!(json.starts_with("{\"seed\":7,\"seconds\":1."), "{json}");
    for kind in KINDS {
        assert!(!row(&json, kind).contains("\"count\":0"), "{kind}: {json}");
    }
    assert!(!row(&json, "vanishing").contains("\"count\":0"), "{json}");
    assert!(!row(&json, "slow-clone").contains("\"bytes\":0"), "{json}");

    let refused = load(&[&common[..], &["--token", "another"]].concat());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("PermissionDenied: permission denied"), "{said}");
}

fn check_refused(words: &[&str], expected: &str) {
    let output = load(words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{words:?}");
    assert!(said.contains(expected), "{words:?}: {said}");
}

#[test]
fn bad_arguments_are_refused() {
    let common = ["--address=unix:/nowhere/gitaly.sock", "--repository=a.git"];
    let check = |more: &[&str], expected| check_refused(&[&common[..], more].concat(), expected);
    check(&[], "dial unix:/nowhere/gitaly.sock: No such file or directory");
    check(&["--mix=push=1"], "'push' is no kind of request, expected one of repository-exists");
    check(&["--mix=clone"], "'clone' is not NAME=WEIGHT");
    check(&["--connections=0"], "0 is not in 1..=4096");
    check(&["--seconds=x"], "invalid digit found in string");
    check(&["--threads=5"], "--threads must not exceed --connections");
    check(&["--in-flight=0"], "nothing is to be done");
    check(&["--targets=/nowhere"], "/nowhere: No such file or directory");
    let schemes = "begins with neither tcp://, tls:// nor unix:";
    check_refused(&["--address=udp://a:1", "--repository=a"], schemes);
    check_refused(&["--repository=a"], "--address <ADDRESS>");
}
