//! Ancestors compared with what `git rev-list` lists.

use super::*;
use crate::objects::tests::fixture::Fixture;
use crate::repository::{Environment, Repository};
use std::collections::HashSet;

fn listed(fixture: &Fixture, words: &[&str]) -> Vec<String> {
    let words = [&["rev-list"], words].concat();
    let list = String::from_utf8(fixture.git(&words)).unwrap();
    list.lines().map(str::to_owned).collect()
}

fn check(fixture: &Fixture, case: &str) {
    let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    let all = listed(fixture, &["--all"]);
    for child in all.iter().step_by(7) {
        let ancestors: HashSet<String> = listed(fixture, &[child]).into_iter().collect();
        for ancestor in &all {
            let found = is_ancestor(&snapshot, ancestor.as_str().into(), child.as_str().into());
            let expected = Resolved::Found(ancestors.contains(ancestor));
            assert_eq!(found.unwrap(), expected, "{case}: {ancestor} before {child}");
        }
    }
}

#[test]
fn ancestors_are_gits() {
    for seed in [1, 2] {
        let fixture = Fixture::empty();
        fixture.import("main", seed, 60);
        fixture.import("topic", seed + 100, 20);
        // Another root, made long before and long after its parents.
        let id = |name: &str| {
            String::from_utf8(fixture.git(&["rev-parse", name])).unwrap().trim().to_owned()
        };
        let make = |date: &str, parents: &[&str]| {
            let mut text = format!("tree {}\n", id("main^{tree}"));
            parents.iter().for_each(|parent| text += &format!("parent {}\n", id(parent)));
            let person = format!("A <a@example.org> {date} +0000");
            text += &format!("author {person}\ncommitter {person}\n\nx\n");
            let words = ["hash-object", "-w", "-t", "commit", "--stdin"];
            String::from_utf8(fixture.git_with(&words, text.as_bytes())).unwrap().trim().to_owned()
        };
        let root = make("2000000000", &[]);
        let early = make("100000000", &[&root, "main"]);
        let late = make("1900000000", &[&early, "topic"]);
        fixture.git(&["update-ref", "refs/heads/skewed", &late]);
        check(&fixture, &format!("seed {seed}"));
        fixture.git(&["commit-graph", "write", "--reachable"]);
        check(&fixture, &format!("seed {seed}, with a commit-graph"));
    }
}

#[test]
fn what_is_no_commit_and_what_takes_long() {
    let fixture = Fixture::empty();
    fixture.import("main", 1, 10);
    fixture.git(&["tag", "-a", "-m", "t", "tag", "main~1"]);
    let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    let check = |ancestor: &str, child: &str, expected| {
        let found = is_ancestor(&snapshot, ancestor.into(), child.into()).unwrap();
        assert_eq!(found, expected, "{ancestor} before {child}");
    };
    check("tag", "main", Resolved::Found(true));
    check("main", "tag", Resolved::Found(false));
    check("main", "main", Resolved::Found(true));
    check("main^{tree}", "main", Resolved::Missing);
    check("main", "nothing", Resolved::Missing);
    check("main", &"1".repeat(40), Resolved::Missing);
    check("main@{1}", "main", Resolved::Unsupported);
    let fixture = Fixture::empty();
    fixture.import("main", 1, COMMITS_MAX + 200);
    fixture.import("other", 2, 10);
    let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    let found = is_ancestor(&snapshot, "other".into(), "main".into()).unwrap();
    assert_eq!(found, Resolved::Unsupported);
}
