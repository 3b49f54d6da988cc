//! Children: git processes, each in a process group of its own.
//!
//! ```text
//!   spawn: permit ──► spawning thread ──► pipes to the caller
//!          (budget)         └──► reaper: pidfd readable ──► kill group, wait4 ──► permit back
//! ```
//!
//! Always true:
//! - at most `children_max` children exist, zombies included, and what they are expected to take
//!   is within the budget of memory (`budget`); whoever waits does so for at most `WAIT_MAX`;
//! - dropping a [`Child`] kills its whole group; when a leader has ended, what is left of its
//!   group is killed before its number can be given to another;
//! - a permit returns after the child was reaped, never before;
//! - what a child used is on its account before anybody is told that it has ended.
//!
//! Never: `pre_exec`, which makes spawn fork instead of vfork: 66 ms at 2 GiB of memory.

mod account;
mod admission;
mod budget;
mod metrics;
mod need;
mod reap;
mod spawn;
mod standing;

pub use self::account::{Account, Cost, Usage};
pub use self::budget::{Budget, Share};
pub use self::need::{Need, PackWork};
pub use self::standing::Standing;

use self::admission::{Admission, Permit};
use self::budget::LANE_CALLERS_MAX;
use self::metrics::Metrics;
use self::reap::Group;
use prometheus::Registry;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// How long a caller waits for a permit. Longer, and proxies in front have given up.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Asked for a child's stdout: fewer, larger reads. Unprivileged users may have up to
/// /proc/sys/fs/pipe-max-size, 1 MiB unless changed.
pub(crate) const STDOUT_PIPE_BYTES: usize = 1 << 20;

/// The variable that tells children the correlation id of their call, as Gitaly's tell theirs.
pub const CORRELATION_ID: &str = "CORRELATION_ID";

/// What to start. The environment is exactly `env`, and [`CORRELATION_ID`].
#[derive(Debug)]
pub struct ChildCommand {
    /// How metrics name it.
    pub name: CommandName,
    /// Who pays for it.
    pub account: Arc<Account>,
    /// What it is expected to take.
    pub need: Need,
    /// Absolute.
    pub program: PathBuf,
    /// Without the program's name.
    pub args: Vec<OsString>,
    /// Nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub current_dir: PathBuf,
}

/// Standard output and standard error of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A pipe for each.
    Apart,
    /// One pipe for both, read as standard error: what was said first comes first.
    Joined,
}

/// A command as Gitaly's metrics name it: `git`, `upload-pack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandName {
    /// The program.
    pub cmd: &'static str,
    /// Its subcommand.
    pub subcmd: &'static str,
}

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Too many callers wait already.
    #[error("all children are in use and {LANE_CALLERS_MAX} callers wait")]
    Full,
    /// No child ended in time, or none that left enough memory.
    #[error("no child became free within {} s", WAIT_MAX.as_secs())]
    Timeout,
    /// The system refused.
    #[error("start {program}")]
    Io {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How a child ended.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// What it used.
    pub usage: Usage,
}

/// A running child. Dropping it kills its process group.
#[derive(Debug)]
pub struct Child {
    /// Taken by whoever writes; dropping it is the child's end of file.
    pub stdin: Option<pipe::Sender>,
    /// What the child answers; taken by whoever reads. None if it is [`Output::Joined`].
    pub stdout: Option<pipe::Receiver>,
    /// What the child complains about.
    pub stderr: pipe::Receiver,
    life: Life,
}

/// A started child's ends, before they belong to a runtime.
struct Started {
    stdin: OwnedFd,
    stdout: Option<OwnedFd>,
    stderr: OwnedFd,
    life: Life,
}

/// Kills the group when dropped.
#[derive(Debug)]
struct Life {
    group: Arc<Group>,
    exit: oneshot::Receiver<Exit>,
}

/// One child to be started, on its way to the spawning thread.
struct Order {
    command: ChildCommand,
    output: Output,
    permit: Permit,
    reply: oneshot::Sender<io::Result<Started>>,
}

/// Starts children, from any reactor.
#[derive(Debug, Clone)]
pub struct Children {
    admission: Admission,
    orders: std::sync::mpsc::SyncSender<Order>,
    metrics: Metrics,
}

// === impl Children ===

impl Children {
    /// Starts the spawning thread and the reaper. Metrics say `git_version`.
    pub fn start(
        budget: Budget,
        standing: Standing,
        git_version: &str,
        registry: &Registry,
    ) -> io::Result<Self> {
        let metrics = Metrics::register(registry, git_version, &budget);
        let births = reap::start(budget.children_max, metrics.clone())?;
        // Every order holds a permit, so the channel has room for each.
        let (orders, inbox) = std::sync::mpsc::sync_channel(budget.children_max);
        std::thread::Builder::new()
            .name("spawn".to_owned())
            .spawn(move || spawn::run(&inbox, &births, &standing))?;
        Ok(Self { admission: Admission::new(budget, metrics.clone()), orders, metrics })
    }

    /// How long callers have waited for permits so far, and how many were served, those that did
    /// not wait among them.
    pub fn waits(&self) -> (Duration, u64) {
        let waited = &self.metrics.waited;
        (Duration::from_secs_f64(waited.get_sample_sum()), waited.get_sample_count())
    }

    /// Waits for a permit and starts a child. Dropping the future leaves no child behind.
    pub async fn spawn(&self, command: ChildCommand) -> Result<Child, SpawnError> {
        self.spawn_with(command, Output::Apart).await
    }

    /// As [`Self::spawn`], with outputs that lead elsewhere.
    pub async fn spawn_with(
        &self,
        command: ChildCommand,
        output: Output,
    ) -> Result<Child, SpawnError> {
        let (name, account) = (command.name, Arc::clone(&command.account));
        let began = Instant::now();
        let permit = self.admission.permit(command.need, &account).await;
        let waited = began.elapsed();
        self.metrics.waited.observe(waited.as_secs_f64());
        account.waited(waited, permit.as_ref().err());
        let permit = permit?;
        let (reply, answer) = oneshot::channel();
        let program = command.program.clone();
        let began = Instant::now();
        let gone = || io::Error::other("the spawning thread died");
        let started = match self.orders.try_send(Order { command, output, permit, reply }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        let forking = began.elapsed();
        self.metrics.forking.observe(forking.as_secs_f64());
        account.forked(forking);
        let child = started.and_then(Child::adopt);
        let child = child.map_err(|source| SpawnError::Io { program, source })?;
        account.started();
        self.metrics.spawned.with_label_values(&[name.cmd, name.subcmd]).inc();
        Ok(child)
    }

    /// Returns once no child is left, zombies included.
    pub async fn ended(&self) {
        self.admission.idle().await;
    }
}

// === impl Child ===

impl Child {
    /// Waits until the child has ended and was reaped.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        (&mut self.life.exit).await.map_err(|_| io::Error::other("the reaper died"))
    }

    /// What the child complains about, and its end, to be waited for side by side.
    pub fn stderr_and_exit(
        &mut self,
    ) -> (&mut pipe::Receiver, impl Future<Output = io::Result<Exit>> + '_) {
        let Self { stderr, life, .. } = self;
        let exit =
            async { (&mut life.exit).await.map_err(|_| io::Error::other("the reaper died")) };
        (stderr, exit)
    }

    /// Registers the pipes with the caller's reactor.
    fn adopt(started: Started) -> io::Result<Self> {
        let Started { stdin, stdout, stderr, life } = started;
        if let Some(stdout) = &stdout {
            // Refused where a user holds too many pipe pages: then reads are smaller, no more.
            let _ = rustix::pipe::fcntl_setpipe_size(stdout, STDOUT_PIPE_BYTES);
        }
        Ok(Self {
            stdin: Some(pipe::Sender::from_owned_fd(stdin)?),
            stdout: stdout.map(pipe::Receiver::from_owned_fd).transpose()?,
            stderr: pipe::Receiver::from_owned_fd(stderr)?,
            life,
        })
    }
}

// === impl Life ===

impl Drop for Life {
    fn drop(&mut self) {
        self.group.kill();
    }
}

#[cfg(test)]
mod tests;
