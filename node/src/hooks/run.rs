//! One custom hook, from its start to its end.
//!
//! Always true:
//! - a hook that reads nothing, or prints faster than the pusher reads, is no reason to hang or to
//!   buffer: at most [`CHUNK_BYTES_MAX`] of what it printed are held;
//! - dropping the future kills the hook and what it has started in its process group.
//!
//! Never here: which hooks there are, and what their failure means.

use super::environment::Variables;
use super::{HookError, HookName};
use crate::reactor::children::{
    Account, Child, ChildCommand, Children, CommandName, Exit, Need, Output,
};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

/// Given to the sink at once.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024;
/// After the hook has ended, its outputs are waited for as long: what it has put into the
/// background may hold them for ever.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// The pusher does not read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pusher has left")]
pub struct Left;

/// The pusher's terminal. A write that waits makes the hook wait.
pub trait Sink {
    /// Something for standard output, at most 16 KiB unless GitLab says more at once.
    fn stdout(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), Left>>;
    /// Something for standard error, likewise.
    fn stderr(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), Left>>;
}

/// A sink that may be left: from then on it swallows everything.
pub(super) struct Leaving<'a, S> {
    sink: Option<&'a mut S>,
}

/// What all hooks are run with.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) children: Children,
    pub(super) inherited: Variables,
    pub(super) custom_hooks_dir: Option<PathBuf>,
    pub(super) run_time_max: Duration,
}

/// One hook to be run.
pub(super) struct Task<'a> {
    pub(super) name: HookName,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Variables,
    /// Where it runs.
    pub(super) git_dir: PathBuf,
    pub(super) stdin: &'a [u8],
    /// Whether what it says on both outputs keeps its order, all of it as standard error.
    pub(super) output: Output,
    pub(super) account: Arc<Account>,
}

/// Where a chunk came from.
enum Chunk {
    Stdout(usize),
    Stderr(usize),
}

// === impl Runner ===

impl Runner {
    /// Runs a hook; anything but exit code 0 is an error.
    pub(super) async fn run(&self, task: Task<'_>, sink: &mut impl Sink) -> Result<(), HookError> {
        let Task { name, program, args, env, git_dir, stdin, output, account } = task;
        let command = ChildCommand {
            // As Gitaly's metrics name them.
            name: CommandName { cmd: "gitaly-hooks", subcmd: name.as_str() },
            account,
            need: Need::hook(),
            program: program.clone(),
            args,
            env,
            current_dir: git_dir,
        };
        let child = self.children.spawn_with(command, output).await;
        let mut child = child.map_err(HookError::Spawn)?;
        let after = self.run_time_max;
        let exit = match timeout(after, converse(&mut child, stdin, sink)).await {
            Ok(exit) => exit?,
            // Dropping the child kills it.
            Err(_) => return Err(HookError::TimedOut { program, after }),
        };
        match exit.status.success() {
            true => Ok(()),
            false => Err(HookError::Failed { program, status: exit.status }),
        }
    }
}

async fn converse(
    child: &mut Child,
    input: &[u8],
    sink: &mut impl Sink,
) -> Result<Exit, HookError> {
    let (stdin, mut stdout) = (child.stdin.take(), child.stdout.take());
    let (stderr, exit) = child.stderr_and_exit();
    let mut stderr = Some(stderr);
    let (mut feeding, mut exit) = (pin!(feed(stdin, input)), pin!(exit));
    let (mut is_fed, mut ended) = (false, None);
    let mut lingering = pin!(sleep(Duration::MAX));
    let (mut out, mut err) = (vec![0; CHUNK_BYTES_MAX], vec![0; CHUNK_BYTES_MAX]);
    loop {
        if let Some(exit) = ended
            && stdout.is_none()
            && stderr.is_none()
        {
            return Ok(exit);
        }
        let chunk = tokio::select! {
            () = &mut feeding, if !is_fed => {
                is_fed = true;
                continue;
            }
            exited = &mut exit, if ended.is_none() => {
                ended = Some(exited.map_err(HookError::Pipe)?);
                lingering.set(sleep(LINGER_MAX));
                continue;
            }
            read = read(stdout.as_mut(), &mut out), if stdout.is_some() => {
                Chunk::Stdout(read.map_err(HookError::Pipe)?)
            }
            read = read(stderr.as_deref_mut(), &mut err), if stderr.is_some() => {
                Chunk::Stderr(read.map_err(HookError::Pipe)?)
            }
            () = &mut lingering, if ended.is_some() => {
                (stdout, stderr) = (None, None);
                continue;
            }
        };
        match chunk {
            Chunk::Stdout(0) => stdout = None,
            Chunk::Stderr(0) => stderr = None,
            Chunk::Stdout(bytes) => sink.stdout(&out[..bytes]).await?,
            Chunk::Stderr(bytes) => sink.stderr(&err[..bytes]).await?,
        }
    }
}

/// Dropping the pipe at the end is the hook's end of file.
async fn feed(stdin: Option<pipe::Sender>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        // It may end without having read everything; how it ended is judged by its exit.
        drop(stdin.write_all(input).await);
    }
}

async fn read(pipe: Option<&mut pipe::Receiver>, buffer: &mut [u8]) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read(buffer).await,
        None => Ok(0),
    }
}

// === impl Leaving ===

impl<'a, S: Sink> Leaving<'a, S> {
    pub(super) fn new(sink: &'a mut S) -> Self {
        Self { sink: Some(sink) }
    }
}

impl<S: Sink> Sink for Leaving<'_, S> {
    async fn stdout(&mut self, bytes: &[u8]) -> Result<(), Left> {
        if let Some(sink) = &mut self.sink
            && sink.stdout(bytes).await.is_err()
        {
            self.sink = None;
        }
        Ok(())
    }

    async fn stderr(&mut self, bytes: &[u8]) -> Result<(), Left> {
        if let Some(sink) = &mut self.sink
            && sink.stderr(bytes).await.is_err()
        {
            self.sink = None;
        }
        Ok(())
    }
}
