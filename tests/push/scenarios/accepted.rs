//! Pushes that a server takes.

use std::fs;

use gitring_tests::history;
use gitring_tests::random::Random;

use super::{Scenario, push, row};
use crate::push::scene::Scene;

/// What every protocol version must do.
pub(crate) const BASIC: &[Scenario] = &[
    row("create", create),
    row("update", update),
    row("force", force),
    row("delete", |s| push(s, &["origin", ":topic"])),
    row("atomic", |s| all_at_once(s, &["--atomic"])),
    row("push options", push_options),
    row("nothing", |s| push(s, &["origin", "main"])),
];

/// All kinds.
pub(crate) const ACCEPTED: &[Scenario] = &[
    row("create", create),
    row("create from what is there", |s| push(s, &["origin", "main~1:refs/heads/old"])),
    row("update", update),
    row("update, quiet", |s| updated(s, &["-q"])),
    row("update, progress", |s| updated(s, &["--progress"])),
    row("update, verbose", |s| updated(s, &["-v"])),
    row("update, thin", |s| updated(s, &["--thin"])),
    row("update, not thin", |s| updated(s, &["--no-thin"])),
    row("force", force),
    row("force, by plus", |s| rewound(s, &["origin", "+main"])),
    row("delete", |s| push(s, &["origin", ":topic"])),
    row("delete two", |s| push(s, &["origin", ":topic", ":refs/tags/light"])),
    row("delete a packed ref", delete_packed),
    row("delete and create", delete_and_create),
    row("delete what is not there", |s| push(s, &["origin", ":refs/heads/none"])),
    row("nothing", |s| push(s, &["origin", "main"])),
    row("everything up to date", |s| push(s, &["--all", "origin"])),
    row("dry run", |s| updated(s, &["--dry-run"])),
    row("all", |s| all_at_once(s, &[])),
    row("atomic", |s| all_at_once(s, &["--atomic"])),
    row("tags", tags),
    row("tags of trees and blobs", odd_tags),
    row("follow tags", follow_tags),
    row("mirror", mirror),
    row("prune", |s| {
        s.git(&["branch", "-D", "-q", "topic"]);
        push(s, &["--prune", "origin", "refs/heads/*"]);
    }),
    row("push options", push_options),
    row("push options unasked for", |s| {
        s.commit("new");
        push(s, &["-o", "one", "origin", "main"]);
    }),
    row("lease", lease),
    row("refs/for", |s| {
        s.commit("new");
        push(s, &["origin", "main:refs/for/main"]);
    }),
    row("odd names", odd_names),
    row("200 refs", many_refs),
    row("200 refs, atomic", many_refs_atomic),
    row("big blob", big_blob),
    row("few objects unpacked", |s| objects(s, 20, "100")),
    row("many objects kept", |s| objects(s, 60, "100")),
    row("all kept", |s| objects(s, 1, "1")),
    row("all unpacked", |s| objects(s, 60, "100000")),
    row("kept with deltas, progress", kept_with_deltas),
    row("merge", merge),
    row("unrelated history", unrelated),
    row("twice", |s| {
        update(s);
        update(s);
    }),
    row("back and forth", |s| {
        create(s);
        push(s, &["origin", ":new"]);
        create(s);
    }),
    row("same objects again", |s| {
        s.server().set("transfer.unpackLimit", "1");
        s.commit("one");
        push(s, &["origin", "main:refs/heads/a"]);
        push(s, &["origin", ":refs/heads/a"]);
        push(s, &["origin", "main:refs/heads/b"]);
    }),
];

fn create(scene: &Scene<'_>) {
    scene.commit("new");
    scene.push(&["origin", "main:refs/heads/new"]);
}

fn update(scene: &Scene<'_>) {
    updated(scene, &[]);
}

fn updated(scene: &Scene<'_>, options: &[&str]) {
    scene.commit("one");
    scene.write("README", "other\n");
    scene.commit("two");
    scene.push(&[options, &["origin", "main"]].concat());
}

fn rewound(scene: &Scene<'_>, words: &[&str]) {
    scene.git(&["reset", "-q", "--hard", "main~1"]);
    scene.commit("instead");
    scene.push(words);
}

fn force(scene: &Scene<'_>) {
    rewound(scene, &["--force", "origin", "main"]);
}

fn delete_packed(scene: &Scene<'_>) {
    scene.server().git(&["pack-refs", "--all"]);
    scene.push(&["origin", ":topic"]);
}

fn delete_and_create(scene: &Scene<'_>) {
    scene.commit("new");
    scene.push(&["origin", ":topic", "main:refs/heads/topic2"]);
    // Now that the name is free as a folder.
    scene.push(&["origin", "main:refs/heads/topic/new"]);
}

/// Updates, creates and deletes.
fn all_at_once(scene: &Scene<'_>, options: &[&str]) {
    scene.commit("new");
    scene.git(&["tag", "-a", "-m", "v2", "v2"]);
    let refs = ["origin", "main", "main:refs/heads/new", "v2", ":topic", "main~2:refs/x/y"];
    scene.push(&[options, &refs].concat());
}

fn tags(scene: &Scene<'_>) {
    scene.commit("new");
    scene.git(&["tag", "-a", "-m", "v2", "v2"]);
    scene.git(&["tag", "-a", "-m", "tag of a tag", "v2-again", "v2"]);
    scene.git(&["tag", "light2"]);
    scene.push(&["--tags", "origin"]);
    scene.git(&["tag", "-f", "-a", "-m", "moved", "v2", "main~1"]);
    scene.push(&["origin", "v2"]);
    scene.push(&["-f", "origin", "v2", ":refs/tags/light"]);
}

fn odd_tags(scene: &Scene<'_>) {
    let tree = scene.git(&["rev-parse", "main:src"]);
    scene.write("loner", "in no tree");
    let blob = scene.git(&["hash-object", "-w", "loner"]);
    scene.git(&["tag", "-a", "-m", "a tree", "tree", &tree]);
    scene.git(&["tag", "-a", "-m", "a blob", "blob", &blob]);
    scene.git(&["tag", "plain-blob", &blob]);
    scene.push(&["origin", "tree", "blob", "plain-blob", &format!("{tree}:refs/trees/src")]);
    // Only commits belong there.
    scene.push(&["origin", &format!("{blob}:refs/heads/blob")]);
}

fn follow_tags(scene: &Scene<'_>) {
    scene.commit("new");
    scene.git(&["tag", "-a", "-m", "v2", "v2"]);
    scene.git(&["tag", "not-annotated"]);
    scene.push(&["--follow-tags", "origin", "main"]);
}

fn mirror(scene: &Scene<'_>) {
    scene.commit("new");
    scene.git(&["branch", "-D", "-q", "topic"]);
    scene.git(&["update-ref", "refs/notes/x", "main"]);
    scene.push(&["--mirror", "origin"]);
}

fn push_options(scene: &Scene<'_>) {
    scene.server().set("receive.advertisePushOptions", "true");
    scene.commit("new");
    scene.push(&["-o", "one", "--push-option=two words", "origin", "main"]);
}

fn lease(scene: &Scene<'_>) {
    rewound(scene, &["--force-with-lease", "origin", "main"]);
    scene.push(&["--force-with-lease=topic:main", "origin", "main:topic"]);
    scene.push(&["--force-with-lease=none:", "origin", "main:none"]);
}

fn odd_names(scene: &Scene<'_>) {
    scene.commit("new");
    let names = ["a+b", "ü/ö", "x.y,z", "-dash", "a%20b", "'quoted'", "$(id)", "@", "a@b", "(1)"];
    let refs: Vec<String> = names.map(|name| format!("main:refs/heads/{name}")).into();
    let refs: Vec<&str> = refs.iter().map(String::as_str).collect();
    scene.push(&[&["origin"], &refs[..]].concat());
    scene.push(&["origin", "main:refs/heads/HEAD", "main:refs/deep/a/b/c/d/e"]);
}

fn branches(scene: &Scene<'_>, count: usize) {
    let main = scene.git(&["rev-parse", "main"]);
    let mut stream = Vec::new();
    for n in 0..count {
        stream.extend_from_slice(
            format!(
                "commit refs/heads/b{n}\ncommitter A U Thor <author@example.com> {} +0000\n\
                 data 1\nx\nfrom {main}\n",
                1_600_100_000 + n
            )
            .as_bytes(),
        );
    }
    stream.extend_from_slice(b"done\n");
    gitring_tests::git::run_with(
        &scene.clone_folder(),
        &["fast-import", "--quiet", "--done"],
        &stream,
    );
}

fn many_refs(scene: &Scene<'_>) {
    branches(scene, 200);
    scene.push(&["origin", "refs/heads/b*"]);
}

fn many_refs_atomic(scene: &Scene<'_>) {
    branches(scene, 200);
    scene.push(&["--atomic", "origin", "refs/heads/b*"]);
    scene.push(&["--atomic", "--force", "origin", "main:b7", ":b8", "b10:b9", ":b199"]);
}

fn big_blob(scene: &Scene<'_>) {
    scene.write("big", Random::new(7).bytes(20 << 20));
    scene.commit("big blob");
    scene.push(&["origin", "main"]);
}

/// `commits` commits with a tree and a blob each.
fn objects(scene: &Scene<'_>, commits: usize, limit: &str) {
    scene.server().set("transfer.unpackLimit", limit);
    let main = scene.git(&["rev-parse", "main"]);
    let mut stream = format!("reset refs/heads/main\nfrom {main}\n\n").into_bytes();
    for n in 0..commits {
        let commit = format!(
            "commit refs/heads/main\ncommitter A U Thor <author@example.com> {} +0000\n\
             data 1\nx\nM 100644 inline n\ndata {}\n{n}\n",
            1_600_100_000 + n,
            n.to_string().len()
        );
        stream.extend_from_slice(commit.as_bytes());
    }
    stream.extend_from_slice(b"done\n");
    let command = ["fast-import", "--quiet", "--done"];
    gitring_tests::git::run_with(&scene.clone_folder(), &command, &stream);
    scene.push(&["origin", "main"]);
}

fn kept_with_deltas(scene: &Scene<'_>) {
    scene.server().set("receive.unpackLimit", "1");
    let readme = fs::read_to_string(scene.clone_folder().join("README")).expect("a README");
    scene.write("README", readme + "one more line\n");
    scene.commit("longer");
    scene.push(&["--progress", "origin", "main"]);
}

fn merge(scene: &Scene<'_>) {
    scene.commit("ours");
    scene.git(&["merge", "-q", "-m", "merge", "topic"]);
    scene.push(&["origin", "main"]);
}

fn unrelated(scene: &Scene<'_>) {
    // Its name becomes a folder's.
    scene.git(&["branch", "-D", "-q", "topic"]);
    scene.server().git(&["update-ref", "-d", "refs/heads/topic"]);
    let stream = history::varied(11);
    let main = scene.git(&["rev-parse", "main"]);
    let command = ["fast-import", "--quiet", "--done", "--force"];
    gitring_tests::git::run_with(&scene.clone_folder(), &command, &stream);
    assert_ne!(main, scene.git(&["rev-parse", "main"]));
    scene.push(&["--force", "--all", "origin"]);
    scene.push(&["--tags", "origin"]);
}
