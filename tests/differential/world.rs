//! A random repository, and what a request may name in it.
//!
//! Always true: what is in it follows from the generator alone.
//! Never here: requests.

use std::collections::HashMap;
use std::fs;

use gitring_tests::git;
use gitring_tests::history::{Mark, Stream, write};
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};
use tempfile::TempDir;

/// A repository and the names of what it holds.
pub(super) struct World {
    /// Removed with the value.
    _folder: TempDir,
    pub(super) repository: Repository,
    /// Ids of commits, parents before children.
    pub(super) commits: Vec<String>,
    pub(super) parents: HashMap<String, Vec<String>>,
    /// Annotated tags, some of tags.
    pub(super) tags: Vec<String>,
    /// Trees and blobs.
    pub(super) others: Vec<String>,
    /// Names as `deepen-not` takes them, some of which mean nothing or two things.
    pub(super) names: Vec<&'static str>,
    /// Dates lie between the first one and so many seconds later.
    pub(super) seconds: u64,
    /// Stock git counts `deepen-relative` from the wants' side of the boundary, as we do; it did
    /// so from the boundary of all refs before.
    pub(super) relative: bool,
    /// There is a commit-graph. It makes stock git's version 0 forget the new boundary when it
    /// says `ready`.
    pub(super) graph: bool,
    /// A ref is hidden. Stock git's version 0 takes its tip for a commit that the client has when
    /// it first judges whether it is ready.
    pub(super) hidden: bool,
}

// === impl World ===

impl World {
    /// A repository of 5 to 44 commits.
    pub(super) fn new(random: &mut Random) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let repository = Repository::create(folder.path(), "server", Kind::Empty);
        repository.allow_everything().set("pack.threads", "1");
        let hidden = policy(&repository, random);
        let mut history = Generated::new(random);
        let count = 5 + random.below(40);
        (0..count).for_each(|_| history.commit(random));
        history.refs(random);
        let (commits, parents, tags, blobs) = history.import(&repository);
        let mut others = blobs;
        others.push(repository.id("main^{tree}"));
        let graph = random.below(3) == 0;
        if graph {
            repository.git(&["commit-graph", "write", "--reachable"]);
        }
        if random.below(2) == 0 {
            repository.git(&["repack", "-adq"]);
        }
        let names = vec![
            "main",
            "side",
            "heads/side",
            "refs/heads/both",
            "both",
            "t0",
            "refs/tags/t0",
            "tags/nested",
            "HEAD",
            "none",
        ];
        let seconds = count as u64 * 60;
        let relative = counts_from_wants();
        Self {
            _folder: folder,
            repository,
            commits,
            parents,
            tags,
            others,
            names,
            seconds,
            relative,
            graph,
            hidden,
        }
    }
}

/// Settings that decide who may want what in version 0.
///
/// True where a ref is hidden.
fn policy(repository: &Repository, random: &mut Random) -> bool {
    if random.below(2) == 0 {
        return false;
    }
    repository.set("uploadpack.allowAnySHA1InWant", "false");
    for key in ["uploadpack.allowTipSHA1InWant", "uploadpack.allowReachableSHA1InWant"] {
        if random.below(2) == 0 {
            repository.set(key, "true");
        }
    }
    let hidden = random.below(2) == 0;
    if hidden {
        repository.set("transfer.hideRefs", "refs/heads/side");
    }
    hidden
}

/// Since git 2.54.
fn counts_from_wants() -> bool {
    let version = git::run(std::path::Path::new("/"), &["version"]);
    let numbers: Vec<u32> = version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    numbers.as_slice() >= [2, 54].as_slice()
}

/// A history on its way into fast-import.
struct Generated {
    stream: Stream,
    commits: Vec<Mark>,
    parents: Vec<Vec<usize>>,
    blobs: Vec<Mark>,
    tags: Vec<Mark>,
    /// Of three clocks: right, wrong by minutes, wrong by anything.
    clock: usize,
}

type Imported = (Vec<String>, HashMap<String, Vec<String>>, Vec<String>, Vec<String>);

// === impl Generated ===

impl Generated {
    fn new(random: &mut Random) -> Self {
        Self {
            stream: Stream::new(random.next_u64()),
            commits: Vec::new(),
            parents: Vec::new(),
            blobs: Vec::new(),
            tags: Vec::new(),
            clock: random.below(3),
        }
    }

    fn commit(&mut self, random: &mut Random) {
        let count = self.commits.len();
        let mut parents = Vec::new();
        for _ in 0..[1, 1, 1, 2, 2, 3][random.below(6)] {
            // Near ancestors mostly: long histories with merges, not bushes.
            let back = if random.below(4) == 0 { count } else { count.min(4) };
            if back > 0 && random.below(30) > 0 {
                parents.push(count - 1 - random.below(back));
            }
        }
        parents.sort_unstable();
        parents.dedup();
        let now = 1_000 + count as u64 * 60;
        self.stream.at(match self.clock {
            0 => now,
            1 => now + random.below(600) as u64 - 300,
            _ => 1_000 + random.below(2_400) as u64,
        });
        let length = 1 + random.below(30);
        let blob = self.stream.text(length);
        let path = format!("d{}/f{}", random.below(3), random.below(4));
        let marks: Vec<Mark> = parents.iter().map(|at| self.commits[*at]).collect();
        let branch = format!("refs/heads/x{count}");
        let mark = self.stream.commit(&branch, &marks, &[write(&path, blob)]);
        self.blobs.push(blob);
        self.commits.push(mark);
        self.parents.push(parents);
    }

    fn refs(&mut self, random: &mut Random) {
        let last = self.commits.len() - 1;
        self.stream.reset("refs/heads/main", self.commits[last]);
        for name in ["refs/heads/side", "refs/heads/both", "refs/tags/both"] {
            self.stream.reset(name, self.commits[random.below(last + 1)]);
        }
        for number in 0..4 {
            let target = self.commits[random.below(last + 1)];
            self.tags.push(self.stream.tag(&format!("t{number}"), target));
        }
        self.tags.push(self.stream.tag("nested", self.tags[random.below(4)]));
    }

    /// Feeds the stream to git and drops most of the branches that held it together.
    fn import(self, repository: &Repository) -> Imported {
        let marks_file = repository.path.join("marks");
        let export = format!("--export-marks={}", marks_file.display());
        let arguments = ["fast-import", "--quiet", "--done", "--force", &export];
        git::run_with(&repository.path, &arguments, &self.stream.finish());
        let text = fs::read_to_string(marks_file).expect("fast-import writes its marks");
        let line = |line: &str| {
            let (mark, id) = line.strip_prefix(':')?.split_once(' ')?;
            Some((mark.parse::<usize>().ok()?, id.to_owned()))
        };
        let ids: HashMap<usize, String> = text.lines().filter_map(line).collect();
        let id = |mark: &Mark| ids[&mark.number()].clone();
        let deleted: String = (0..self.commits.len())
            .filter(|number| number % 3 > 0)
            .map(|number| format!("delete refs/heads/x{number}\n"))
            .collect();
        git::run_with(&repository.path, &["update-ref", "--stdin"], deleted.as_bytes());
        let commits: Vec<String> = self.commits.iter().map(id).collect();
        let parents = self.parents.iter().enumerate().map(|(at, parents)| {
            (commits[at].clone(), parents.iter().map(|at| commits[*at].clone()).collect())
        });
        let parents = parents.collect();
        let tags = self.tags.iter().map(id).collect();
        (commits, parents, tags, self.blobs.iter().map(id).collect())
    }
}
