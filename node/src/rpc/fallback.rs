//! The way out: a `git upload-pack` child gets the whole call.
//!
//! ```text
//!   input ──► stdin ─┐
//!                git upload-pack ── stdout ──► output
//! ```
//!
//! Always true:
//! - a pipe that is full stops the side that fills it; nothing is buffered beyond one chunk;
//! - the child's death is an error, whatever it had sent by then;
//! - dropping the future kills the child and its helpers.

use super::Services;
use super::feed::feed;
use super::wire::{Call, FetchError, Input, Operation, Output, Summary};
use crate::reactor::children::{Child, ChildCommand, CommandName, Need};
use bytes::{Bytes, BytesMut};
use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Read at once from the child. A side-band packet is 65,520 bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Kept of the child's standard error.
const COMPLAINT_BYTES_MAX: usize = 4096;
/// What git says when a stateless client's round ends where git expected more, as it does after
/// the shallow lines of version 0. That is how such a round ends, not an error.
const ROUND_ENDED: &str = "fatal: the remote end hung up unexpectedly";

/// Why the child gets the call, and what was taken from the input already.
#[derive(Debug)]
pub struct Handover {
    /// A value of the metric's label `reason`.
    pub reason: &'static str,
    /// Comes before what the input still holds.
    pub already_read: Bytes,
}

/// What became of a child that talked to a client.
#[derive(Debug)]
pub struct Relayed {
    /// Given to the output.
    pub response_bytes: u64,
    /// How it ended.
    pub status: ExitStatus,
    /// The beginning of its standard error.
    pub complaint: String,
}

/// Lets git serve `call`.
pub async fn serve(
    services: &Rc<Services>,
    call: &Call,
    handover: Handover,
    input: &mut impl Input,
    output: &mut impl Output,
) -> Result<Summary, FetchError> {
    services.metrics.fallbacks.with_label_values(&[handover.reason]).inc();
    let command = command(services, call);
    let relayed = relay(services, command, handover.already_read, input, output).await?;
    let Relayed { response_bytes, status, complaint } = relayed;
    let round_ended = call.stateless && complaint == ROUND_ENDED;
    if !status.success() && !round_ended {
        return Err(FetchError::Child { status, complaint });
    }
    Ok(Summary { response_bytes, ..Summary::default() })
}

/// Lets a child talk to the client until it ends, however it does.
pub async fn relay(
    services: &Services,
    command: ChildCommand,
    already_read: Bytes,
    input: &mut impl Input,
    output: &mut impl Output,
) -> Result<Relayed, FetchError> {
    let mut child = services.children.spawn(command).await?;
    let (response_bytes, complaint) = run(&mut child, already_read, input, output).await?;
    let exit = child.wait().await.map_err(FetchError::Pipe)?;
    Ok(Relayed { response_bytes, status: exit.status, complaint })
}

/// Moves bytes until the child has closed its outputs.
async fn run(
    child: &mut Child,
    already_read: Bytes,
    input: &mut impl Input,
    output: &mut impl Output,
) -> Result<(u64, String), FetchError> {
    // Silent clients wait: for their turn in the conversation, or for their own hooks.
    let mut feeding = pin!(feed(child.stdin.take(), already_read, input, None));
    let stderr = &mut child.stderr;
    let stdout = child.stdout.take();
    let mut relaying = pin!(async {
        tokio::try_join!(drain(stdout, output), async {
            gather(stderr).await.map_err(FetchError::Pipe)
        })
    });
    let mut fed = false;
    loop {
        tokio::select! {
            result = &mut feeding, if !fed => {
                result?;
                fed = true;
            }
            result = &mut relaying => return result,
        }
    }
}

async fn drain(
    stdout: Option<pipe::Receiver>,
    output: &mut impl Output,
) -> Result<u64, FetchError> {
    let Some(mut stdout) = stdout else { return Ok(0) };
    let mut sent_bytes = 0;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        if stdout.read_buf(&mut buffer).await.map_err(FetchError::Pipe)? == 0 {
            return Ok(sent_bytes);
        }
        let chunk = buffer.split().freeze();
        sent_bytes += chunk.len() as u64;
        output.write(chunk).await?;
    }
}

/// What a child complains about, read to its end so that the child never waits; the beginning of
/// it is kept.
pub(super) async fn gather(stderr: &mut pipe::Receiver) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let read = stderr.read(&mut buffer).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).trim_end().to_owned());
        }
        let room = COMPLAINT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}

fn command(services: &Services, call: &Call) -> ChildCommand {
    let mut args: Vec<OsString> = vec!["upload-pack".into(), "--strict".into()];
    if call.stateless {
        args.push("--stateless-rpc".into());
    }
    if call.operation == Operation::AdvertiseRefs {
        args.push("--http-backend-info-refs".into());
    }
    // Absolute, so it cannot be taken for an option; upload-pack knows no --end-of-options.
    args.push(call.repository.git_dir().into());
    ChildCommand {
        name: CommandName { cmd: "git", subcmd: "upload-pack" },
        account: Arc::clone(&call.account),
        need: Need::server(),
        program: services.git.program.clone(),
        args,
        env: services.git.environment(call),
        current_dir: "/".into(),
    }
}
