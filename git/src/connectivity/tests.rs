//! Goal: what `git rev-list --objects --stdin --not --all` finds complete is found complete, and
//! nothing else, unless what is lost is what existing refs lead to.
//! Method: random histories with shared trees, tags, submodules and clocks that run backwards; random
//! refs, tips, objects that lie in a quarantine, and objects that are lost. git judges with
//! commit-graphs off, we with and without them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::objects::StoreOptions;
use crate::objects::tests::fixture::{Fixture, Random};

const COMMITS: usize = 24;

/// A repository whose objects are all loose, and what of it may be wanted or lost.
struct World {
    fixture: Fixture,
    commits: Vec<ObjectId>,
    others: Vec<ObjectId>,
    tags: Vec<ObjectId>,
}

/// One push: refs that exist, tips that are pushed, objects in the quarantine, objects that are gone.
#[derive(Debug, Default)]
struct Push {
    refs: Vec<ObjectId>,
    tips: Vec<ObjectId>,
    pushed: BTreeSet<ObjectId>,
    lost: BTreeSet<ObjectId>,
}

// === impl World ===

impl World {
    fn new(random: &mut Random) -> Self {
        let fixture = Fixture::empty();
        fixture.git(&["config", "fastimport.unpackLimit", "100000"]);
        fixture.git_with(&["fast-import", "--quiet"], history(random).as_bytes());
        let mut arguments = vec!["rev-parse".to_owned()];
        arguments.extend((1..=COMMITS).map(|number| format!("refs/heads/{number}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let commits = ids(&fixture.git(&arguments));
        let middle = commits[COMMITS / 2].to_string();
        let tag = |name: &str, target: &str| {
            fixture.git(&["tag", "-a", "-m", "t", name, target]);
            fixture.id(&format!("refs/tags/{name}"))
        };
        let tags = vec![
            tag("commit", &middle),
            tag("tag", "commit"),
            tag("tree", &format!("{middle}^{{tree}}")),
            tag("blob", &format!("{middle}:f0")),
        ];
        let list = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"];
        let list = String::from_utf8(fixture.git(&list)).unwrap();
        let other = |line: &str| {
            let (id, kind) = line.split_once(' ').unwrap();
            let id = ObjectId::from_hex(id.as_bytes()).unwrap();
            matches!(kind, "tree" | "blob").then_some(id)
        };
        let others = list.lines().filter_map(other).collect();
        Self { fixture, commits, others, tags }
    }

    fn push(&self, random: &mut Random) -> Push {
        let some = |from: &[ObjectId], count: usize, random: &mut Random| {
            let count = random.below(count + 1);
            (0..count).map(|_| from[random.below(from.len())]).collect::<Vec<_>>()
        };
        let mut push = Push { refs: some(&self.commits, 4, random), ..Push::default() };
        push.refs.extend(some(&self.tags, 1, random));
        push.tips = vec![self.commits[random.below(COMMITS)]];
        push.tips.extend(some(&self.commits, 2, random));
        push.tips.extend(some(&self.tags, 1, random));
        let everything = [&self.commits[..], &self.others, &self.tags].concat();
        let share = random.below(4);
        push.pushed = everything.iter().filter(|_| random.below(4) < share).copied().collect();
        push.lost = some(&everything, 4, random).into_iter().collect();
        // git refuses every push to a repository with a ref to nothing; to us it reaches nothing.
        push.lost.retain(|id| !push.refs.contains(id));
        push
    }

    fn path(&self, id: &ObjectId) -> PathBuf {
        let hex = id.to_string();
        self.fixture.objects().join(&hex[..2]).join(&hex[2..])
    }

    /// Moves objects to another object directory, or back.
    fn carry(&self, ids: &BTreeSet<ObjectId>, to: &Path, back: bool) {
        for id in ids {
            let (here, there) = (self.path(id), to.join(hex_path(id)));
            fs::create_dir_all(there.parent().unwrap()).unwrap();
            let (from, to) = if back { (there, here) } else { (here, there) };
            fs::rename(from, to).unwrap();
        }
    }

    /// Whether git and we find the push complete.
    fn judge(&self, push: &Push, with_graph: bool) -> (bool, Result<(), ConnectivityError>) {
        let (quarantine, lost) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(quarantine.path().join("pack")).unwrap();
        let refs: String = push.refs.iter().map(|id| format!("{id} refs/x/{id}\n")).collect();
        fs::write(self.fixture.dir.path().join("packed-refs"), refs).unwrap();
        drop(fs::remove_dir_all(self.fixture.dir.path().join("refs")));
        fs::create_dir(self.fixture.dir.path().join("refs")).unwrap();
        let pushed = push.pushed.difference(&push.lost).copied().collect();
        self.carry(&push.lost, lost.path(), false);
        self.carry(&pushed, quarantine.path(), false);
        let git = self.git_judges(push, quarantine.path());
        let options = StoreOptions { commit_graph: with_graph, ..StoreOptions::default() };
        let store = Store::open(&self.fixture.objects(), &options).unwrap();
        let store = Arc::new(store.with_quarantine(quarantine.path()).unwrap());
        let mut complete = push.refs.clone();
        complete.extend(push.refs.iter().filter_map(|id| store.peel(id).ok().flatten()));
        let hints = push.refs.iter().take(1).chain(push.tips.first()).copied().collect();
        let mut checker = Checker::new(store, complete, hints, Cancel::default());
        let ours = checker.check(&push.tips);
        self.carry(&pushed, quarantine.path(), true);
        self.carry(&push.lost, lost.path(), true);
        (git, ours)
    }

    /// All that commits, tags and trees lead to.
    fn reached(&self, from: &[ObjectId]) -> BTreeSet<ObjectId> {
        let from: Vec<String> = from.iter().map(ToString::to_string).collect();
        let mut arguments = vec!["rev-list", "--objects", "--no-object-names"];
        arguments.extend(from.iter().map(String::as_str));
        let nothing = from.is_empty();
        if nothing {
            BTreeSet::new()
        } else {
            ids(&self.fixture.git(&arguments)).into_iter().collect()
        }
    }

    fn git_judges(&self, push: &Push, quarantine: &Path) -> bool {
        let mut git = Command::new("git");
        git.args(["-c", "core.commitGraph=false", "rev-list", "--objects", "--stdin", "--not"]);
        git.args(["--all", "--quiet"]).current_dir(self.fixture.dir.path());
        git.env("GIT_OBJECT_DIRECTORY", quarantine).env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.fixture.objects()).env("HOME", "/none");
        let mut child = git.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let tips: String = push.tips.iter().map(|id| format!("{id}\n")).collect();
        // git may have ended over the refs already.
        drop(std::io::Write::write_all(&mut child.stdin.take().unwrap(), tips.as_bytes()));
        child.wait().unwrap().success()
    }
}

fn ids(lines: &[u8]) -> Vec<ObjectId> {
    let lines = std::str::from_utf8(lines).unwrap().lines();
    lines.map(|line| ObjectId::from_hex(line.as_bytes()).unwrap()).collect()
}

fn hex_path(id: &ObjectId) -> PathBuf {
    let hex = id.to_string();
    Path::new(&hex[..2]).join(&hex[2..])
}

/// Commits on one another, of any age, over few files: trees and blobs come back.
fn history(random: &mut Random) -> String {
    let mut stream = String::new();
    let is_skewed = random.below(2) == 0;
    for number in 1..=COMMITS {
        let at = if is_skewed { random.below(COMMITS) } else { number };
        stream += &format!("commit refs/heads/{number}\nmark :{number}\n");
        stream +=
            &format!("committer C <c@example.com> {} +0000\ndata 1\n{}\n", 1_000 + at, at % 9);
        for (place, word) in ["from", "merge"].iter().take(random.below(3)).enumerate() {
            let parent = number.saturating_sub(1 + place + random.below(4));
            if parent > 0 {
                stream += &format!("{word} :{parent}\n");
            }
        }
        stream += "M 644 inline f0\ndata 2\nf0\n";
        for _ in 0..1 + random.below(3) {
            let directory = ["", "a/", "a/b/", "c/", "c/d/e/"][random.below(5)];
            let (name, content) = (random.below(3), random.below(6));
            stream += &format!("M 644 inline {directory}f{name}\ndata 2\nc{content}\n");
        }
        if random.below(5) == 0 {
            stream += &format!("M 160000 {} module\n", ObjectId::from_hex(&[b'7'; 40]).unwrap());
        }
        stream += "\n";
    }
    stream
}

#[test]
fn pushes_are_complete_where_git_says_so() {
    let (mut complete, mut incomplete, mut tolerated) = (0, 0, 0);
    for seed in 1..=6 {
        let mut random = Random(seed * 0x9e37_79b9 + 5);
        let world = World::new(&mut random);
        world.fixture.git(&["commit-graph", "write", "--reachable"]);
        for round in 0..14 {
            let push = world.push(&mut random);
            let (git, ours) = world.judge(&push, round % 2 == 0);
            let case = format!("seed {seed} round {round}: {push:?}");
            match &ours {
                Ok(()) => complete += 1,
                Err(error) if error.is_missing() => incomplete += 1,
                Err(error) => panic!("{case}: {error}"),
            }
            assert!(ours.is_ok() || !git, "{case}: {ours:?}");
            // git does not notice that refs lead to what is lost, if they do so elsewhere.
            if ours.is_ok() && !git {
                let (needed, had) = (world.reached(&push.tips), world.reached(&push.refs));
                let mut new = needed.difference(&had);
                assert!(!new.any(|id| push.lost.contains(id)), "{case}");
                tolerated += 1;
            }
        }
    }
    let told = format!("{complete} complete, {incomplete} not, {tolerated} only to us");
    assert!(complete > 15 && incomplete > 15 && tolerated < 5, "{told}");
}

#[test]
fn what_merely_exists_is_looked_at() {
    let mut random = Random(77);
    let world = World::new(&mut random);
    let last = *world.commits.last().unwrap();
    let blob = world.fixture.id(&format!("{last}:f0"));
    let mut push = Push { refs: Vec::new(), tips: vec![last], ..Push::default() };
    assert!(world.judge(&push, false).1.is_ok());
    // The commit is there, and no ref reaches it: its lost blob counts.
    push.lost = [blob].into();
    let error = world.judge(&push, false).1.unwrap_err();
    assert_eq!(error.to_string(), format!("missing blob {blob}"));
    // Once a ref reaches it, the gap is an old one.
    push.refs = vec![last];
    assert!(world.judge(&push, false).1.is_ok());
}

#[test]
fn a_check_ends_when_nobody_waits() {
    let fixture = Fixture::with_history(50);
    let store = Arc::new(fixture.store());
    let cancel = Cancel::default();
    cancel.cancel();
    let mut checker = Checker::new(store, Vec::new(), Vec::new(), cancel);
    let error = checker.check(&[fixture.id("main")]).unwrap_err();
    assert!(matches!(error, ConnectivityError::Cancelled), "{error}");
}
