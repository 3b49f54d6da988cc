//! Repositories made by git, and git's own answers about them.

use crate::ObjectId;
use crate::objects::{Kind, Store, StoreOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A bare repository in a temporary directory.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
}

/// One object as git sees it.
pub(crate) struct Expected {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) data: Vec<u8>,
}

/// A small generator of numbers: the same seed gives the same test.
pub(crate) struct Random(pub(crate) u64);

// === impl Random ===

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

// === impl Fixture ===

impl Fixture {
    pub(crate) fn empty() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        fixture.git(&["init", "-q", "--bare", "."]);
        fixture.git(&["config", "gc.auto", "0"]);
        fixture.git(&["config", "fastimport.unpackLimit", "0"]);
        fixture
    }

    /// A history of `commits`, with merges, an octopus, nested tags, and blobs that deltify.
    pub(crate) fn with_history(commits: usize) -> Self {
        let fixture = Self::empty();
        fixture.import("main", 1, commits);
        fixture.git(&["tag", "-a", "-m", "inner", "inner", "main"]);
        fixture.git(&["tag", "-a", "-m", "outer", "outer", "inner"]);
        fixture.git(&["tag", "-a", "-m", "blob", "of-blob", "main:big"]);
        fixture
    }

    /// Adds a branch with a history of its own, as one pack.
    pub(crate) fn import(&self, branch: &str, seed: u64, commits: usize) {
        let mut random = Random(seed * 0x9e37_79b9 + 7);
        let mut input = Vec::new();
        let mut lines: Vec<String> =
            (0..400).map(|line| format!("{branch} line {line} {}\n", random.below(9999))).collect();
        for number in 1..=commits {
            let line = random.below(lines.len());
            lines[line] = format!("{branch} changed by {number} {}\n", random.below(9999));
            let big = lines.concat();
            let time = 1_600_000_000 + number * 60;
            write!(input, "commit refs/heads/{branch}\nmark :{number}\n").unwrap();
            write!(input, "committer C <c@example.org> {time} +0000\ndata 5\nwork\n").unwrap();
            if number > 1 {
                writeln!(input, "from :{}", number - 1).unwrap();
            }
            // Every seventh is a merge, every twentieth an octopus.
            let merged = if number % 20 == 0 { 5 } else { usize::from(number % 7 == 0) };
            for back in 0..merged {
                writeln!(input, "merge :{}", number - 2 - back).unwrap();
            }
            write!(input, "M 644 inline big\ndata {}\n{big}\n", big.len()).unwrap();
            let small = format!("{branch} {number}");
            let name = format!("dir{}/file{}", number % 5, number % 40);
            write!(input, "M 644 inline {name}\ndata {}\n{small}\n", small.len()).unwrap();
        }
        self.git_with(&["fast-import", "--quiet", "--force"], &input);
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> Vec<u8> {
        self.git_with(arguments, b"")
    }

    pub(crate) fn git_with(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        git_in(self.dir.path(), arguments, input)
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.path().join("objects")
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.objects(), &StoreOptions::default()).unwrap()
    }

    /// The files below `objects` whose names end in `suffix`.
    pub(crate) fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![self.objects()];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else if path.to_str().unwrap().ends_with(suffix) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// Every object, alternates' included.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let list = self.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        let output = self.git_with(&["cat-file", "--batch"], &list);
        let mut rest = &output[..];
        let mut objects = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let header = std::str::from_utf8(&rest[..end]).unwrap();
            let [id, kind, size] = header.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let size: usize = size.parse().unwrap();
            objects.push(Expected {
                id: ObjectId::from_hex(id.as_bytes()).unwrap(),
                kind: Kind::from_bytes(kind.as_bytes()).unwrap(),
                data: rest[end + 1..end + 1 + size].to_vec(),
            });
            rest = &rest[end + 2 + size..];
        }
        assert!(!objects.is_empty());
        objects
    }

    pub(crate) fn id(&self, revision: &str) -> ObjectId {
        ObjectId::from_hex(self.git(&["rev-parse", revision]).trim_ascii()).unwrap()
    }
}

/// Runs git, which must succeed, with nothing of the surrounding configuration.
pub(crate) fn git_in(dir: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("git")
        .args(["-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_COMMITTER_DATE", "1700000000 +0000")])
        .envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@example.org")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {complaint}");
    output.stdout
}
