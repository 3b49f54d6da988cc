//! Lists compared with those of `git for-each-ref`.

use super::*;
use crate::objects::tests::fixture::{Fixture, Random};
use crate::repository::{Environment, Repository};
use std::io::Write;
use std::sync::Arc;

const NAMES: [&str; 22] = [
    "refs/heads/main",
    "refs/heads/main-2",
    "refs/heads/Main",
    "refs/heads/a/b",
    "refs/heads/a/c/d",
    "refs/heads/a-b",
    "refs/heads/a.b",
    "refs/heads/a]",
    "refs/heads/zz",
    "refs/tags/v1.0",
    "refs/tags/v1.10",
    "refs/tags/v1.2",
    "refs/tags/a/b",
    "refs/keep-around/1",
    "refs/keep-around/2",
    "refs/merge-requests/1/head",
    "refs/merge-requests/12/head",
    "refs/merge-requests/2/merge",
    "refs/remotes/origin/main",
    "refs/notes/commits",
    "refs/top",
    "refs/heads/a!b",
];

/// Refs to commits, trees, blobs and tags, with dates in no order, some of them twice.
fn repository(seed: u64) -> Fixture {
    let fixture = Fixture::empty();
    let mut random = Random(seed * 32_452_843);
    let mut input = Vec::new();
    for name in NAMES {
        let [author, committer] = [(); 2].map(|()| 1_000_000_000 + random.below(6));
        let zone = ["+0000", "-0730", "+1400"][random.below(3)];
        write!(input, "commit {name}\nauthor A <a@x> {author} {zone}\n").unwrap();
        write!(input, "committer C <c@x> {committer} {zone}\ndata 1\nx\n").unwrap();
        write!(input, "M 644 inline file\ndata {}\n{name}\n\n", name.len()).unwrap();
    }
    for n in 0..4 {
        let date = 1_000_000_000 + random.below(6);
        write!(input, "tag annotated-{n}\nfrom refs/heads/main\n").unwrap();
        write!(input, "tagger T <t@x> {date} +0000\ndata 1\nx\n").unwrap();
    }
    fixture.git_with(&["fast-import", "--quiet"], &input);
    let git = |arguments: &[&str]| fixture.git(arguments);
    git(&["tag", "-a", "-m", "x", "nested", "annotated-1"]);
    git(&["tag", "tree", "main^{tree}"]);
    git(&["tag", "blob", "main:file"]);
    git(&["symbolic-ref", "refs/heads/alias", "refs/heads/zz"]);
    git(&["symbolic-ref", "refs/heads/dangling", "refs/heads/nowhere"]);
    if seed.is_multiple_of(2) {
        git(&["pack-refs", "--all"]);
    }
    std::fs::write(fixture.dir.path().join("refs/heads/broken"), "nonsense\n").unwrap();
    fixture
}

fn snapshot(fixture: &Fixture) -> Arc<Snapshot> {
    let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
    repository.snapshot().unwrap()
}

fn check(fixture: &Fixture, patterns: &[&str], query: &Query, case: &str) {
    let sort = match query.key {
        Key::Name => "refname",
        Key::Date(DateOf::Author) => "authordate",
        Key::Date(DateOf::Committer) => "committerdate",
        Key::Date(DateOf::Creator) => "creatordate",
    };
    let sort = format!("--sort={}{sort}", if query.is_descending { "-" } else { "" });
    let mut arguments = vec!["for-each-ref", "--format=%(objectname) %(refname)", &sort];
    let points_at: Vec<_> = query.points_at.iter().map(|id| format!("--points-at={id}")).collect();
    arguments.extend(points_at.iter().map(String::as_str));
    arguments.push("--");
    arguments.extend(patterns);
    let expected = String::from_utf8(fixture.git(&arguments)).unwrap();
    let query = Query {
        patterns: Patterns::new(patterns.iter().map(|one| (*one).into()).collect()),
        ..query.clone()
    };
    let found: String = list(&snapshot(fixture), &query)
        .unwrap()
        .iter()
        .map(|one| format!("{} {}\n", one.target, one.name))
        .collect();
    assert_eq!(found, expected, "{case}: {arguments:?}");
}

#[test]
fn patterns_fit_what_they_fit_in_git() {
    let fixture = repository(1);
    let patterns = [
        "refs/heads/main",
        "refs/heads",
        "refs/heads/",
        "refs/heads//",
        "refs/hea",
        "refs",
        "refs/",
        "/",
        "main",
        "heads/main",
        "HEAD",
        "*",
        "**",
        "refs/*",
        "refs/**",
        "refs/*/*",
        "refs/heads/*",
        "refs/heads/**",
        "refs/heads/a*",
        "refs/heads/a/*",
        "refs/heads/a/**",
        "refs/**/b",
        "**/main",
        "refs/*/main",
        "refs/heads/[mM]ain",
        "refs/heads/[!m]*",
        "refs/heads/a[]]",
        "refs/heads/a[!b]b",
        "refs/heads/a[",
        "refs/heads/?ain",
        "refs/heads/\\main",
        "refs/heads/a\\]",
        "refs/heads/ma\\",
        "refs/tags/v1.?",
        "refs/merge-requests/*/head",
        "refs/merge-requests/1",
        "refs/merge-requests/1*",
        "refs/heads/dangling",
        "refs/heads/broken",
        "refs/heads/alias",
        "refs/heads/main/",
        "refs/heads/a/",
        "refs/heads/[[:upper:]]*",
        "refs/heads/[a-c]*",
        "refs/heads/**b",
        "refs/heads/a**",
        "refs/heads/a/**/d",
    ];
    for pattern in patterns {
        check(&fixture, &[pattern], &Query::default(), "one");
    }
    check(&fixture, &[], &Query::default(), "none");
    check(&fixture, &["refs/tags", "refs/heads/a/*", "refs/heads/a"], &Query::default(), "three");
    check(&fixture, &["refs/heads/main", "refs/heads/m*", "nothing"], &Query::default(), "twice");
}

#[test]
fn lists_are_sorted_and_filtered_as_by_git() {
    let keys = [DateOf::Author, DateOf::Committer, DateOf::Creator].map(Key::Date);
    for seed in 1..=4 {
        let fixture = repository(seed);
        let revisions = ["main", "annotated-1", "nested", "tree", "blob", "refs/heads/zz"];
        let mut ids: Vec<_> = revisions.iter().map(|revision| fixture.id(revision)).collect();
        ids.push(ObjectId::Sha1([7; 20]));
        let mut random = Random(seed * 49_979_687);
        for key in keys.into_iter().chain([Key::Name]) {
            for is_descending in [false, true] {
                let mut points_at: Vec<_> =
                    (0..random.below(3)).map(|_| ids[random.below(ids.len())]).collect();
                points_at.sort_unstable();
                let case = format!("seed {seed}");
                let query = Query { key, is_descending, ..Query::default() };
                check(&fixture, &["refs/heads", "refs/tags/*"], &query, &case);
                check(&fixture, &["refs/"], &Query { points_at, ..query }, &case);
            }
        }
    }
}

fn check_date(headers: &str, expected: u64) {
    let data = format!("tree 1\n{headers}\n\nauthor X <x@x> 77 +0000\n");
    assert_eq!(date_of(data.as_bytes()), expected, "{headers}");
}

fn date_of(data: &[u8]) -> u64 {
    dates::date(data, b"author ").unwrap_or(0)
}

#[test]
fn dates_are_read_as_git_reads_them() {
    check_date("author A <a@x> 12 +0000", 12);
    check_date("author A <a@x>   12", 12);
    // The one in the message.
    check_date("author A <a@x>12 +0000", 77);
    check_date("author A <a@x> never", 0);
    check_date("author A <a@x> -1 +0000", 0);
    check_date("author A <a@x> -2 +0000", u64::MAX - 1);
    check_date("author A <a@x> 99999999999999999999 +0000", 0);
    check_date("author A <a@x> 12 +99999999999999999999", 0);
    check_date("author A <a> <b@x> 12 +0000", 0);
    check_date("committer A <a@x> 12 +0000", 0);
    check_date("author A\ncommitter A <a@x> 13 +0000", 13);
}

#[test]
fn refs_without_their_objects_have_no_date() {
    let fixture = repository(2);
    let absent = "7".repeat(40);
    std::fs::write(fixture.dir.path().join("refs/heads/lost"), format!("{absent}\n")).unwrap();
    check(&fixture, &["refs/heads"], &Query::default(), "by name");
    let query = Query { key: Key::Date(DateOf::Creator), ..Query::default() };
    let error = list(&snapshot(&fixture), &query).unwrap_err().to_string();
    assert_eq!(error, format!("missing object {absent} for refs/heads/lost"));
}

#[test]
fn default_branches() {
    let fixture = Fixture::empty();
    let check = |head: Option<&str>, expected: Option<&str>| {
        let snapshot = snapshot(&fixture);
        assert_eq!(head_reference(&snapshot), head.map(BStr::new));
        let Some(head) = head else { return };
        let expected = expected.map_or(Resolved::Missing, |name| Resolved::Found(name.into()));
        assert_eq!(default_branch(&snapshot, head.into()).unwrap(), expected);
    };
    fixture.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    check(Some("refs/heads/trunk"), None);
    fixture.import("zz", 1, 1);
    check(Some("refs/heads/trunk"), Some("refs/heads/zz"));
    std::fs::write(fixture.dir.path().join("refs/heads/aa"), "nonsense\n").unwrap();
    check(Some("refs/heads/trunk"), Some("refs/heads/zz"));
    for name in ["refs/heads/ab", "refs/heads/master", "refs/heads/main", "refs/heads/trunk"] {
        fixture.git(&["update-ref", name, "refs/heads/zz"]);
        check(Some("refs/heads/trunk"), Some(name));
    }
    fixture.git(&["update-ref", "--no-deref", "HEAD", "refs/heads/zz"]);
    check(None, None);
}

#[test]
fn comparisons_are_weighted_by_stars() {
    let check = |patterns: &[&str], names: usize, expected: usize| {
        let of = Patterns::new(patterns.iter().map(|one| (*one).into()).collect());
        assert_eq!(of.comparisons(names), expected, "{patterns:?}");
    };
    check(&[], 7, 7);
    check(&["refs/"], 7, 7);
    check(&["refs/heads/", "refs/tags/"], 7, 14);
    check(&["refs/heads/*"], 7, 7 * 8);
    check(&["**/main"], 7, 7 * 8);
    check(&["refs/*/x*", "refs/"], 7, 7 * 65);
    check(&[&"*x".repeat(1_000)], 7, usize::MAX);
}

/// `refs` branches, a list of which is made or left to git.
fn check_size(refs: usize, query: &Query, patterns: &[&str], is_made: bool) {
    let fixture = Fixture::empty();
    fixture.import("main", 1, 1);
    let id = fixture.id("main");
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for n in 0..refs {
        packed.push_str(&format!("{id} refs/many/{n:08}\n"));
    }
    std::fs::write(fixture.dir.path().join("packed-refs"), packed).unwrap();
    let patterns = Patterns::new(patterns.iter().map(|one| (*one).into()).collect());
    let list =
        list(&snapshot(&fixture), &Query { patterns, ..query.clone() }).map(|list| list.len());
    match (is_made, list) {
        (true, Ok(listed)) => assert_eq!(listed, refs),
        (false, Err(ListError::TooMuch)) => {}
        (_, other) => panic!("{refs} refs, {query:?}: {other:?}"),
    }
}

#[test]
fn lists_that_take_long_are_left_to_git() {
    let by_name = Query::default();
    let by_date = Query { key: Key::Date(DateOf::Committer), ..Query::default() };
    let existing = Query { needs_objects: true, ..Query::default() };
    let pattern: &[&str] = &["refs/many/"];
    check_size(LOOKUPS_MAX + 1, &by_name, pattern, true);
    check_size(READS_MAX, &by_date, pattern, true);
    check_size(READS_MAX + 1, &by_date, pattern, false);
    check_size(LOOKUPS_MAX, &existing, pattern, true);
    check_size(LOOKUPS_MAX + 1, &existing, pattern, false);
    check_size(100, &by_name, &["refs/many/*0*", "refs/many/"], true);
    check_size(100, &by_name, &["refs/many/*0*0*0*0*0*", "refs/many/"], false);
}
