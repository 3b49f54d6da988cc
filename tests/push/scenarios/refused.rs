//! Pushes that a server refuses, or part of which it refuses.

use std::fs;

use gitring_tests::git;
use gitring_tests::random::Random;

use super::{Scenario, push, row};
use crate::push::scene::Scene;

/// All kinds.
pub(crate) const REFUSED: &[Scenario] = &[
    row("not fast-forward at the client", |s| rewound(s, &["origin", "main"])),
    row("denyNonFastForwards", |s| {
        s.server().set("receive.denyNonFastForwards", "true");
        rewound(s, &["--force", "origin", "main", "main:refs/heads/new"]);
    }),
    row("denyNonFastForwards, atomic", |s| {
        s.server().set("receive.denyNonFastForwards", "true");
        rewound(s, &["--force", "--atomic", "origin", "main", "main:refs/heads/new"]);
    }),
    row("denyNonFastForwards, a tag", |s| {
        s.server().set("receive.denyNonFastForwards", "true");
        push(s, &["--force", "origin", "main:refs/tags/v1", "main:refs/tags/light"]);
    }),
    row("denyDeletes", |s| {
        s.server().set("receive.denyDeletes", "true");
        push(s, &["origin", ":topic", ":refs/tags/light"]);
    }),
    row("delete the current branch", |s| push(s, &["origin", ":main"])),
    row("denyDeleteCurrent=warn", |s| {
        s.server().set("receive.denyDeleteCurrent", "warn");
        push(s, &["origin", ":main"]);
    }),
    row("denyDeleteCurrent=ignore", |s| {
        s.server().set("receive.denyDeleteCurrent", "ignore");
        push(s, &["origin", ":main"]);
    }),
    row("folder under a file", |s| {
        s.commit("new");
        push(s, &["origin", "main:refs/heads/topic/new", "main:refs/heads/fine"]);
    }),
    row("file over a folder", |s| {
        s.server().git(&["update-ref", "refs/heads/a/b", "main"]);
        s.commit("new");
        push(s, &["origin", "main:refs/heads/a"]);
    }),
    row("file over a packed folder, atomic", |s| {
        s.server().git(&["update-ref", "refs/heads/a/b", "main"]);
        s.server().git(&["pack-refs", "--all"]);
        s.commit("new");
        push(s, &["--atomic", "origin", "main:refs/heads/a", "main"]);
    }),
    row("both in one push", |s| {
        s.commit("new");
        push(s, &["origin", "main:refs/heads/x", "main:refs/heads/x/y"]);
    }),
    row("both in one push, atomic", |s| {
        s.commit("new");
        push(s, &["--atomic", "origin", "main:refs/heads/x", "main:refs/heads/x/y"]);
    }),
    row("names that are none", |s| {
        s.commit("new");
        // The client itself lets neither through; a single level does pass.
        push(s, &["origin", "main:refs/single", "main:refs/heads/fine"]);
    }),
    row("outside of refs", |s| {
        s.commit("new");
        push(s, &["origin", "main:refs/../x"]);
        push(s, &["origin", "main:HEAD"]);
    }),
    row("hidden refs", hidden),
    row("hidden refs, only for pushes", |s| {
        s.server().set("receive.hideRefs", "refs/heads/topic");
        push(s, &["origin", ":refs/heads/topic", "main:refs/heads/new"]);
        push(s, &["--force", "origin", "main:refs/heads/topic"]);
    }),
    row("race", |s| race(s, &["origin", "main"])),
    row("race, atomic", |s| race(s, &["--atomic", "origin", "main", "main:refs/heads/new"])),
    row("race, not atomic", |s| race(s, &["origin", "main", "main:refs/heads/new"])),
    row("race, deletion", |s| race(s, &["origin", ":refs/heads/race", "main:refs/heads/new"])),
    row("race, creation", |s| {
        s.commit("new");
        let git_dir = s.server().path;
        let update =
            format!("git --git-dir='{}' update-ref refs/heads/new main", git_dir.display());
        s.hook(&s.clone_folder().join(".git"), "pre-push", &unset(&update));
        push(s, &["origin", "main:refs/heads/new"]);
    }),
    row("race, same value", |s| {
        // Somebody else has pushed the very same: the old value does not fit any more.
        let new = s.commit("new");
        let git_dir = s.server().path;
        let from = s.clone_folder();
        let fetch = format!(
            "git --git-dir='{}' fetch -q '{}' {new}:refs/heads/main",
            git_dir.display(),
            from.display()
        );
        s.hook(&s.clone_folder().join(".git"), "pre-push", &unset(&fetch));
        push(s, &["origin", "main"]);
    }),
    row("locked ref", |s| {
        let lock = s.server().path.join("refs/heads/main.lock");
        fs::write(&lock, "").expect("the file system works");
        s.commit("new");
        push(s, &["origin", "main", "main:refs/heads/new"]);
        fs::remove_file(lock).expect("the file system works");
    }),
    row("lease is stale", |s| {
        s.commit("new");
        push(s, &["--force-with-lease=main:topic", "origin", "main"]);
    }),
    row("bad tree", |s| bad_tree(s, &[])),
    row("bad tree, checked", |s| bad_tree(s, &[("receive.fsckObjects", "true")])),
    row("bad tree, checked, kept", |s| {
        bad_tree(s, &[("receive.fsckObjects", "true"), ("receive.unpackLimit", "1")]);
    }),
    row("bad tree, only a warning", |s| {
        let warn = ("receive.fsck.duplicateEntries", "warn");
        bad_tree(s, &[("transfer.fsckObjects", "true"), warn]);
    }),
    row("bad tree, ignored", |s| {
        let ignore = ("receive.fsck.duplicateEntries", "ignore");
        bad_tree(s, &[("transfer.fsckObjects", "true"), ignore, ("receive.unpackLimit", "1")]);
    }),
    row("bad commit, checked", |s| {
        s.server().set("receive.fsckObjects", "true");
        let tree = s.git(&["rev-parse", "main^{tree}"]);
        let text = format!("tree {tree}\nauthor A <a@b> 1 +0000\ncommitter nobody\n\nx\n");
        let folder = s.clone_folder();
        let object = ["hash-object", "--literally", "-t", "commit", "-w", "--stdin"];
        let commit = git::run_with(&folder, &object, text.as_bytes());
        push(s, &["origin", &format!("{commit}:refs/heads/bad"), "main:refs/heads/fine"]);
    }),
    row("too big, unpacked", |s| too_big(s, "100")),
    row("too big, kept", |s| too_big(s, "1")),
    row("size that fits", |s| {
        s.server().set("receive.maxInputSize", "1m");
        s.commit("new");
        push(s, &["origin", "main"]);
    }),
    row("locked, deletion", |s| {
        let lock = s.server().path.join("packed-refs.lock");
        s.server().git(&["pack-refs", "--all"]);
        s.server().set("core.packedRefsTimeout", "10");
        fs::write(&lock, "").expect("the file system works");
        push(s, &["origin", ":topic"]);
        fs::remove_file(lock).expect("the file system works");
    }),
];

fn rewound(scene: &Scene<'_>, words: &[&str]) {
    scene.git(&["reset", "-q", "--hard", "main~1"]);
    scene.commit("instead");
    scene.push(words);
}

fn hidden(scene: &Scene<'_>) {
    scene.server().set("transfer.hideRefs", "refs/secret").git(&[
        "update-ref",
        "refs/secret/one",
        "topic",
    ]);
    scene.commit("new");
    let id = scene.git(&["rev-parse", "main"]);
    scene.client(&["ls-remote", "origin"]);
    scene.push(&["origin", "main:refs/secret/two", "main:refs/heads/new"]);
    scene.push(&["origin", &format!("{id}:refs/secret/one"), ":refs/secret/none"]);
    scene.push(&["--atomic", "origin", "main:refs/secret/two", "main:refs/heads/newer"]);
}

/// git sets variables for hooks that lead to the clone.
fn unset(command: &str) -> String {
    format!("unset $(git rev-parse --local-env-vars)\n{command} || exit 1")
}

/// The server's `main` moves after its refs were told.
fn race(scene: &Scene<'_>, words: &[&str]) {
    let server = scene.server();
    server.git(&["update-ref", "refs/heads/race", "main"]);
    scene.client(&["fetch", "-q", "origin"]);
    scene.commit("new");
    let update = format!(
        "cd '{}' && git update-ref refs/heads/main main~1 && git update-ref refs/heads/race main",
        server.path.display()
    );
    scene.hook(&scene.clone_folder().join(".git"), "pre-push", &unset(&update));
    scene.push(words);
}

/// A tree that has the same name twice.
fn bad_tree(scene: &Scene<'_>, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        scene.server().set(key, value);
    }
    let folder = scene.clone_folder();
    let blob = scene.git(&["rev-parse", "main:README"]);
    let raw = blob.as_bytes().chunks(2).map(|pair| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("the file system works"), 16)
            .expect("a digit of a hash")
    });
    let entry: Vec<u8> = b"100644 same\0".iter().copied().chain(raw).collect();
    let entries = [entry.clone(), entry].concat();
    let object = ["hash-object", "--literally", "-t", "tree", "-w", "--stdin"];
    let tree = git::run_with(&folder, &object, &entries);
    let commit = scene.git(&["commit-tree", "-m", "bad", "-p", "main", &tree]);
    scene.push(&["origin", &format!("{commit}:refs/heads/bad"), "main:refs/heads/fine"]);
}

fn too_big(scene: &Scene<'_>, limit: &str) {
    scene.server().set("receive.maxInputSize", "10k").set("receive.unpackLimit", limit);
    scene.write("big", Random::new(8).bytes(300_000));
    scene.commit("big blob");
    scene.push(&["origin", "main"]);
}
