//! What may be left of short sequences of calls.

use std::collections::BTreeSet;

use super::*;

/// All outcomes of a loss, over many seeds: the files with their contents.
fn outcomes(recorder: &Recorder, loss: Loss) -> BTreeSet<String> {
    let tell = |seed| {
        let root = tempfile::tempdir().unwrap();
        recorder.remains(usize::MAX, loss, seed).build(root.path()).unwrap();
        let mut files = Vec::new();
        for entry in fs::read_dir(root.path()).unwrap() {
            let path = entry.unwrap().path();
            let content = fs::read_to_string(&path).unwrap_or_else(|_| "/".to_owned());
            files.push(format!("{}={content}", path.file_name().unwrap().display()));
        }
        files.sort();
        files.join(" ")
    };
    (1..=300).map(tell).collect()
}

fn check(calls: impl Fn(&Recorder, &Path), loss: Loss, expected: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), "old").unwrap();
    let recorder = Recorder::new(root.path(), &[]).unwrap();
    calls(&recorder, root.path());
    let expected: BTreeSet<_> = expected.iter().map(|&line| line.to_owned()).collect();
    assert_eq!(outcomes(&recorder, loss), expected, "{loss:?}");
}

#[test]
fn what_is_not_synced_may_be_lost() {
    let replace = |recorder: &Recorder, root: &Path| {
        recorder.create_new(&root.join("b"), b"n", 0o644).unwrap();
        recorder.rename(&root.join("b"), &root.join("a")).unwrap();
    };
    check(replace, Loss::Nothing, &["a=n"]);
    check(replace, Loss::Latest, &["a=old", "a=old b=", "a=old b=n", "a=", "a=n"]);
    let replace_synced = |recorder: &Recorder, root: &Path| {
        recorder.create_new(&root.join("b"), b"n", 0o644).unwrap();
        recorder.sync(&root.join("b")).unwrap();
        recorder.rename(&root.join("b"), &root.join("a")).unwrap();
    };
    check(replace_synced, Loss::Any, &["a=old", "a=old b=n", "a=n"]);
    check(replace_synced, Loss::Halves, &["a=old", "a=old b=n", "a=n", "a=n b=n"]);
    let replace_durably = |recorder: &Recorder, root: &Path| {
        replace_synced(recorder, root);
        recorder.sync(root).unwrap();
    };
    check(replace_durably, Loss::Halves, &["a=n"]);
}

#[test]
fn a_directorys_own_name_is_in_the_one_above() {
    let inside = |recorder: &Recorder, root: &Path| {
        recorder.create_dir(&root.join("d")).unwrap();
        recorder.sync(&root.join("d")).unwrap();
    };
    check(inside, Loss::Any, &["a=old", "a=old d=/"]);
    let above = |recorder: &Recorder, root: &Path| {
        inside(recorder, root);
        recorder.sync(root).unwrap();
        recorder.remove(&root.join("a")).unwrap();
    };
    check(above, Loss::Any, &["a=old d=/", "d=/"]);
}
