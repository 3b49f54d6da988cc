//! The repository of the demo: generated, or a mirror of the one that `REPO` names.
//!
//! Always true: it lies at `storage/demo.git`, packed with a bitmap and a commit-graph, as a
//! maintained repository does.
//!
//! Never here: serving it.

use std::ffi::OsStr;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::client::{git, run};
use super::{DemoError, history};

/// Name below the storage.
pub(crate) const RELATIVE_PATH: &str = "demo.git";

/// A repository on disk.
pub(crate) struct DemoRepository {
    path: PathBuf,
}

/// Makes the repository below `folder`.
pub(crate) fn prepare(folder: &Path) -> Result<DemoRepository, DemoError> {
    let path = folder.join("storage").join(RELATIVE_PATH);
    let repository = DemoRepository { path };
    match std::env::var_os("REPO").filter(|value| !value.is_empty()) {
        Some(source) => repository.mirror(&source)?,
        None => repository.generate()?,
    }
    repository.git(&["config", "uploadpack.allowFilter", "true"])?;
    repository.git(&["repack", "-a", "-d", "-q", "--write-bitmap-index"])?;
    repository.git(&["commit-graph", "write", "--reachable", "--no-progress"])?;
    repository.git(&["pack-refs", "--all"])?;
    Ok(repository)
}

// === impl DemoRepository ===

impl DemoRepository {
    /// One line about it.
    pub(crate) fn describe(&self) -> Result<String, DemoError> {
        let count = self.git(&["count-objects", "-v"])?;
        let objects = count.lines().find_map(|line| line.strip_prefix("in-pack: ")).unwrap_or("0");
        let refs = self.git(&["for-each-ref", "--format=x"])?.lines().count();
        let commits = self.git(&["rev-list", "--count", "--all"])?;
        Ok(format!("repository: {objects} objects, {} commits, {refs} refs", commits.trim()))
    }

    /// Its URL for a client on the same machine without a node.
    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// Adds commits to the branch of HEAD, or to the first branch, as a push to the storage would.
    pub(crate) fn add_commits(&self) -> Result<(), DemoError> {
        let head = self.git(&["symbolic-ref", "-q", "HEAD"]).unwrap_or_default();
        let format = "--format=%(refname) %(objectname)";
        let branches = self.git(&["for-each-ref", format, "refs/heads/"])?;
        let of_head = branches.lines().find(|line| line.starts_with(&format!("{} ", head.trim())));
        let line = of_head.or(branches.lines().next()).ok_or(DemoError::NoBranch)?;
        let (branch, tip) = line.split_once(' ').ok_or(DemoError::NoBranch)?;
        self.import(|out| history::write_more(out, branch, tip))
    }

    fn generate(&self) -> Result<(), DemoError> {
        let path = self.path.as_os_str();
        let words = ["init", "--quiet", "--bare", "--initial-branch=main"].map(OsStr::new);
        run(git().args(words).arg(path))?;
        self.import(history::write)
    }

    fn mirror(&self, source: &OsStr) -> Result<(), DemoError> {
        // The user's own configuration may hold what is needed to reach the source.
        let mut command = std::process::Command::new("git");
        command.args(["clone", "--quiet", "--mirror"]).arg(source).arg(&self.path);
        run(&mut command)?;
        Ok(())
    }

    fn import(
        &self,
        write: impl FnOnce(BufWriter<std::process::ChildStdin>) -> std::io::Result<()>,
    ) -> Result<(), DemoError> {
        let failed = |source| DemoError::Io { what: "git fast-import".to_owned(), source };
        let mut command = git();
        command.arg("--git-dir").arg(&self.path).args(["fast-import", "--quiet", "--done"]);
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        let written = child.stdin.take().map_or(Ok(()), |stdin| write(BufWriter::new(stdin)));
        let status = child.wait().map_err(failed)?;
        written.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let command = "git fast-import".to_owned();
        Err(DemoError::Command { command, status: status.to_string(), stderr: String::new() })
    }

    fn git(&self, words: &[&str]) -> Result<String, DemoError> {
        run(git().arg("--git-dir").arg(&self.path).args(words))
    }
}
