//! What was pushed is seen by others as soon as the pusher knows of it; and nobody who reads
//! meanwhile ever sees less than a whole repository.
//!
//! Never here: what a single push does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gitring_tests::client::Served;
use gitring_tests::git;
use gitring_tests::node::Node;

use super::OPEN;
use super::scene::{Scene, Template};

/// Readers of a repository that is pushed to.
const READERS: usize = 4;
const PUSHES: usize = 25;

#[test]
fn at_once() {
    let node = Node::start_with(OPEN);
    let scene = Scene::new(&Template::new(), Served::Gateway(&node), (&node.storage(), 0), 0);
    let folder = tempfile::tempdir().expect("this works on this machine");
    git::run(folder.path(), &["clone", "-q", "--bare", &scene.url("server"), "reader"]);
    let reader = folder.path().join("reader");
    for round in 0..PUSHES {
        // Unpacked and kept in turns; refs loose and packed.
        scene.server().set("receive.unpackLimit", if round % 2 == 0 { "1" } else { "100" });
        if round % 5 == 4 {
            scene.server().git(&["pack-refs", "--all"]);
        }
        let new = scene.commit(&format!("round {round}"));
        let branch = format!("main:refs/heads/b{round}");
        assert!(scene.push(&["origin", "main", &branch]), "{}", scene.transcript());
        let url = scene.url("server");
        let listed = git::run(&reader, &["ls-remote", &url, "refs/heads/main"]);
        assert_eq!(listed, format!("{new}\trefs/heads/main"), "round {round}");
        git::run(&reader, &["fetch", "-q", "origin", "+refs/heads/*:refs/heads/*"]);
        let fetched = git::run(&reader, &["rev-parse", "main", &format!("b{round}")]);
        assert_eq!(fetched, format!("{new}\n{new}"), "round {round}");
        assert!(scene.push(&["origin", &format!(":refs/heads/b{round}")]));
        let listed = git::run(&reader, &["ls-remote", &url, &format!("refs/heads/b{round}")]);
        assert_eq!(listed, "", "round {round}");
    }
}

#[test]
fn readers_see_no_error() {
    let node = Node::start_with(OPEN);
    let scene = Scene::new(&Template::new(), Served::Gateway(&node), (&node.storage(), 0), 0);
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let url = scene.url("server");
    std::thread::scope(|scope| {
        for number in 0..READERS {
            let (done, reads, url) = (&done, &reads, &url);
            scope.spawn(move || {
                let folder = tempfile::tempdir().expect("this works on this machine");
                let mut last = String::new();
                for round in 0.. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    let name = format!("clone{round}");
                    let options = [["-q", "--mirror"], ["-q", "--bare"]][number % 2];
                    let words = [&["clone"], &options[..], &[url, &name]].concat();
                    git::run(folder.path(), &words);
                    let clone = folder.path().join(&name);
                    git::run(&clone, &["rev-list", "--objects", "--all", "--quiet"]);
                    // Time does not run backwards for anybody.
                    let main = git::run(&clone, &["rev-parse", "main"]);
                    if !last.is_empty() {
                        git::run(&clone, &["merge-base", "--is-ancestor", &last, &main]);
                    }
                    last = main;
                    std::fs::remove_dir_all(clone).expect("this works on this machine");
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let pushing = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..PUSHES {
                scene.server().set("receive.unpackLimit", if round % 2 == 0 { "1" } else { "100" });
                scene.commit(&format!("round {round}"));
                let (new, old) = (format!("main:b{round}"), format!(":b{}", round.max(1) - 1));
                let words = ["--atomic", "origin", "main", &format!("+{new}"), &old];
                let words = if round == 0 { &words[..4] } else { &words[..] };
                assert!(scene.push(words), "{}\n{}", scene.transcript(), node.log());
            }
        }));
        done.store(true, Ordering::SeqCst);
        if let Err(cause) = pushing {
            std::panic::resume_unwind(cause);
        }
    });
    assert!(reads.load(Ordering::SeqCst) >= READERS, "{reads:?} reads");
}
