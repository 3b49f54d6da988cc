//! Repositories and clients that are not plain: work trees, pools, shallow ones, symbolic refs.

use std::fs;

use gitring_tests::git;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shape::Shape;

use super::{Scenario, push, row, row_piped};
use crate::push::scene::Scene;

/// All kinds.
pub(crate) const REPOSITORIES: &[Scenario] = &[
    row("empty server", |s| {
        empty(s);
        push(s, &["origin", "main"]);
        push(s, &["--tags", "origin"]);
    }),
    row("empty server, other branch", |s| {
        empty(s);
        push(s, &["origin", "topic", ":none"]);
    }),
    row("unborn HEAD", |s| {
        s.server().git(&["symbolic-ref", "HEAD", "refs/heads/unborn"]);
        push(s, &["origin", "main:unborn"]);
        push(s, &["--force", "origin", ":main", "main~1:unborn"]);
    }),
    row("detached HEAD", |s| {
        s.server().git(&["update-ref", "--no-deref", "HEAD", "v1^{commit}"]);
        s.commit("new");
        push(s, &["origin", "main", ":topic"]);
    }),
    row("checked out", |s| checked_out(s, "")),
    row("checked out, refuse", |s| checked_out(s, "refuse")),
    row("checked out, warn", |s| checked_out(s, "warn")),
    row("checked out, ignore", |s| checked_out(s, "ignore")),
    row_piped("checked out, updateInstead", |s| checked_out(s, "updateInstead")),
    row_piped("linked work tree", |s| {
        s.server().git(&["worktree", "add", "-q", "../linked.git", "topic"]);
        s.commit("new");
        push(s, &["origin", "main", "main:topic"]);
    }),
    row("symbolic ref", symbolic),
    row("symbolic ref and its target", |s| {
        s.server().git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
        s.commit("new");
        push(s, &["origin", "main", "main:alias"]);
        push(s, &["origin", "main:alias", "topic:main"]);
    }),
    row("broken symbolic ref", |s| {
        s.server().git(&["symbolic-ref", "refs/heads/alias", "refs/heads/none"]);
        s.commit("new");
        push(s, &["origin", "main:alias"]);
        push(s, &["origin", ":alias"]);
    }),
    row("reflogs", |s| reflogs(s, "true")),
    row("reflogs, always", |s| reflogs(s, "always")),
    row("shallow client", shallow_client),
    row("shallow client, not enough", |s| {
        empty(s);
        s.client(&["fetch", "-q", "--depth", "1", &s.url("server"), "main"]);
        s.git(&["checkout", "-q", "FETCH_HEAD"]);
        s.commit("new");
        push(s, &["origin", "HEAD:refs/heads/shallow", ":refs/heads/none"]);
    }),
    row("shallow client, atomic, not enough", |s| {
        empty(s);
        s.client(&["fetch", "-q", "--depth", "1", &s.url("server"), "main"]);
        s.git(&["checkout", "-q", "FETCH_HEAD"]);
        let whole = s.git(&["commit-tree", "-m", "root", "HEAD^{tree}"]);
        s.commit("new");
        let whole = format!("{whole}:refs/heads/whole");
        push(s, &["--atomic", "origin", "HEAD:refs/heads/shallow", &whole]);
        push(s, &["origin", "HEAD:refs/heads/shallow", &whole]);
    }),
    row_piped("shallow server", |s| {
        fs::write(s.server().path.join("shallow"), s.server().id("main") + "\n")
            .expect("the file system works");
        s.commit("new");
        push(s, &["origin", "main"]);
    }),
    row_piped("shallowUpdate", |s| {
        empty(s);
        s.repository("empty").set("receive.shallowUpdate", "true");
        s.client(&["fetch", "-q", "--depth", "1", &s.url("server"), "main"]);
        s.git(&["checkout", "-q", "FETCH_HEAD"]);
        s.commit("new");
        push(s, &["origin", "HEAD:refs/heads/shallow"]);
    }),
    row("to a fork of a pool", |s| {
        pool(s, &["src/a.txt"]);
        s.commit("new");
        push(s, &["origin", "main"]);
    }),
    row("to a fork of a pool, what the pool has", from_a_pool),
    row("to a fork of a pool, prefixes", |s| {
        s.server().set("core.alternateRefsPrefixes", "refs/tags refs/heads/extra");
        from_a_pool(s);
    }),
    row_piped("to a fork of a pool, by command", |s| {
        s.server().set("core.alternateRefsCommand", "git for-each-ref --format='%(objectname)' #");
        from_a_pool(s);
    }),
    row("to a fork of a pool, silent command", |s| {
        s.server().set("core.alternateRefsCommand", "exit 0 #");
        from_a_pool(s);
    }),
    row("to a fork of a fork", |s| {
        Shape::NestedAlternate.apply(&s.server());
        s.commit("new");
        push(s, &["origin", "main", ":topic"]);
    }),
    row("to a pool", |s| {
        pool(s, &["src/a.txt"]);
        s.turn_to("pool");
        s.commit("new");
        push(s, &["origin", "main", "main:refs/remotes/origin/heads/x"]);
    }),
    row("from a clone of a pool", |s| {
        let lender = pool(s, &["src/a.txt"]).path.join("objects");
        let own = s.clone_folder().join(".git/objects/info/alternates");
        fs::write(own, format!("{}\n", lender.display())).expect("the file system works");
        s.git(&["repack", "-adlq"]);
        s.commit("new");
        push(s, &["origin", "main"]);
    }),
    row("loose", |s| shaped(s, Shape::Loose)),
    row("one pack", |s| shaped(s, Shape::OnePack)),
    row("multi-pack-index", |s| {
        s.server().git(&["repack", "-adq"]);
        s.server().git(&["multi-pack-index", "write"]);
        s.server().git(&["commit-graph", "write", "--reachable", "--split"]);
        s.commit("new");
        push(s, &["origin", "main", ":topic", "main:new"]);
    }),
    row("replaced commit", |s| {
        s.server().git(&["replace", "main", "topic"]);
        s.commit("new");
        push(s, &["origin", "main"]);
    }),
    row("configuration by include", |s| {
        fs::write(s.server().path.join("more"), "[receive]\n\tdenyDeletes\n")
            .expect("the file system works");
        s.server().set("include.path", "more");
        push(s, &["origin", ":topic"]);
    }),
    row("no atomic, no deltas by offset", |s| {
        s.server().set("receive.advertiseAtomic", "false").set("repack.useDeltaBaseOffset", "0");
        s.commit("new");
        push(s, &["--atomic", "origin", "main"]);
        push(s, &["origin", "main"]);
    }),
    row_piped("server info", |s| {
        s.server().set("receive.updateServerInfo", "true");
        s.commit("new");
        push(s, &["origin", "main"]);
    }),
    row_piped("garbage collected", |s| {
        s.server().set("gc.auto", "1").set("gc.autoDetach", "false");
        s.server().set("receive.unpackLimit", "1000");
        objects(s);
        push(s, &["origin", "main"]);
    }),
    row_piped("certificates", |s| {
        s.server().set("receive.certNonceSeed", "seed");
        s.commit("new");
        push(s, &["--signed=if-asked", "origin", "main:refs/heads/unsigned", "--no-signed"]);
    }),
    row_piped("sha256", |s| {
        let server = s.server().path;
        fs::remove_dir_all(&server).expect("the file system works");
        let folder = s.clone_folder();
        fs::remove_dir_all(&folder).expect("the file system works");
        fs::create_dir(&folder).expect("the file system works");
        let init = ["init", "-q", "--object-format=sha256", "-b", "main"];
        let path = server.to_string_lossy();
        let bare = [&init[..], &["--bare", "--template=", &path]].concat();
        git::run(&folder, &bare);
        git::run(&folder, &init);
        s.git(&["remote", "add", "origin", &s.url("server")]);
        s.commit("new");
        push(s, &["origin", "main"]);
    }),
];

/// An empty repository takes the place of the server's.
fn empty(scene: &Scene<'_>) {
    Repository::create(scene.server().path.parent().expect("a room"), "empty", Kind::Empty);
    scene.turn_to("empty");
}

fn checked_out(scene: &Scene<'_>, deny: &str) {
    let room = scene.server().path.with_file_name("");
    git::run(&room, &["clone", "-q", "--template=", "server.git", "work"]);
    let work = room.join("work");
    // Where it was cloned from differs from server to server.
    git::run(&work, &["remote", "remove", "origin"]);
    if !deny.is_empty() {
        git::run(&work, &["config", "receive.denyCurrentBranch", deny]);
    }
    scene.turn_to("work/");
    scene.commit("new");
    scene.push(&["origin", "main"]);
    scene.push(&["origin", "main:refs/heads/other"]);
    scene.push(&["origin", ":main"]);
    scene.say(&git::run(&work, &["status", "--porcelain"]));
}

fn symbolic(scene: &Scene<'_>) {
    scene.server().git(&["symbolic-ref", "refs/heads/alias", "refs/heads/topic"]);
    scene.commit("new");
    scene.push(&["--force", "origin", "main:alias"]);
    scene.push(&["--force", "--atomic", "origin", "main:topic", "main~1:alias"]);
    scene.push(&["origin", ":alias"]);
}

fn reflogs(scene: &Scene<'_>, logs: &str) {
    scene.server().set("core.logAllRefUpdates", logs);
    scene.commit("new");
    scene.push(&["origin", "main", "main:new", "main:refs/x/y", ":topic"]);
    scene.commit("newer");
    scene.push(&["--atomic", "origin", "main", "main:new", "main:refs/x/y"]);
    scene.push(&["origin", ":new"]);
}

fn shallow_client(scene: &Scene<'_>) {
    scene.client(&["fetch", "-q", "--depth", "1", "origin"]);
    scene.commit("new");
    scene.commit("newer");
    scene.push(&["origin", "main", "main:refs/heads/other"]);
    scene.client(&["fetch", "-q", "--depth", "1", "origin"]);
    scene.push(&["--force", "origin", "topic:main"]);
}

/// The server borrows from a pool, which has a branch of its own.
fn pool(scene: &Scene<'_>, paths: &[&str]) -> Repository {
    let server = scene.server();
    let pool = server.copy("pool");
    let tree = pool.id("main^{tree}");
    let mut tip = pool.id("main");
    for path in paths {
        tip = pool.git(&["commit-tree", "-m", path, "-p", &tip, &tree]);
    }
    pool.git(&["update-ref", "refs/heads/extra", &tip]);
    pool.git(&["repack", "-adq"]);
    fs::remove_dir_all(server.path.join("objects")).expect("the file system works");
    fs::create_dir_all(server.path.join("objects/info")).expect("the file system works");
    fs::create_dir_all(server.path.join("objects/pack")).expect("the file system works");
    fs::write(server.path.join("objects/info/alternates"), "../../pool.git/objects\n")
        .expect("the file system works");
    pool
}

/// Work upon the pool's own branch: its objects are there already.
fn from_a_pool(scene: &Scene<'_>) {
    let lender = pool(scene, &["one", "two"]);
    scene.git(&["fetch", "-q", &lender.path.to_string_lossy(), "extra:extra"]);
    scene.git(&["checkout", "-q", "extra"]);
    scene.client(&["ls-remote", "origin"]);
    scene.push(&["origin", "extra"]);
    scene.commit("upon extra");
    scene.push(&["origin", "extra", "extra:refs/heads/again"]);
}

fn shaped(scene: &Scene<'_>, shape: Shape) {
    shape.apply(&scene.server());
    scene.commit("new");
    scene.push(&["origin", "main", ":topic", "main:new"]);
}

fn objects(scene: &Scene<'_>) {
    // One folder of loose objects stands for all of them (git-gc(1), gc.auto).
    for n in 0..12 {
        scene.commit(&format!("file {n}"));
    }
}
