//! Snapshots compared with what git says of the same repository.

mod at_once;
mod enter;
mod hidden;
mod listing;
mod races;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::*;

/// A repository in a directory that goes with it.
struct Sandbox {
    root: tempfile::TempDir,
    git_dir: PathBuf,
}

// === impl Sandbox ===

impl Sandbox {
    /// A bare repository with the commits `c1` to `c<n>`, each under the ref `refs/keep/c<n>`.
    fn new(commits: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let git_dir = root.path().canonicalize().unwrap().join("repository.git");
        let sandbox = Self { root, git_dir };
        let path = sandbox.git_dir.to_str().unwrap().to_owned();
        sandbox.run(&["init", "-q", "--bare", "-b", "main", &path], Path::new("/"));
        let tree = sandbox.git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
        for n in 1..=commits {
            let id = sandbox.git(&["commit-tree", &tree, "-m", &format!("commit {n}")]);
            sandbox.git(&["update-ref", &format!("refs/keep/c{n:04}"), &id]);
        }
        sandbox
    }

    fn command(&self, arguments: &[&str], directory: &Path) -> Command {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.root.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "A").env(format!("GIT_{role}_EMAIL"), "a@b");
        }
        command.args(arguments).current_dir(directory);
        command
    }

    fn run(&self, arguments: &[&str], directory: &Path) -> Output {
        let output = self.command(arguments, directory).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        output
    }

    /// What git prints, trimmed.
    fn git(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, &self.git_dir);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn commit(&self, n: usize) -> String {
        self.git(&["rev-parse", &format!("refs/keep/c{n:04}")])
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.git_dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn open(&self) -> Repository {
        let home = Some(self.root.path().to_path_buf());
        Repository::open(&self.git_dir, Environment { home, ..Environment::default() }).unwrap()
    }
}

/// Long enough for every stamp to settle.
fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

/// `<id> <name> <peeled id or -> <target of a symbolic ref or ->`, a line a ref.
fn shown(snapshot: &Snapshot) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let lines = snapshot.refs.iter().map(|one| {
        let peeled = or_dash(one.peeled.map(|id| id.to_string()));
        let target = or_dash(one.symref_target.as_ref().map(ToString::to_string));
        format!("{} {} {peeled} {target}\n", one.target, one.name)
    });
    lines.collect()
}

/// The same from `git ls-remote`, which is what `git upload-pack` tells.
fn told_by_git(sandbox: &Sandbox, directory: &Path) -> (String, Option<String>) {
    let path = directory.to_str().unwrap();
    let arguments = ["-c", "protocol.version=2", "ls-remote", "--symref", path];
    let output = sandbox.command(&arguments, Path::new("/")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut refs: BTreeMap<String, (String, String, String)> = BTreeMap::new();
    let mut targets = BTreeMap::new();
    for line in text.lines() {
        let (value, name) = line.split_once('\t').unwrap();
        if let Some(target) = value.strip_prefix("ref: ") {
            targets.insert(name.to_owned(), target.to_owned());
        } else if let Some(name) = name.strip_suffix("^{}") {
            refs.get_mut(name).unwrap().1 = value.to_owned();
        } else {
            let target = targets.get(name).cloned().unwrap_or_else(|| "-".to_owned());
            refs.insert(name.to_owned(), (value.to_owned(), "-".to_owned(), target));
        }
    }
    let head = refs.remove("HEAD").map(|(id, _, target)| format!("{id} {target}"));
    let lines =
        refs.iter().map(|(name, (id, peeled, target))| format!("{id} {name} {peeled} {target}\n"));
    (lines.collect(), head)
}

fn shown_head(head: &crate::refs::Head) -> Option<String> {
    use crate::refs::Head;
    match head {
        Head::Missing | Head::Symbolic { id: None, .. } => None,
        Head::Detached(id) => Some(format!("{id} -")),
        Head::Symbolic { target, id: Some(id) } => Some(format!("{id} {target}")),
    }
}

/// That a new snapshot holds what git tells of the repository.
fn check_as_git(sandbox: &Sandbox, repository: &Repository, case: &str) {
    let snapshot = repository.snapshot().unwrap();
    let (refs, head) = told_by_git(sandbox, repository.git_dir());
    assert_eq!(shown(&snapshot), refs, "{case}");
    assert_eq!(shown_head(&snapshot.head), head, "{case}");
}
