//! Clients clone while git writes, packs refs, repacks and prunes.
//!
//! Goal: a clone never misses an object and never sees a ref that points to none.
//! Method: one thread runs stock git against the repository, others clone over the gateway until
//! the writer is done; `git fsck` judges every clone.
//!
//! Never here: writes through the node.

use std::sync::atomic::{AtomicBool, Ordering};

use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

/// Rounds of the writer; each writes, packs or prunes.
const ROUNDS: usize = 24;

/// Clients at once.
const CLIENTS: usize = 3;

#[test]
fn clones_are_whole_while_git_writes() {
    let node = Node::start();
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    repository.set("gc.auto", "0");
    let done = AtomicBool::new(false);
    let clones = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let (node, done) = (&node, &done);
                    move || clone_until(node, number, done)
                })
            })
            .collect();
        // The flag must fall even if the writer fails, or the clients never end.
        let wrote = scope.spawn(|| write(&repository)).join();
        done.store(true, Ordering::SeqCst);
        let clones: usize =
            clients.into_iter().map(|client| client.join().expect("a client clones")).sum();
        wrote.expect("the writer writes");
        clones
    });
    assert!(clones >= CLIENTS, "{clones} clones");
}

/// Every kind of change that another git process makes beside a running node.
fn write(repository: &Repository) {
    for round in 0..ROUNDS {
        let tree = repository.git(&["rev-parse", "main^{tree}"]);
        let mut tip = repository.id("main");
        for n in 0..10 {
            let message = format!("round {round}, {n}");
            tip = repository.git(&["commit-tree", "-p", &tip, "-m", &message, &tree]);
            repository.git(&["update-ref", "refs/heads/main", &tip]);
            repository.git(&["update-ref", &format!("refs/heads/new/{round}-{n}"), &tip]);
        }
        repository.git(&["tag", "-a", "-m", "tag", &format!("round-{round}"), &tip]);
        match round % 4 {
            0 => drop(repository.git(&["pack-refs", "--all", "--prune"])),
            1 => drop(repository.git(&["repack", "-dq"])),
            2 => drop(repository.git(&["repack", "-adq", "--write-bitmap-index"])),
            _ => {
                for n in 0..5 {
                    let name = format!("refs/heads/new/{}-{n}", round - 3);
                    repository.git(&["update-ref", "-d", &name]);
                }
                repository.git(&["multi-pack-index", "write"]);
                repository.git(&["commit-graph", "write", "--reachable"]);
            }
        }
    }
}

/// Clones until the flag falls; each clone is judged. Returns how many there were.
fn clone_until(node: &Node, number: usize, done: &AtomicBool) -> usize {
    let mut clones = 0;
    while !done.load(Ordering::SeqCst) || clones == 0 {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let version = format!("protocol.version={}", if number == 0 { 0 } else { 2 });
        let url = node.url("varied.git");
        let words = ["-c", &version, "clone", "-q", "--mirror", &url, "clone"];
        let output = git::try_run(folder.path(), &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            // git's own v0 over HTTP: a ref that was deleted between two requests is refused.
            let refused = number == 0 && said.contains("not our ref");
            assert!(refused, "{}\n{}", git::describe(&words, &output), node.log());
            continue;
        }
        let clone = folder.path().join("clone");
        git::run(&clone, &["fsck", "--full", "--no-progress", "--no-dangling"]);
        clones += 1;
    }
    clones
}
