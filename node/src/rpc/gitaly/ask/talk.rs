//! Git children that are talked to: what they answer is read as it comes.
//!
//! Always true:
//! - none of the three pipes can stop the others: what the child does not read yet waits in memory,
//!   what it complains about is read all the time;
//! - a line of an answer has at most [`LINE_BYTES_MAX`];
//! - dropping a talk kills its child.
//!
//! Never here: what answers mean.

use super::child::ChildError;
use super::site::Site;
use crate::reactor::children::{Child, ChildCommand, CommandName, Need};
use crate::rpc::gitaly::errors;
use crate::rpc::gitaly::refs::{exit_text, quoted};
use bstr::ByteSlice;
use bytes::{Bytes, BytesMut};
use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tonic::Status;

/// A line: a path of at most 4 KiB and some ids, or a revision of a client.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Kept of what a child complains about.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;

/// What git is to do.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Command {
    pub(in crate::rpc::gitaly) subcmd: &'static str,
    pub(in crate::rpc::gitaly) args: Vec<OsString>,
    /// What it reads.
    pub(in crate::rpc::gitaly) input: Vec<u8>,
}

/// A conversation with a child.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Talk {
    subcmd: &'static str,
    child: Child,
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    /// On its way to the child.
    input: BytesMut,
    /// Nothing follows the input.
    is_last: bool,
    /// Read and not looked at.
    answer: BytesMut,
    complaint: Vec<u8>,
    /// Standard error was closed.
    is_silent: bool,
}

/// How a child ended.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Ended {
    pub(in crate::rpc::gitaly) status: ExitStatus,
    /// The beginning of its standard error.
    pub(in crate::rpc::gitaly) complaint: String,
}

// === impl Talk ===

impl Talk {
    /// Starts a child that reads the command's input and nothing else.
    pub(in crate::rpc::gitaly) async fn ask(site: &Site, command: Command) -> Result<Self, Status> {
        let mut talk = Self::begin(site, command).await?;
        talk.is_last = true;
        Ok(talk)
    }

    /// Starts a child that may be told more.
    pub(in crate::rpc::gitaly) async fn begin(
        site: &Site,
        command: Command,
    ) -> Result<Self, Status> {
        let Command { subcmd, args, input } = command;
        let services = &site.resources.services;
        let git = &services.git;
        let mut env = git.plain_environment();
        env.extend(site.variables.iter().cloned());
        let command = ChildCommand {
            name: CommandName { cmd: "git", subcmd },
            account: site.context.account(),
            need: Need::question(),
            program: git.program.clone(),
            args: std::iter::once(subcmd.into()).chain(args).collect(),
            env,
            current_dir: site.directory.clone(),
        };
        let failed = |error| errors::child(subcmd, &error);
        let spawned = services.children.spawn(command).await;
        let mut child = spawned.map_err(|error| failed(error.into()))?;
        let stdin = child.stdin.take();
        let closed = || failed(io::Error::from(io::ErrorKind::BrokenPipe).into());
        let stdout = child.stdout.take().ok_or_else(closed)?;
        Ok(Self {
            subcmd,
            child,
            stdin,
            stdout,
            input: BytesMut::from(&input[..]),
            is_last: false,
            answer: BytesMut::new(),
            complaint: Vec::new(),
            is_silent: false,
        })
    }

    /// Tells the child something, which goes out while its answers are read.
    pub(in crate::rpc::gitaly) fn tell(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.input.extend_from_slice(part);
        }
    }

    /// The next line of the answer, up to a byte that is not in it. `None` at the end of the
    /// answer; what has no such byte is lost, as that of a child that died.
    pub(in crate::rpc::gitaly) async fn line(&mut self, end: u8) -> Result<Option<Bytes>, Status> {
        self.until(&[end], LINE_BYTES_MAX).await
    }

    /// The same up to `end`, if that comes within so many bytes.
    pub(in crate::rpc::gitaly) async fn until(
        &mut self,
        end: &[u8],
        bytes_max: usize,
    ) -> Result<Option<Bytes>, Status> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.answer[searched..].find(end) {
                let mut part = self.answer.split_to(searched + at + end.len());
                part.truncate(searched + at);
                return Ok(Some(part.freeze()));
            }
            // It may have begun.
            searched = (self.answer.len() + 1).saturating_sub(end.len());
            if searched > bytes_max {
                return Err(self.too_much(bytes_max));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next bytes of the answer, at most so many; none at its end.
    pub(in crate::rpc::gitaly) async fn some(&mut self, bytes_max: usize) -> Result<Bytes, Status> {
        if self.answer.is_empty() {
            self.fill().await?;
        }
        let length = self.answer.len().min(bytes_max);
        Ok(self.answer.split_to(length).freeze())
    }

    /// What is left of the answer, if it is no longer than that; then how the child ended.
    pub(in crate::rpc::gitaly) async fn rest(
        mut self,
        bytes_max: usize,
    ) -> Result<(Bytes, Ended), Status> {
        while self.fill().await? > 0 {
            if self.answer.len() > bytes_max {
                return Err(self.too_much(bytes_max));
            }
        }
        let answer = std::mem::take(&mut self.answer).freeze();
        Ok((answer, self.end().await?))
    }

    /// Waits for the end of a child whose answer was read to its end.
    pub(in crate::rpc::gitaly) async fn end(mut self) -> Result<Ended, Status> {
        let subcmd = self.subcmd;
        let failed = |error: io::Error| errors::child(subcmd, &error.into());
        while !self.is_silent {
            self.listen().await.map_err(failed)?;
        }
        let exit = self.child.wait().await.map_err(failed)?;
        let complaint = String::from_utf8_lossy(&self.complaint).into_owned();
        Ok(Ended { status: exit.status, complaint })
    }

    fn too_much(&self, bytes_max: usize) -> Status {
        errors::limited(format!("git {} printed more than {bytes_max} bytes at once", self.subcmd))
    }

    /// Reads more of the answer; zero bytes at its end.
    async fn fill(&mut self) -> Result<usize, Status> {
        let filled = self.exchange().await;
        filled.map_err(|error| errors::child(self.subcmd, &ChildError::Pipe(error)))
    }

    async fn exchange(&mut self) -> io::Result<usize> {
        self.answer.reserve(CHUNK_BYTES);
        let mut scratch = [0; 1024];
        loop {
            if self.input.is_empty() && self.is_last {
                self.stdin = None;
            }
            // Each of these does nothing unless it is the one that ends.
            tokio::select! {
                biased;
                read = self.stdout.read_buf(&mut self.answer) => return read,
                said = self.child.stderr.read(&mut scratch), if !self.is_silent => {
                    let said = said?;
                    keep(&mut self.complaint, &scratch[..said]);
                    self.is_silent = said == 0;
                }
                written = write(&mut self.stdin, &mut self.input),
                    if !self.input.is_empty() && self.stdin.is_some() =>
                {
                    // It may end without having read everything; its answer tells.
                    if written.is_err() {
                        self.stdin = None;
                    }
                }
            }
        }
    }

    async fn listen(&mut self) -> io::Result<()> {
        let mut scratch = [0; 1024];
        let said = self.child.stderr.read(&mut scratch).await?;
        keep(&mut self.complaint, &scratch[..said]);
        self.is_silent = said == 0;
        Ok(())
    }
}

async fn write(stdin: &mut Option<pipe::Sender>, input: &mut BytesMut) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write_buf(input).await,
        None => Ok(0),
    }
}

fn keep(complaint: &mut Vec<u8>, said: &[u8]) {
    let room = COMPLAINT_BYTES_MAX - complaint.len();
    complaint.extend_from_slice(&said[..said.len().min(room)]);
}

// === impl Ended ===

impl Ended {
    /// As Gitaly reports a pipeline of processes: nothing if the child ended well.
    pub(in crate::rpc::gitaly) fn as_result(&self, what: &str) -> Result<(), Status> {
        if self.status.success() {
            return Ok(());
        }
        let (exit, complaint) = (exit_text(self.status), quoted(self.complaint.as_bytes()));
        Err(Status::internal(format!("{what}: {exit}, stderr: {complaint}")))
    }
}
