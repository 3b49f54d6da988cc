//! Conversations with a server over its standard input and output.
//!
//! Always true: both servers of a comparison get the same arguments, environment and bytes.
//!
//! Never here: a git client; the bytes are the test's own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::{git, node};

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// `git upload-pack`
    Stock,
    /// `gitring-node upload-pack`
    Ours,
}

/// How an upload-pack is started.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Options before the folder.
    pub options: &'a [&'a str],
    /// Value of `GIT_PROTOCOL`, as `version=2`; empty for none.
    pub protocol: &'a str,
    /// More variables of the environment.
    pub environment: &'a [(&'a str, &'a str)],
}

// === impl Server ===

impl Server {
    /// The command line of `upload-pack`, without its arguments.
    pub fn command(self) -> Command {
        self.command_of("upload-pack")
    }

    /// The command line of a service, without its arguments.
    pub fn command_of(self, service: &str) -> Command {
        let program = match self {
            Self::Stock => git::program(),
            Self::Ours => node::program(),
        };
        let mut command = Command::new(program);
        git::close_environment(&mut command);
        command.arg(service);
        command
    }

    /// The value for git's options `--upload-pack` and `--receive-pack`: a line for the shell.
    pub fn shell_line(self, service: &str) -> String {
        match self {
            Self::Stock => format!("'{}' {service}", git::program().display()),
            Self::Ours => format!("'{}' {service}", node::program().display()),
        }
    }

    /// Sends `input` to an upload-pack of `repository` and reads until it ends.
    pub fn converse(self, repository: &Path, call: &Call<'_>, input: &[u8]) -> Output {
        let mut command = self.command();
        command.args(call.options).arg(repository);
        if !call.protocol.is_empty() {
            command.env("GIT_PROTOCOL", call.protocol);
        }
        command.envs(call.environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git::feed(command, input)
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// A call over a pipe that stays open for all rounds.
    pub fn stateful(protocol: &'a str) -> Self {
        Self { options: &[], protocol, environment: &[] }
    }

    /// A call for one round, as HTTP servers make it.
    pub fn stateless(protocol: &'a str) -> Self {
        Self { options: &["--stateless-rpc"], protocol, environment: &[] }
    }

    /// A call that only lists refs and capabilities, as HTTP servers make it.
    pub fn advertise(protocol: &'a str) -> Self {
        Self { options: &["--stateless-rpc", "--advertise-refs"], protocol, environment: &[] }
    }
}
