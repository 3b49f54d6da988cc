//! Hooks of the repository (githooks(5)), which run where the client starts the server itself.

use super::{Scenario, push, row_piped};
use crate::push::scene::Scene;

/// Prints what a hook is told.
///
/// For `update`, the quarantine is no more at stock git's: ours waits for the last vote.
const TELL: &str = "echo \"$0 $*\" | sed 's,.*/,,'\nenv | grep -E '^GIT_(DIR|PUSH)' | sort\n\
                    case $0 in *update) ;; *) env | grep '^GIT_QUAR' ;; esac\n\
                    cat\necho err >&2\nls HEAD";

/// All kinds.
pub(crate) const HOOKS: &[Scenario] = &[
    row_piped("all hooks", |s| {
        every(s, TELL);
        two(s, &["origin"]);
    }),
    row_piped("all hooks, atomic", |s| {
        every(s, TELL);
        two(s, &["--atomic", "origin"]);
    }),
    row_piped("all hooks, quiet", |s| {
        every(s, TELL);
        two(s, &["-q", "origin"]);
    }),
    row_piped("all hooks, push options", |s| {
        s.server().set("receive.advertisePushOptions", "true");
        every(s, TELL);
        two(s, &["-o", "one", "-o", "two words", "-o", "", "origin"]);
    }),
    row_piped("all hooks, nothing to do", |s| {
        every(s, TELL);
        push(s, &["origin", "main"]);
    }),
    row_piped("all hooks, only deletions", |s| {
        every(s, TELL);
        push(s, &["origin", ":topic", ":none"]);
        push(s, &["origin", ":none"]);
    }),
    row_piped("pre-receive denies", |s| {
        denied(s, "pre-receive", "echo no; echo never >&2; exit 1")
    }),
    row_piped("pre-receive denies deletions", |s| {
        s.hook(&s.server().path, "pre-receive", "exit 3");
        push(s, &["origin", ":topic"]);
    }),
    row_piped("pre-receive reads nothing", |s| denied(s, "pre-receive", "exit 0")),
    row_piped("pre-receive dies", |s| denied(s, "pre-receive", "kill -KILL $$")),
    row_piped("update denies all", |s| denied(s, "update", "echo no $1; exit 1")),
    row_piped("update denies one", |s| denied(s, "update", "test $1 != refs/heads/main")),
    row_piped("update denies one, atomic", |s| {
        s.hook(&s.server().path, "update", "echo asked $1; test $1 != refs/heads/main");
        two(s, &["--atomic", "origin"]);
    }),
    row_piped("post-receive fails", |s| denied(s, "post-receive", "echo late; cat; exit 1")),
    row_piped("post-update fails", |s| denied(s, "post-update", "echo late $*; exit 1")),
    row_piped("post-receive sees refs", |s| {
        denied(s, "post-receive", "git for-each-ref; git rev-parse main^{tree}");
    }),
    row_piped("pre-receive sees objects", |s| {
        let script = "while read old new ref; do git cat-file -t $new; git log --oneline -1 $new\n\
                      git rev-list --count $new --not --all\ndone";
        denied(s, "pre-receive", script);
    }),
    row_piped("pre-receive may not write refs", |s| {
        let script = "while read old new ref; do git update-ref refs/heads/mine $new; done";
        denied(s, "pre-receive", script);
    }),
    row_piped("update writes objects", |s| {
        denied(s, "update", "echo text | git hash-object -w --stdin");
    }),
    row_piped("hook moves the ref", |s| {
        // After the quarantine was judged, before the ref is locked.
        let script = "unset GIT_QUARANTINE_PATH; test $1 = refs/heads/new || \
                      git update-ref refs/heads/main main~1";
        denied(s, "update", script);
    }),
    row_piped("not executable", |s| {
        let server = s.server().set("advice.ignoredHook", "false").path.clone();
        s.hook(&server, "pre-receive", "exit 1");
        let status = std::process::Command::new("chmod")
            .arg("644")
            .arg(server.join("hooks/pre-receive"))
            .status();
        assert!(status.expect("chmod can be started").success());
        two(s, &["origin"]);
    }),
    row_piped("no program behind it", |s| {
        let hooks = s.server().path.join("hooks");
        std::fs::create_dir_all(&hooks).expect("the file system works");
        std::os::unix::fs::symlink("/nonexistent/program", hooks.join("pre-receive"))
            .expect("the file system works");
        two(s, &["origin"]);
    }),
    row_piped("core.hooksPath", |s| {
        s.server().set("core.hooksPath", "elsewhere/hooks");
        s.hook(&s.server().path.join("elsewhere"), "pre-receive", "echo elsewhere; cat; exit 1");
        two(s, &["origin"]);
    }),
    row_piped("reference-transaction", |s| {
        s.hook(&s.server().path, "reference-transaction", "echo \"$1\"; cat | sort -k3");
        two(s, &["origin"]);
        push(s, &["--atomic", "origin", "main~1:refs/heads/x", ":new"]);
    }),
    row_piped("reference-transaction refuses", |s| {
        s.hook(&s.server().path, "reference-transaction", "test $1 != prepared");
        two(s, &["origin"]);
    }),
    row_piped("proc-receive", |s| {
        s.server().set("receive.procReceiveRefs", "refs/for");
        s.commit("new");
        push(s, &["origin", "main:refs/for/main"]);
    }),
    row_piped("push-to-checkout without a work tree", |s| {
        denied(s, "push-to-checkout", "exit 1");
    }),
    row_piped("much is said", |s| {
        denied(s, "pre-receive", "head -c 300000 /dev/zero | tr '\\0' x | fold -w 99; exit 1");
    }),
    row_piped("no line feed at the end", |s| denied(s, "pre-receive", "printf abc; exit 1")),
    row_piped("200 refs", |s| {
        every(s, "cat | wc -l; echo $# $1");
        let refs: Vec<String> = (0..200).map(|n| format!("main~1:refs/heads/b{n}")).collect();
        let refs: Vec<&str> = refs.iter().map(String::as_str).collect();
        push(s, &[&["--atomic", "origin"], &refs[..]].concat());
    }),
];

fn every(scene: &Scene<'_>, script: &str) {
    for name in ["pre-receive", "update", "post-receive", "post-update"] {
        scene.hook(&scene.server().path, name, script);
    }
}

fn two(scene: &Scene<'_>, words: &[&str]) {
    scene.commit("new");
    scene.push(&[words, &["main", "main:refs/heads/new", ":topic"]].concat());
}

/// One hook; two pushes.
fn denied(scene: &Scene<'_>, name: &str, script: &str) {
    scene.hook(&scene.server().path, name, script);
    two(scene, &["origin"]);
    scene.push(&["origin", "main~1:refs/heads/later"]);
}
