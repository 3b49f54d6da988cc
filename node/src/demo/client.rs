//! Stock git as a client: the requests of the demo, and what a clone holds afterwards.
//!
//! Always true: the commands to the node and to stock git are the same but for the URL.
//!
//! Never here: counting what a request costs; the servers do that.

use std::path::PathBuf;
use std::process::Command;

use super::DemoError;

/// One request of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Everything, in protocol version 0.
    FullV0,
    /// Everything, in protocol version 2.
    FullV2,
    /// One commit of one branch.
    Depth1,
    /// Everything but file contents.
    BlobNone,
    /// Commits that were added behind the full clone.
    Incremental,
    /// Nothing new.
    NoOp,
    /// One commit to a new branch.
    Push,
}

/// A client with its folder of clones.
pub(crate) struct Client {
    folder: PathBuf,
    url: String,
    /// Stock git as the server; `None` over HTTP.
    stock: Option<Programs>,
}

/// Lines for the shell that start stock servers.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The value of `--upload-pack`.
    pub(crate) upload_pack: String,
    /// The value of `--receive-pack`.
    pub(crate) receive_pack: String,
}

/// Makes a commit the same each time.
const COMMIT_ENVIRONMENT: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "Demo"),
    ("GIT_AUTHOR_EMAIL", "demo@example.com"),
    ("GIT_AUTHOR_DATE", "1700000000 +0000"),
    ("GIT_COMMITTER_NAME", "Demo"),
    ("GIT_COMMITTER_EMAIL", "demo@example.com"),
    ("GIT_COMMITTER_DATE", "1700000000 +0000"),
];

/// git without the configuration of the user or the system.
pub(crate) fn git() -> Command {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_TERMINAL_PROMPT", "0").env_remove("GIT_DIR");
    command
}

/// What `git version` prints.
pub(crate) fn git_version() -> Result<String, DemoError> {
    Ok(run(git().arg("version"))?.trim().to_owned())
}

/// Runs a command and returns what it printed; its failure is an error with its last words.
pub(crate) fn run(command: &mut Command) -> Result<String, DemoError> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let what = words.join(" ");
    let output = command.output();
    let output = output.map_err(|source| DemoError::Io { what: what.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(DemoError::Command { command: what, status: output.status.to_string(), stderr })
}

// === impl Request ===

impl Request {
    /// In the order in which they build on each other.
    pub(crate) const ALL: &[Self] = &[
        Self::FullV0,
        Self::FullV2,
        Self::Depth1,
        Self::BlobNone,
        Self::Incremental,
        Self::NoOp,
        Self::Push,
    ];

    /// What the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullV0 => "clone, protocol v0",
            Self::FullV2 => "clone, protocol v2",
            Self::Depth1 => "clone --depth 1",
            Self::BlobNone => "clone --filter=blob:none",
            Self::Incremental => "fetch of 25 commits",
            Self::NoOp => "fetch of nothing",
            Self::Push => "push of a commit",
        }
    }

    /// The clone that the request makes or brings up to date.
    fn clone_name(self) -> &'static str {
        match self {
            Self::FullV0 => "v0",
            Self::FullV2 | Self::Incremental | Self::NoOp | Self::Push => "v2",
            Self::Depth1 => "depth1",
            Self::BlobNone => "blob-none",
        }
    }
}

// === impl Client ===

impl Client {
    /// A client that keeps its clones in `folder`.
    pub(crate) fn new(
        folder: PathBuf,
        url: String,
        stock: Option<Programs>,
    ) -> Result<Self, DemoError> {
        std::fs::create_dir_all(&folder)
            .map_err(|source| DemoError::Io { what: folder.display().to_string(), source })?;
        Ok(Self { folder, url, stock })
    }

    /// Sends the request and waits for its end.
    pub(crate) fn play(&self, request: Request) -> Result<(), DemoError> {
        let version = if request == Request::FullV0 { 0 } else { 2 };
        let mut command = git();
        command.arg("-c").arg(format!("protocol.version={version}"));
        command.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        let clone = self.folder.join(request.clone_name());
        let options: &[&str] = match request {
            Request::FullV0 | Request::FullV2 => &["--mirror"],
            Request::Depth1 => &["--bare", "--depth", "1"],
            Request::BlobNone => &["--bare", "--filter=blob:none"],
            Request::Incremental | Request::NoOp => {
                command.arg("-C").arg(&clone).args(["fetch", "--quiet"]).args(self.upload_pack());
                return run(command.arg("origin")).map(drop);
            }
            Request::Push => return self.push(),
        };
        command.args(["clone", "--quiet"]).args(self.upload_pack()).args(options);
        run(command.arg(&self.url).arg(&clone)).map(drop)
    }

    fn push(&self) -> Result<(), DemoError> {
        let commit = self.commit()?;
        let mut command = git();
        command.arg("-C").arg(self.folder.join(Request::Push.clone_name()));
        command.args(["push", "--quiet"]);
        let stock = self.stock.as_ref();
        command.args(stock.map(|stock| format!("--receive-pack={}", stock.receive_pack)));
        run(command.arg(&self.url).arg(format!("{commit}:{}", self.branch()))).map(drop)
    }

    /// The commit that is pushed; made again, it is the same.
    fn commit(&self) -> Result<String, DemoError> {
        let mut command = git();
        command.arg("-C").arg(self.folder.join(Request::Push.clone_name()));
        command.args(["commit-tree", "-p", "HEAD", "-m", self.branch(), "HEAD^{tree}"]);
        let commit = run(command.envs(COMMIT_ENVIRONMENT))?;
        Ok(commit.trim().to_owned())
    }

    /// What the client pushes to: both sides have one repository.
    fn branch(&self) -> &'static str {
        if self.stock.is_some() {
            "refs/heads/pushed-to-stock"
        } else {
            "refs/heads/pushed-to-node"
        }
    }

    fn upload_pack(&self) -> Option<String> {
        self.stock.as_ref().map(|stock| format!("--upload-pack={}", stock.upload_pack))
    }

    /// Lets git judge the clone.
    pub(crate) fn fsck(&self, request: Request) -> Result<(), DemoError> {
        self.git(request, &["fsck", "--full", "--no-dangling", "--no-progress"]).map(drop)
    }

    /// Refs, shallow boundary and every object id of the clone; of a push, whether it arrived.
    pub(crate) fn picture(&self, request: Request) -> Result<Vec<String>, DemoError> {
        if request == Request::Push {
            let told = self.git(request, &["ls-remote", &self.url, self.branch()])?;
            let is_there = told.starts_with(&self.commit()?);
            return Ok(vec![format!("pushed: {is_there}")]);
        }
        let refs = self.git(request, &["for-each-ref", "--format=%(objectname) %(refname)"])?;
        let batch = ["cat-file", "--batch-all-objects", "--batch-check", "--unordered"];
        let objects = self.git(request, &batch)?;
        let shallow = self.folder.join(request.clone_name()).join("shallow");
        let shallow = std::fs::read_to_string(shallow).unwrap_or_default();
        let lines = refs.lines().chain(shallow.lines()).chain(objects.lines());
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort_unstable();
        Ok(lines)
    }

    fn git(&self, request: Request, words: &[&str]) -> Result<String, DemoError> {
        run(git().arg("--git-dir").arg(self.folder.join(request.clone_name())).args(words))
    }
}
