//! Short answers of git children: what is not read in process, and git's own version.
//!
//! Always true: an answer is bounded; a call that ends kills its child; what a child cost is on
//! the account of its call.
//! Never here: packs.

use crate::reactor::children::{ChildCommand, CommandName, Exit, Need, SpawnError};
use crate::rpc::Services;
use crate::rpc::fallback::gather;
use crate::rpc::gitaly::call::context::Context;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Of an answer. A version or a line per repository takes less.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What git is asked.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Asked<'a> {
    pub(in crate::rpc::gitaly) subcmd: &'static str,
    pub(in crate::rpc::gitaly) args: &'a [&'a OsStr],
    /// What it reads.
    pub(in crate::rpc::gitaly) input: &'a [u8],
    /// Where it runs.
    pub(in crate::rpc::gitaly) directory: PathBuf,
    /// What is read of its answer; if it says more, it dies.
    pub(in crate::rpc::gitaly) answer_bytes_max: u64,
}

/// What git said before it ended, however it did.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Answered {
    pub(in crate::rpc::gitaly) stdout: Vec<u8>,
    pub(in crate::rpc::gitaly) exit: Exit,
    pub(in crate::rpc::gitaly) complaint: String,
}

/// Why a child gave no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::rpc::gitaly) enum ChildError {
    /// It was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The pipes broke.
    #[error("read what git answers")]
    Pipe(#[from] io::Error),
    /// It failed.
    #[error("{status}, stderr: {complaint:?}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        complaint: String,
    },
}

/// What `git <subcmd> <args>` prints when it runs in `directory`.
pub(in crate::rpc::gitaly) async fn answer(
    services: &Services,
    context: &Context,
    subcmd: &'static str,
    args: &[&str],
    directory: PathBuf,
) -> Result<Vec<u8>, ChildError> {
    let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
    let answer_bytes_max = ANSWER_BYTES_MAX;
    let asked = Asked { subcmd, args: &args, input: b"", directory, answer_bytes_max };
    let Answered { stdout, exit, complaint } = ask(services, context, asked).await?;
    if !exit.status.success() {
        return Err(ChildError::Failed { status: exit.status, complaint });
    }
    Ok(stdout)
}

/// What git answers, and how it ends.
pub(in crate::rpc::gitaly) async fn ask(
    services: &Services,
    context: &Context,
    asked: Asked<'_>,
) -> Result<Answered, ChildError> {
    let args = std::iter::once(OsStr::new(asked.subcmd)).chain(asked.args.iter().copied());
    let mut child = services
        .children
        .spawn(ChildCommand {
            name: CommandName { cmd: "git", subcmd: asked.subcmd },
            account: context.account(),
            need: Need::question(),
            program: services.git.program.clone(),
            args: args.map(OsString::from).collect(),
            env: services.git.plain_environment(),
            current_dir: asked.directory,
        })
        .await?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let stderr = &mut child.stderr;
    let writing = async {
        if let Some(mut stdin) = stdin {
            // It may end without having read everything; how it ended is judged by its exit.
            drop(stdin.write_all(asked.input).await);
        }
        Ok(())
    };
    let reading = async {
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            // Dropped when enough is read: a child that goes on dies of it.
            stdout.take(asked.answer_bytes_max).read_to_end(&mut answer).await?;
        }
        Ok(answer)
    };
    let ((), stdout, complaint) = tokio::try_join!(writing, reading, gather(stderr))?;
    let exit = child.wait().await?;
    Ok(Answered { stdout, exit, complaint })
}
