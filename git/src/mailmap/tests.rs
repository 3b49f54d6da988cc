//! Commits renamed by mailmaps, compared with what `git cat-file --use-mailmap` shows.

use super::*;
use crate::commit;
use crate::objects::tests::fixture::{Fixture, Random};
use crate::repository::{Environment, Repository};
use std::io::Write;

const NAMES: [&str; 6] = ["", "A", "a", "Ann B", "ANN B", "Zo\u{eb}"];
const EMAILS: [&str; 6] = ["", "a@x", "A@X", "b@x", "b@x.org", "z y"];

fn person(random: &mut Random) -> (&'static str, &'static str) {
    (NAMES[random.below(NAMES.len())], EMAILS[random.below(EMAILS.len())])
}

/// A mailmap of lines that are valid, or nearly.
fn mailmap(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(9) {
        let mut line = String::new();
        if random.below(9) == 0 {
            line.push_str(["#", " ", "<", ">", "\t"][random.below(5)]);
        }
        for _ in 0..1 + random.below(3) {
            let (name, email) = person(random);
            let space = ["", " ", "  "][random.below(3)];
            line.push_str(&format!("{name}{space}<{email}>{space}"));
        }
        text.push_str(&line);
        text.push_str(["\n", "\n", "\n\n", "\r\n"][random.below(4)]);
    }
    text
}

#[test]
fn persons_are_renamed_as_git_renames_them() {
    for seed in 1..=20 {
        let mut random = Random(seed * 15_485_863);
        let fixture = Fixture::empty();
        let text = mailmap(&mut random);
        let mut input = Vec::new();
        for _ in 0..60 {
            // Old gits rename a committer only where the author is renamed: so they are the same.
            let (name, email) = person(&mut random);
            write!(input, "commit refs/heads/main\nauthor {name} <{email}> 1 +0000\n").unwrap();
            write!(input, "committer {name} <{email}> 2 +0100\ndata 1\nx\n").unwrap();
            write!(input, "M 644 inline .mailmap\ndata {}\n{text}\n", text.len()).unwrap();
        }
        fixture.git_with(&["fast-import", "--quiet"], &input);
        let ids = fixture.git(&["rev-list", "main"]);
        let shown = fixture.git_with(&["cat-file", "--use-mailmap", "--batch"], &ids);
        let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
        let snapshot = repository.snapshot().unwrap();
        let mut found = Vec::new();
        for id in String::from_utf8(ids).unwrap().lines() {
            let revision = Revision::parse(id.into());
            let Resolved::Found(one) = commit::find(&snapshot, &revision).unwrap() else {
                panic!("seed {seed}: {id} is left to git");
            };
            found.extend_from_slice(&one.data);
            found.push(b'\n');
        }
        let [found, shown] = [found, shown].map(|all| String::from_utf8_lossy(&all).into_owned());
        // Old gits put the size of the object in front, not of what they show.
        let lines = shown.lines().filter(|line| !line.contains(" commit "));
        let shown: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!(found, shown, "seed {seed}: {text}");
    }
}

#[test]
fn a_committer_is_renamed_beside_an_author_who_is_not() {
    let mailmap = Mailmap::parse(b"New <new@x> <old@x>\n");
    let check = |data: &str, expected: &str| {
        assert_eq!(mailmap.rename(data.as_bytes()).as_bstr(), expected, "{data}");
    };
    let (old, new) = ("Old <old@x> 1 +0", "New <new@x> 1 +0");
    check(
        &format!("tree 1\nauthor A <a@x> 1 +0\ncommitter {old}\n\ncommitter {old}\n"),
        &format!("tree 1\nauthor A <a@x> 1 +0\ncommitter {new}\n\ncommitter {old}\n"),
    );
    check(&format!("tagger {old}"), &format!("tagger {new}"));
    check(&format!(" author {old}\n"), &format!(" author {old}\n"));
    check("author Old <old@x\n", "author Old <old@x\n");
    check("author <OLD@x>\n", "author New <new@x>\n");
}

#[test]
fn mailmaps_elsewhere_are_left_to_git() {
    let fixture = Fixture::with_history(2);
    let found = |key: &str, value: &str| {
        let overrides = vec![(key.to_owned(), Some(value.to_owned()))];
        let environment = Environment { overrides, ..Environment::default() };
        let snapshot =
            Repository::open(fixture.dir.path(), environment).unwrap().snapshot().unwrap();
        matches!(of(&snapshot).unwrap(), Resolved::Unsupported)
    };
    assert!(found("mailmap.file", "/nowhere"));
    assert!(found("mailmap.blob", "main:big"));
    assert!(found("core.bare", "false"));
    assert!(!found("core.bare", "true"));
}
