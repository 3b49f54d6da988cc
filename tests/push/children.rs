//! How many processes a push costs.
//!
//! Always true: a push with a pack starts one git, one of deletions alone starts none; nothing runs
//! on behind it.
//!
//! Never here: what the processes do.

use gitring_tests::client::Served;
use gitring_tests::node::Node;
use gitring_tests::process;

use super::OPEN;
use super::scene::{Scene, Template};

/// What the node starts during `work`, one command a line.
fn started(node: &Node, work: impl FnOnce()) -> String {
    let before = node.children_started();
    work();
    let lines = node.children_log();
    let words = lines.lines().skip(before).map(|line| {
        let mut words = line.split(' ').skip_while(|word| *word == "-c" || word.contains('='));
        words.next().unwrap_or_default().to_owned()
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn one_child_a_push() {
    let node = Node::start_with(OPEN);
    let scene = Scene::new(&Template::new(), Served::Gateway(&node), (&node.storage(), 0), 0);
    let check = |expected: &str, words: &[&str]| {
        let found = started(&node, || assert!(scene.push(words), "{}", scene.transcript()));
        assert_eq!(found, expected, "{words:?}\n{}", node.children_log());
    };
    scene.commit("one");
    check("unpack-objects", &["origin", "main"]);
    check("", &["origin", "main"]);
    check("", &["origin", ":topic"]);
    scene.git(&["tag", "-a", "-m", "v2", "v2"]);
    scene.commit("two");
    check("unpack-objects", &["--atomic", "origin", "main", "main:new", "v2"]);
    check("", &["--atomic", "origin", ":new", ":v2"]);
    scene.server().set("receive.unpackLimit", "1");
    scene.commit("three");
    check("index-pack", &["origin", "main", "main:new"]);
    // A pack without an object is a pack.
    check("unpack-objects", &["origin", "main:refs/heads/same"]);
    let leftover = process::children(node.pid());
    assert!(leftover.is_empty(), "{leftover:?}");
}

#[test]
fn what_is_refused_costs_no_more() {
    let node = Node::start_with(OPEN);
    let scene = Scene::new(&Template::new(), Served::Gateway(&node), (&node.storage(), 0), 0);
    scene.server().set("receive.denyDeletes", "true");
    assert_eq!(started(&node, || assert!(!scene.push(&["origin", ":topic"]))), "");
    scene.commit("new");
    let found = started(&node, || assert!(!scene.push(&["origin", "main:refs/heads/main/x"])));
    assert_eq!(found, "unpack-objects");
}
