//! `gitring-node manual DIR`: man pages and completions, made of the command line's own definition.
//! In builds with the feature `manual` only; `make man` makes one.
//!
//! Never here: words that the command line does not have.

use clap::Command;
use clap_complete::Shell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where to write, if that is what was asked for. No command of clap's, which would then have a
/// page of its own.
pub(crate) fn directory() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().filter(|word| word == "manual")?;
    arguments.next().map(PathBuf::from)
}

/// Writes a page for each command, and completions for bash, zsh and fish.
pub(crate) fn run(directory: &Path, command: Command) -> ExitCode {
    match write(directory, without_help(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gitring-node: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

/// `help` needs no pages.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
fn write(directory: &Path, mut command: Command) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "gitring-node", directory)?;
    }
    clap_mangen::generate_to(command.name("gitring-node"), directory)
}
