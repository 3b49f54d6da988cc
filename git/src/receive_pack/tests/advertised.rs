//! Advertisements byte for byte as those of `git receive-pack --advertise-refs`, agents aside.

use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::objects::tests::fixture::Fixture;
use crate::refs::Namespace;
use crate::repository::{Environment, Repository};

/// What git says, under its own name.
fn stock(fixture: &Fixture, namespace: &str, protocol: &str) -> (Vec<u8>, String) {
    let mut git = Command::new("git");
    git.args(["receive-pack", "--advertise-refs", "."]).current_dir(fixture.dir.path());
    git.env("GIT_PROTOCOL", protocol).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/none");
    if !namespace.is_empty() {
        git.env("GIT_NAMESPACE", namespace);
    }
    let output = git.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let agent = text.split("agent=").nth(1).unwrap().split('\n').next().unwrap().to_owned();
    (output.stdout, agent)
}

fn ours(fixture: &Fixture, namespace: &str, version: Version, agent: String) -> Vec<u8> {
    let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    let settings = Settings::of(&snapshot.config, &snapshot).unwrap();
    let namespace = Namespace::parse(namespace.as_bytes()).unwrap();
    let server = Server { agent, namespace, explain_errors: false };
    let desk = Desk::new(Arc::clone(&snapshot), server.clone(), settings.clone());
    let mut machine = ReceivePack::new(version, Mode::Advertise, server, settings);
    let Next::Ask(question) = machine.on(Event::Start).next else { panic!("no question") };
    let step = machine.on(Event::Answer(Box::new(desk.answer(question))));
    assert!(matches!(step.next, Next::Done));
    step.send.to_vec()
}

fn check(fixture: &Fixture, namespace: &str, case: &str) {
    for (protocol, version) in [("", Version::V0), ("version=1", Version::V1)] {
        let (expected, agent) = stock(fixture, namespace, protocol);
        let actual = ours(fixture, namespace, version, agent);
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(shown(&actual), shown(&expected), "{case} {protocol}");
    }
}

#[test]
fn advertisements_are_those_of_git() {
    let fixture = Fixture::empty();
    check(&fixture, "", "empty");
    fixture.import("main", 1, 30);
    fixture.git(&["tag", "-a", "-m", "t", "v1", "main"]);
    fixture.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    fixture.git(&["symbolic-ref", "refs/heads/dangling", "refs/heads/nowhere"]);
    fixture.git(&["update-ref", "refs/keep-around/x", "main~3"]);
    fixture.git(&["update-ref", "refs/namespaces/a/refs/heads/main", "main~1"]);
    fixture.git(&["update-ref", "refs/namespaces/b/refs/heads/main", "main~1"]);
    check(&fixture, "", "loose");
    check(&fixture, "a", "a namespace");
    fixture.git(&["pack-refs", "--all"]);
    fixture.git(&["config", "transfer.hideRefs", "refs/keep-around"]);
    fixture.git(&["config", "--add", "receive.hideRefs", "^refs/namespaces/b"]);
    fixture.git(&["config", "receive.advertisePushOptions", "true"]);
    fixture.git(&["config", "receive.advertiseAtomic", "false"]);
    check(&fixture, "", "hidden");
    check(&fixture, "a", "hidden, a namespace");
    let missing = "7777777777777777777777777777777777777777\n";
    std::fs::create_dir_all(fixture.dir.path().join("refs/heads")).unwrap();
    std::fs::write(fixture.dir.path().join("refs/heads/gone"), missing).unwrap();
    std::fs::write(fixture.dir.path().join("refs/heads/broken"), "nonsense\n").unwrap();
    check(&fixture, "", "broken");
}

#[test]
fn alternates_are_told_as_git_tells_them() {
    let (pool, fork) = (Fixture::with_history(9), Fixture::with_history(4));
    pool.git(&["update-ref", "refs/odd/one", "main~5"]);
    pool.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    let line = format!("{}\n", pool.objects().display());
    std::fs::write(fork.objects().join("info/alternates"), line).unwrap();
    check(&fork, "", "all");
    fork.git(&["config", "core.alternateRefsPrefixes", "refs/odd refs/tags/"]);
    check(&fork, "", "prefixes");
    fork.git(&["config", "core.alternateRefsCommand", "exit 0 #"]);
    check(&fork, "", "a command that says nothing");
    let nothing = Fixture::empty();
    let line = format!("{}\n", pool.objects().display());
    std::fs::write(nothing.objects().join("info/alternates"), line).unwrap();
    check(&nothing, "", "nothing but alternates");
}
