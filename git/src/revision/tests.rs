//! Revisions compared with what `git cat-file` makes of them.

use super::*;
use crate::objects::tests::fixture::{Fixture, Random};
use crate::repository::{Environment, Repository};
use std::sync::Arc;

/// A repository with names that get in each other's way.
fn repository(seed: u64) -> Fixture {
    let fixture = Fixture::empty();
    fixture.import("main", seed, 60);
    fixture.import("topic/a", seed + 100, 9);
    let git = |arguments: &[&str]| fixture.git(arguments);
    git(&["tag", "-a", "-m", "v1", "v1.0", "main~7"]);
    git(&["tag", "-a", "-m", "nested", "nested", "v1.0"]);
    git(&["tag", "-a", "-m", "tree", "of-tree", "main^{tree}"]);
    git(&["tag", "-a", "-m", "blob", "of-blob", "main:big"]);
    git(&["tag", "light", "main~3"]);
    git(&["update-ref", "refs/heads/light", "main~4"]);
    git(&["update-ref", "refs/heads/tags/v1.0", "main~5"]);
    git(&["update-ref", "refs/heads/heads/main", "main~6"]);
    git(&["update-ref", "refs/remotes/origin/main", "main~8"]);
    git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
    git(&["symbolic-ref", "refs/heads/alias", "refs/heads/topic/a"]);
    git(&["symbolic-ref", "refs/heads/dangling", "refs/heads/nowhere"]);
    git(&["update-ref", "refs/odd/@/x", "main~9"]);
    git(&["update-ref", "refs/heads/v2-0-gabcd", "main~10"]);
    git(&["update-ref", "refs/heads/{x}", "main~11"]);
    // Enough objects for several to begin with the same digits.
    fixture.import("many", seed + 1_000, 600);
    fixture
}

/// All ids of the repository, so that some abbreviations are ambiguous.
fn ids(fixture: &Fixture) -> Vec<String> {
    let list = fixture.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    String::from_utf8(list).unwrap().lines().map(str::to_owned).collect()
}

fn snapshot(fixture: &Fixture) -> Arc<Snapshot> {
    let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
    repository.snapshot().unwrap()
}

/// The ids that git finds, one a line of `revisions`.
fn found_by_git(fixture: &Fixture, revisions: &[String]) -> Vec<Option<String>> {
    let input: String = revisions.iter().map(|revision| format!("{revision}\n")).collect();
    let output = fixture.git_with(&["cat-file", "--batch-check=%(objectname)"], input.as_bytes());
    let lines = String::from_utf8(output).unwrap();
    let is_id = |line: &str| line.len() == 40 && ObjectId::from_hex(line.as_bytes()).is_ok();
    let ids: Vec<_> = lines.lines().map(|line| is_id(line).then(|| line.to_owned())).collect();
    assert_eq!(ids.len(), revisions.len());
    ids
}

/// Compares and tells how many were left to git.
fn check(fixture: &Fixture, revisions: &[String], case: &str) -> usize {
    let snapshot = snapshot(fixture);
    let commits: Vec<_> = revisions.iter().map(|text| format!("{text}^{{commit}}")).collect();
    let expected = found_by_git(fixture, revisions);
    let expected_commits = found_by_git(fixture, &commits);
    let mut left = 0;
    for ((text, expected), commit) in revisions.iter().zip(&expected).zip(&expected_commits) {
        let revision = Revision::parse(text.as_str().into());
        let found = match revision.resolve(&snapshot, &mut Budget::default()).unwrap() {
            Resolved::Unsupported => {
                left += 1;
                continue;
            }
            Resolved::Missing => None,
            // Git says so of objects that are named, and not there.
            Resolved::Found(id) if !snapshot.store.contains(&id).unwrap() => None,
            Resolved::Found(id) => Some(id.to_string()),
        };
        assert_eq!(found, *expected, "{case}: {text}");
        let found = match revision.commit(&snapshot).unwrap() {
            Resolved::Found(found) => Some(found.id.to_string()),
            Resolved::Missing => None,
            Resolved::Unsupported => panic!("{case}: {text}: served without, not with ^{{commit}}"),
        };
        assert_eq!(found, *commit, "{case}: {text} as a commit");
    }
    left
}

/// One revision a word.
const TABLE: &str = r"
    HEAD @ @^ @~2 @@ @/x odd/@/x main heads/main refs/heads/main heads/heads/main light
    tags/light heads/light v1.0 tags/v1.0 nested origin origin/main remotes/origin
    remotes/origin/HEAD alias dangling topic/a topic refs refs/ /main main/ // . .. ... - ^ ~ ^^
    ~0 ^0 main^ main^0 main^1 main^2 main^3 main~ main~0 main~00 main~59 main~60 main~61 main^^^
    main~2^ main^~2 main^2~1^ main~2147483648 main~4294967296 main^4294967295 main^^0^ main^{}
    main^{commit} main^{tree} main^{blob} main^{tag} main^{object} main^{commit}x} main^{}x}
    main^{comit} main^{commit main^{tree}^{commit} main^{commit}~3^{tree} main^{tree}^ nested^{}
    nested^{tag} nested^{commit} nested^{tree} nested~1 nested^{tag}^{tag} of-tree^{tree}
    of-tree^{commit} of-tree^{} of-tree^ of-blob^{blob} of-blob^{} of-blob^{tree} of-blob^0
    v2-0-gabcd {x} {x}^ main.lock config HEAD/x description objects refs/heads FETCH_HEAD
";

#[test]
fn revisions_are_resolved_as_git_resolves_them() {
    let fixture = repository(1);
    let tip = fixture.id("main").to_string();
    let absent = "7".repeat(40);
    let mut revisions: Vec<String> = TABLE.split_whitespace().map(str::to_owned).collect();
    revisions.extend(["", "ma in"].map(str::to_owned));
    for of in [&tip, &absent] {
        revisions
            .extend(["", "^", "^{}", "^{tree}", "^{object}", "~3"].map(|s| format!("{of}{s}")));
        revisions.push(of.to_uppercase());
        revisions.push(format!("anything at-all^g-g{of}"));
        revisions.extend([3, 4, 7, 39].map(|digits| of[..digits].to_uppercase()));
        revisions.extend([3, 4, 7, 39].map(|digits| format!("v1-2-g{}", &of[..digits])));
        revisions.push(format!("{of}0"));
    }
    assert_eq!(check(&fixture, &revisions, "table"), 0);
    let only_git =
        ["main@{0}", "@{-1}", ":/work", "main^{/work}", "main:big", ":big"].map(String::from);
    assert_eq!(check(&fixture, &only_git, "left to git"), only_git.len());
}

#[test]
fn random_revisions_are_resolved_as_git_resolves_them() {
    for seed in 1..=4 {
        let fixture = repository(seed);
        match seed % 4 {
            1 => drop(fixture.git(&["repack", "-adq"])),
            2 => drop(fixture.git(&["multi-pack-index", "write"])),
            3 => drop(fixture.git(&["commit-graph", "write", "--reachable"])),
            _ => {}
        }
        let ids = ids(&fixture);
        let names = ["main", "HEAD", "nested", "of-tree", "of-blob", "light", "origin", "alias"];
        let suffixes = [
            "^",
            "~",
            "^0",
            "^2",
            "~3",
            "~17",
            "^{}",
            "^{tree}",
            "^{commit}",
            "^{tag}",
            "^{blob}",
            "^{object}",
            "^{x}",
            "x",
            "}",
        ];
        let mut random = Random(seed * 7_919);
        let mut revisions = Vec::new();
        for _ in 0..4_000 {
            let id = &ids[random.below(ids.len())];
            let digits = 4 + random.below(3);
            let mut revision = match random.below(5) {
                0 => names[random.below(names.len())].to_owned(),
                1 => format!("v-1-g{}", &id[..digits]),
                _ => id[..digits].to_owned(),
            };
            for _ in 0..random.below(4) {
                revision.push_str(suffixes[random.below(suffixes.len())]);
            }
            revisions.push(revision);
        }
        assert_eq!(check(&fixture, &revisions, &format!("seed {seed}")), 0);
    }
}

#[test]
fn what_git_alone_sees_is_left_to_git() {
    let fixture = repository(9);
    let tip = fixture.id("main").to_string();
    let left = |name: &str| check(&fixture, &[name.to_owned()], name);
    std::fs::write(fixture.dir.path().join("FETCH_HEAD"), format!("{tip}\t\tbranch\n")).unwrap();
    std::fs::write(fixture.dir.path().join("light"), format!("{tip}\n")).unwrap();
    std::fs::write(fixture.dir.path().join("refs/heads/broken"), "nonsense\n").unwrap();
    assert_eq!(
        [left("FETCH_HEAD"), left("light"), left("broken"), left("tags/light")],
        [1, 1, 1, 0]
    );
    fixture.git(&["replace", "main", "main~2"]);
    assert_eq!(left("main"), 1);
    fixture.git(&["replace", "-d", "main"]);
    assert_eq!(left("main"), 0);
    std::fs::write(fixture.dir.path().join("shallow"), format!("{tip}\n")).unwrap();
    assert_eq!([left("main"), left("main^"), left("main^{tree}")], [0, 1, 0]);
}

#[test]
fn hostile_lengths_are_left_to_git_or_missing() {
    let fixture = Fixture::with_history(3);
    let snapshot = snapshot(&fixture);
    let resolve = |text: String| {
        let revision = Revision::parse(text.as_str().into());
        revision.resolve(&snapshot, &mut Budget::default()).unwrap()
    };
    assert_eq!(resolve(format!("main{}", "^0".repeat(100_000))), Resolved::Unsupported);
    assert_eq!(resolve("main~2000000000".to_owned()), Resolved::Missing);
    assert_eq!(resolve("x/".repeat(100_000)), Resolved::Missing);
    assert_eq!(resolve("x".repeat(100_000)), Resolved::Missing);
}

/// Revisions of one request, and how many of them are resolved before the rest is left to git.
fn check_budget(snapshot: &Snapshot, revisions: &[&str], expected: usize) {
    let mut budget = Budget::default();
    let mut resolve = |text: &&&str| {
        let revision = Revision::parse((**text).into());
        revision.resolve(snapshot, &mut budget).unwrap() != Resolved::Unsupported
    };
    let resolved = revisions.iter().take_while(&mut resolve).count();
    let first = revisions[0];
    assert_eq!(resolved, expected, "{first} and others, {} in all", revisions.len());
}

#[test]
fn long_walks_are_left_to_git() {
    let fixture = Fixture::empty();
    fixture.import("main", 1, 1_100);
    let snapshot = snapshot(&fixture);
    let hex = fixture.id("main").to_string();
    // The commit itself and 999 before it.
    check_budget(&snapshot, &["main~999"], 1);
    check_budget(&snapshot, &["main~1000"], 0);
    check_budget(&snapshot, &["main~500~498"], 1);
    check_budget(&snapshot, &["main~500~499"], 0);
    check_budget(&snapshot, &["main~499", "main~499", "main^0"], 2);
    check_budget(&snapshot, &["main^"; 501], 500);
    check_budget(&snapshot, &["main^{commit}"; 1_001], 1_000);
    // Names need no object.
    check_budget(&snapshot, &["main"; 2_000], 2_000);
    check_budget(&snapshot, &[&*hex; 2_000], 2_000);
    check_budget(&snapshot, &[&hex[..39]; 1_001], 1_000);
}
