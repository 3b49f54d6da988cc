//! Transactions compared with git's, raced with git's, and cut off at every instant.

mod crashes;
mod differential;
mod failures;
mod kills;
mod locks;
mod races;
mod stored;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::*;
use crate::files::FileCalls;
use crate::repository::{Environment, Repository};

/// A bare repository in a directory that goes with it.
pub(super) struct Sandbox {
    _root: tempfile::TempDir,
    pub(super) git_dir: PathBuf,
    /// Of the commits `c0`, `c1`, …
    pub(super) commits: Vec<ObjectId>,
}

// === impl Sandbox ===

impl Sandbox {
    pub(super) fn new(commits: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let git_dir = root.path().canonicalize().unwrap().join("repository.git");
        let mut sandbox = Self { _root: root, git_dir, commits: Vec::new() };
        let path = sandbox.git_dir.to_str().unwrap().to_owned();
        let output =
            command(Path::new("/"), &["init", "-q", "--bare", "-b", "main", &path]).output();
        assert!(output.unwrap().status.success());
        let tree = sandbox.git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
        for n in 0..commits {
            let id = sandbox.git(&["commit-tree", &tree, "-m", &format!("c{n}")]);
            sandbox.commits.push(ObjectId::from_hex(id.as_bytes()).unwrap());
        }
        sandbox
    }

    pub(super) fn try_git(&self, arguments: &[&str]) -> Output {
        command(&self.git_dir, arguments).output().unwrap()
    }

    /// What git prints, trimmed.
    pub(super) fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(super) fn open(&self) -> (RefFiles, Arc<Store>) {
        open(&self.git_dir)
    }

    /// All refs and HEAD, as git tells them.
    pub(super) fn told_by_git(&self) -> String {
        let format = "--format=%(objectname) %(refname) %(symref)";
        let head = self.try_git(&["symbolic-ref", "HEAD"]);
        format!(
            "{}\n{}",
            String::from_utf8_lossy(&head.stdout),
            self.git(&["for-each-ref", format])
        )
    }

    /// The names of all files of refs, packed or not, and of locks.
    pub(super) fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        list(&self.git_dir.join("refs"), "refs", &mut names);
        for entry in std::fs::read_dir(&self.git_dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".lock") {
                names.push(name);
            }
        }
        names.sort();
        names
    }
}

pub(super) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "A").env(format!("GIT_{role}_EMAIL"), "a@b");
    }
    command.args(arguments).current_dir(directory);
    command
}

pub(super) fn open(git_dir: &Path) -> (RefFiles, Arc<Store>) {
    let snapshot = repository(git_dir).snapshot().unwrap();
    (RefFiles::of(&snapshot).unwrap(), Arc::clone(&snapshot.store))
}

pub(super) fn repository(git_dir: &Path) -> Repository {
    Repository::open(git_dir, Environment::default()).unwrap()
}

/// Recovers until nothing of ours is left. A child of another test, which has not got to its own
/// program yet, may hold the flock of a session that this process has ended.
pub(super) fn recover_all(sandbox: &Sandbox, files: &RefFiles, case: &str) -> Recovered {
    let began = std::time::Instant::now();
    let mut total = Recovered::default();
    loop {
        let recovered = recover(files).unwrap_or_else(|error| panic!("{case}: {error}"));
        total.finished += recovered.finished;
        total.undone += recovered.undone;
        total.locks += recovered.locks;
        let room = std::fs::read_dir(files.room()).into_iter().flatten();
        let mut left: Vec<_> = room.map(|entry| entry.unwrap().path()).collect();
        let locks = sandbox.files().into_iter().filter(|name| name.ends_with(".lock"));
        left.extend(locks.map(PathBuf::from));
        if left.is_empty() {
            return total;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{case}: {left:?}");
    }
}

/// All refs as our readers tell them.
pub(super) fn refs(git_dir: &Path, case: &str) -> BTreeMap<BString, ObjectId> {
    let snapshot = repository(git_dir).snapshot().unwrap();
    assert!(snapshot.refs.iter().all(|one| !one.is_broken()), "{case}: {:?}", snapshot.refs);
    snapshot.refs.iter().map(|one| (one.name.clone(), one.target)).collect()
}

/// Prepares and commits; the error's words, with the directory and the commits named.
pub(super) fn write(sandbox: &Sandbox, updates: Vec<Update>) -> Result<(), String> {
    let (files, objects) = sandbox.open();
    let said = |said: String| {
        let mut said = said.replace(sandbox.git_dir.to_str().unwrap(), "DIR");
        for (n, id) in sandbox.commits.iter().enumerate() {
            said = said.replace(&id.to_string(), &format!("c{n}"));
        }
        said
    };
    let prepared = prepare(&files, &objects, updates);
    let prepared = prepared.map_err(|error| said(error.to_string()))?;
    prepared.commit().map_err(|error| said(error.to_string()))
}

pub(super) fn set(name: &str, id: ObjectId) -> Update {
    Update::new(name, Expected::Any, Change::Set(id))
}

fn list(directory: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &name, names);
        } else {
            names.push(name);
        }
    }
}

/// Numbers that a seed decides.
pub(super) struct Random(u64);

// === impl Random ===

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
