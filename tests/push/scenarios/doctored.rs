//! What no honest client sends.

use super::{Scenario, row};
use crate::push::raw::{NULL, USUAL, commands, pack, send};
use crate::push::scene::Scene;

/// All kinds.
pub(crate) const DOCTORED: &[Scenario] = &[
    row("whole", |s| send(s, &pushed(s, "100"))),
    row("whole, kept", |s| send(s, &pushed(s, "1"))),
    row("no report", |s| as_told(s, "")),
    row("report without bands", |s| as_told(s, "report-status quiet")),
    row("bands without report", |s| as_told(s, "side-band-64k")),
    row("corrupt pack", |s| corrupt(s, "100", 40)),
    row("corrupt pack, kept", |s| corrupt(s, "1", 40)),
    row("corrupt trailer", |s| corrupt(s, "100", 1)),
    row("corrupt trailer, kept", |s| corrupt(s, "1", 1)),
    row("half a pack", |s| cut(s, "100", 60)),
    row("half a pack, kept", |s| cut(s, "1", 60)),
    row("no trailer", |s| cut(s, "100", 20)),
    row("no trailer, kept", |s| cut(s, "1", 20)),
    row("no pack", |s| instead(s, b"")),
    row("half a header", |s| instead(s, b"PACK\0\0")),
    row("no signature", |s| instead(s, b"PACX\0\0\0\x02\0\0\0\0aaaaaaaaaaaaaaaaaaaa")),
    row("version 9", |s| instead(s, b"PACK\0\0\0\x09\0\0\0\0aaaaaaaaaaaaaaaaaaaa")),
    row("more objects than said", |s| instead(s, b"PACK\0\0\0\x02\0\0\0\x09")),
    row("missing tree", |s| missing(s, &["main"], "100")),
    row("missing tree, kept", |s| missing(s, &["main"], "1")),
    row("missing blob", |s| missing(s, &["main", "main^{tree}"], "100")),
    row("missing blob, kept", |s| missing(s, &["main", "main^{tree}"], "1")),
    row("missing parent", missing_parent),
    row("missing parent of one of two", missing_of_two),
    row("missing target of a tag", |s| {
        s.commit("new");
        s.git(&["tag", "-a", "-m", "x", "x"]);
        let (tag, object) = (s.git(&["rev-parse", "refs/tags/x"]), "refs/tags/x");
        let command = format!("{NULL} {tag} refs/tags/x");
        send(
            s,
            &[commands(USUAL, &[&command]), pack(s, &[&s.git(&["rev-parse", object])])].concat(),
        );
    }),
    row("object that is nowhere", |s| {
        let command = format!("{NULL} {} refs/heads/x", "1".repeat(40));
        send(s, &[commands(USUAL, &[&command]), empty(s)].concat());
    }),
    row("stale old value", |s| {
        let (main, topic) = (s.server().id("main"), s.server().id("topic"));
        let command = format!("{topic} {main} refs/heads/main");
        send(s, &[commands(USUAL, &[&command]), empty(s)].concat());
        let command = format!("{NULL} {topic} refs/heads/main");
        send(s, &[commands(USUAL, &[&command]), empty(s)].concat());
        let command = format!("{main} {topic} refs/heads/none");
        send(s, &[commands(USUAL, &[&command]), empty(s)].concat());
        send(s, &commands(USUAL, &[&format!("{main} {NULL} refs/heads/topic")]));
    }),
    row("old value that is nowhere", |s| {
        let old = "2".repeat(40);
        send(s, &commands(USUAL, &[&format!("{old} {NULL} refs/heads/topic")]));
        send(s, &commands(USUAL, &[&format!("{old} {NULL} refs/heads/none")]));
    }),
    row("deletion of nothing", |s| {
        send(s, &commands(USUAL, &[&format!("{NULL} {NULL} refs/heads/none")]));
        send(s, &commands(USUAL, &[&format!("{NULL} {NULL} refs/heads/topic")]));
    }),
    row("from and to the same", |s| {
        let main = s.server().id("main");
        let command = format!("{main} {main} refs/heads/main");
        send(s, &[commands(USUAL, &[&command]), empty(s)].concat());
    }),
    row("one name twice", |s| twice(s, USUAL)),
    row("one name twice, atomic", |s| twice(s, &format!("{USUAL} atomic"))),
    row("names that are none", names),
    row("branch that is no commit", |s| {
        let tree = s.server().id("main^{tree}");
        let tag = s.server().id("refs/tags/v1");
        let one = format!("{NULL} {tree} refs/heads/tree");
        let two = format!("{NULL} {tag} refs/heads/tag");
        send(s, &[commands(USUAL, &[&one, &two]), empty(s)].concat());
    }),
    row("nothing", |s| send(s, b"")),
    row("flush", |s| send(s, b"0000")),
    row("no flush", |s| {
        let body = commands(USUAL, &[&format!("{NULL} {} refs/heads/x", s.server().id("main"))]);
        send(s, &body[..body.len() - 4]);
    }),
    row("no packet", |s| send(s, b"zzzz")),
    row("half a packet", |s| send(s, b"00ff0000")),
    row("no hash", |s| send(s, &commands(USUAL, &["x y refs/heads/x"]))),
    row("no name", |s| send(s, &commands(USUAL, &[&format!("{NULL} {NULL}")]))),
    row("empty name", |s| send(s, &commands(USUAL, &[&format!("{NULL} {NULL} ")]))),
    row("shallow line that is none", |s| send(s, &commands(USUAL, &["shallow 12345"]))),
    row("sha256", |s| {
        let main = s.server().id("main");
        let capabilities = "report-status object-format=sha256";
        send(s, &commands(capabilities, &[&format!("{main} {NULL} refs/heads/main")]));
    }),
    row("delta without a base", delta_without_base),
];

/// A request that creates `refs/heads/x` with a new commit.
fn pushed(scene: &Scene<'_>, limit: &str) -> Vec<u8> {
    scene.server().set("receive.unpackLimit", limit);
    let new = scene.commit("new");
    let tree = scene.git(&["rev-parse", "main^{tree}"]);
    let blob = scene.git(&["rev-parse", "main:new"]);
    let command = format!("{NULL} {new} refs/heads/x");
    [commands(USUAL, &[&command]), pack(scene, &[&new, &tree, &blob])].concat()
}

fn as_told(scene: &Scene<'_>, capabilities: &str) {
    let (main, topic) = (scene.server().id("main"), scene.server().id("topic"));
    let update = format!("{main} {topic} refs/heads/main");
    let refused = format!("{topic} {main} refs/heads/..");
    send(scene, &[commands(capabilities, &[&update, &refused]), empty(scene)].concat());
}

fn corrupt(scene: &Scene<'_>, limit: &str, from_end: usize) {
    let mut body = pushed(scene, limit);
    let at = body.len() - from_end;
    body[at] ^= 0x55;
    send(scene, &body);
}

fn cut(scene: &Scene<'_>, limit: &str, bytes: usize) {
    let body = pushed(scene, limit);
    send(scene, &body[..body.len() - bytes]);
}

/// Something else in the place of a pack.
fn instead(scene: &Scene<'_>, pack: &[u8]) {
    let main = scene.server().id("main");
    let command = format!("{NULL} {main} refs/heads/x");
    send(scene, &[&commands(USUAL, &[&command]), pack].concat());
}

/// A pack without an object.
fn empty(scene: &Scene<'_>) -> Vec<u8> {
    pack(scene, &[])
}

fn missing(scene: &Scene<'_>, revisions: &[&str], limit: &str) {
    scene.server().set("receive.unpackLimit", limit);
    let new = scene.commit("new");
    let objects: Vec<String> =
        revisions.iter().map(|revision| scene.git(&["rev-parse", revision])).collect();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let command = format!("{NULL} {new} refs/heads/x");
    let fine = format!("{NULL} {} refs/heads/fine", scene.server().id("main"));
    send(scene, &[commands(USUAL, &[&command, &fine]), pack(scene, &objects)].concat());
}

/// A commit whose parent nobody has; its tree is the server's.
fn missing_parent(scene: &Scene<'_>) {
    let tree = scene.git(&["rev-parse", "main^{tree}"]);
    let lost = scene.git(&["commit-tree", "-m", "lost", "-p", "main", &tree]);
    let child = scene.git(&["commit-tree", "-m", "child", "-p", &lost, &tree]);
    let command = format!("{NULL} {child} refs/heads/x");
    send(scene, &[commands(USUAL, &[&command]), pack(scene, &[&child])].concat());
}

fn missing_of_two(scene: &Scene<'_>) {
    let tree = scene.git(&["rev-parse", "main^{tree}"]);
    let lost = scene.git(&["commit-tree", "-m", "lost", "-p", "main", &tree]);
    let child = scene.git(&["commit-tree", "-m", "child", "-p", &lost, &tree]);
    let whole = scene.git(&["commit-tree", "-m", "whole", "-p", "main", &tree]);
    let main = scene.server().id("main");
    let bad = format!("{NULL} {child} refs/heads/x");
    let good = format!("{main} {whole} refs/heads/main");
    let gone = format!("{} {NULL} refs/heads/topic", scene.server().id("topic"));
    send(scene, &[commands(USUAL, &[&bad, &good, &gone]), pack(scene, &[&child, &whole])].concat());
}

fn twice(scene: &Scene<'_>, capabilities: &str) {
    let (main, topic) = (scene.server().id("main"), scene.server().id("topic"));
    let one = format!("{NULL} {main} refs/heads/x");
    let two = format!("{NULL} {topic} refs/heads/x");
    send(scene, &[commands(capabilities, &[&one, &two]), empty(scene)].concat());
}

fn names(scene: &Scene<'_>) {
    let main = scene.server().id("main");
    let names = [
        "refs/heads/../../../x",
        "../x",
        "/etc/x",
        "HEAD",
        "refs/heads/x.lock",
        "refs/heads/.x",
        "refs/heads//x",
        "refs/heads/x/",
        "refs/heads/a b",
        "refs/heads/a:b",
        "refs/heads/a\\b",
        "refs/heads/@{x",
        "refs/heads/\u{7f}",
        "refs/heads/x\nrefs/heads/y",
        "objects/x",
        "refs/",
        "refs/heads/",
        "config",
    ];
    let lines: Vec<String> = names.iter().map(|name| format!("{NULL} {main} {name}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    send(scene, &[commands(USUAL, &lines), empty(scene)].concat());
    let lines: Vec<String> = names.iter().map(|name| format!("{main} {NULL} {name}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    send(scene, &commands(USUAL, &lines));
}

/// A thin pack upon a blob that the server does not have.
fn delta_without_base(scene: &Scene<'_>) {
    let text: String = (0..200).map(|n| format!("line {n}\n")).collect();
    scene.write("long", &text);
    scene.commit("long");
    let base = scene.git(&["rev-parse", "main:long"]);
    scene.write("long", text + "one more\n");
    let new = scene.commit("longer");
    let mut command = gitring_tests::git::command(&scene.clone_folder());
    command.args(["pack-objects", "-q", "--thin", "--stdout", "--revs"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let pack = gitring_tests::git::feed(command, b"main\n^main~1\n").stdout;
    assert!(!base.is_empty());
    let command = format!("{NULL} {new} refs/heads/x");
    send(scene, &[commands(USUAL, &[&command]), pack].concat());
}
