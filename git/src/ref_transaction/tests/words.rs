//! Refusals and the lines of votes, in git's words.

use super::*;

#[test]
fn refusals_are_in_gits_words() {
    let sandbox = Sandbox::new(2);
    let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
    let blob = sandbox.git(&["hash-object", "-w", "--stdin"]);
    let blob = ObjectId::from_hex(blob.as_bytes()).unwrap();
    let missing = ObjectId::from_hex(&[b'1'; 40]).unwrap();
    write(&sandbox, vec![set("refs/heads/a", c0), set("refs/heads/d/e", c0)]).unwrap();
    let check = |updates: Vec<Update>, expected: &str| {
        let before = (sandbox.told_by_git(), sandbox.files());
        assert_eq!(write(&sandbox, updates), Err(expected.to_owned()));
        assert_eq!((sandbox.told_by_git(), sandbox.files()), before, "{expected}");
    };
    let is = |name: &str, old, change| vec![Update::new(name, old, change)];
    let a = "refs/heads/a";
    check(
        is(a, Expected::Is(c1), Change::Delete),
        "cannot lock ref 'refs/heads/a': is at c0 but expected c1",
    );
    check(
        is(a, Expected::Absent, Change::Set(c1)),
        "cannot lock ref 'refs/heads/a': reference already exists",
    );
    check(
        is("refs/heads/x", Expected::Is(c1), Change::Set(c0)),
        "cannot lock ref 'refs/heads/x': unable to resolve reference 'refs/heads/x'",
    );
    check(
        vec![set("refs/heads/a/b", c0)],
        "cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists; cannot create 'refs/heads/a/b'",
    );
    check(
        vec![set("refs/heads/d", c0)],
        "cannot lock ref 'refs/heads/d': 'refs/heads/d/e' exists; cannot create 'refs/heads/d'",
    );
    check(
        vec![set("refs/heads/n", c0), set("refs/heads/n/o", c0)],
        "cannot lock ref 'refs/heads/n': \
         cannot process 'refs/heads/n' and 'refs/heads/n/o' at the same time",
    );
    check(vec![set(a, c0), set(a, c1)], "multiple updates for ref 'refs/heads/a' not allowed");
    check(
        vec![set(a, missing)],
        &format!(
            "cannot update ref 'refs/heads/a': \
             trying to write ref 'refs/heads/a' with nonexistent object {missing}"
        ),
    );
    check(
        vec![set(a, blob)],
        &format!(
            "cannot update ref 'refs/heads/a': \
             trying to write non-commit object {blob} to branch 'refs/heads/a'"
        ),
    );
    sandbox.git(&["symbolic-ref", "HEAD", a]);
    check(
        vec![set("HEAD", c1), set(a, c1)],
        "multiple updates for 'refs/heads/a' (including one via symref 'HEAD') are not allowed",
    );
    check(
        vec![Update::of_itself("HEAD", Expected::Any, Change::Set(c1)), set(a, c1)],
        "multiple updates for 'HEAD' (including one via its referent 'refs/heads/a') \
         are not allowed",
    );
    let many: Vec<_> = (0..=UPDATES_MAX).map(|n| set(&format!("refs/heads/{n}"), c0)).collect();
    check(many, "more than 30000 updates in one transaction");
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    let sandbox = Sandbox::new(1);
    let c0 = sandbox.commits[0];
    let check = |update: Update, expected: &str| {
        assert_eq!(write(&sandbox, vec![update]), Err(expected.to_owned()));
    };
    for name in ["refs/heads/a..b", "refs/heads/../../x", "config", "refs/heads/a.lock", "a/b", ""]
    {
        check(set(name, c0), &format!("refusing to update ref with bad name '{name}'"));
    }
    for name in ["refs/heads/a.lock", "refs/../config", "refs/heads/a\nb", "config", "HEAD", ""] {
        let bad = format!("refusing to update ref with bad name '{name}'");
        check(Update::of_itself(name, Expected::Any, Change::Delete), &bad);
    }
}

#[test]
fn votes_have_gits_lines() {
    let sandbox = Sandbox::new(2);
    let (c0, c1, zeros) = (sandbox.commits[0], sandbox.commits[1], "0".repeat(40));
    let (files, objects) = sandbox.open();
    let check = |updates: Vec<Update>, expected: &[String]| {
        let prepared = prepare(&files, &objects, updates).unwrap();
        assert_eq!(prepared.vote_input(), expected.concat().as_bytes());
        prepared.commit().unwrap();
    };
    // What the hook of stock git is told, HEAD's line included.
    check(
        vec![set("refs/heads/main", c0), set("refs/heads/b", c0)],
        &[
            format!("{zeros} {c0} refs/heads/main\n"),
            format!("{zeros} {c0} refs/heads/b\n"),
            format!("{zeros} {c0} HEAD\n"),
        ],
    );
    check(
        vec![Update::new("HEAD", Expected::Is(c0), Change::Set(c1))],
        &[format!("{c0} {c1} HEAD\n"), format!("{c0} {c1} refs/heads/main\n")],
    );
    check(
        vec![
            Update::new("refs/heads/main", Expected::Is(c1), Change::Verify),
            Update::new("refs/heads/b", Expected::Is(c0), Change::Delete),
        ],
        &[
            format!("{c1} {zeros} refs/heads/main\n"),
            format!("{c0} {zeros} refs/heads/b\n"),
            format!("{c1} {zeros} HEAD\n"),
        ],
    );
    check(
        vec![Update::new("HEAD", Expected::Any, Change::Point("refs/heads/w".into()))],
        &[format!("{zeros} ref:refs/heads/w HEAD\n")],
    );
    let head = std::fs::read_to_string(sandbox.git_dir.join("HEAD")).unwrap();
    assert_eq!(head, "ref: refs/heads/w\n");
}

/// The hook of stock git says the same, also for deletions and HEAD.
#[test]
fn votes_are_what_gits_hook_is_given() {
    let sandbox = Sandbox::new(2);
    let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
    let hook = sandbox.git_dir.join("hooks/reference-transaction");
    let told = sandbox.git_dir.join("told");
    std::fs::write(&hook, format!("#!/bin/sh\ncat >\"{}.$1\"\n", told.display())).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hook, permissions).unwrap();
    let (files, objects) = sandbox.open();
    let check = |arguments: &[&str], update: Update| {
        let prepared = prepare(&files, &objects, vec![update]).unwrap();
        let ours = prepared.vote_input().to_vec();
        drop(prepared);
        sandbox.git(arguments);
        let gits = std::fs::read(told.with_added_extension("committed")).unwrap();
        assert_eq!(ours, gits, "{arguments:?}");
    };
    let (old, new) = (c0.to_string(), c1.to_string());
    check(&["update-ref", "refs/heads/main", &old], set("refs/heads/main", c0));
    let forward = Update::new("HEAD", Expected::Is(c0), Change::Set(c1));
    check(&["update-ref", "HEAD", &new, &old], forward);
    let forward = Update::new("refs/heads/main", Expected::Is(c1), Change::Set(c0));
    check(&["update-ref", "refs/heads/main", &old, &new], forward);
}

#[test]
fn refs_that_are_no_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("sha256.git");
    let arguments = ["init", "-q", "--bare", "--object-format=sha256", path.to_str().unwrap()];
    assert!(command(root.path(), &arguments).status().unwrap().success());
    let snapshot = repository(&path).snapshot().unwrap();
    let refused = RefFiles::of(&snapshot).unwrap_err();
    assert_eq!(refused.to_string(), "refs of this repository are not written here: sha256");
    let path = Sandbox::new(0);
    path.git(&["config", "core.repositoryFormatVersion", "1"]);
    path.git(&["config", "extensions.refStorage", "reftable"]);
    let snapshot = repository(&path.git_dir).snapshot().unwrap();
    let refused = RefFiles::of(&snapshot).unwrap_err();
    assert_eq!(refused.to_string(), "refs of this repository are not written here: reftable");
}
