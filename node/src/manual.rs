//! `gitring-node manual DIR`: man pages and completions, made of the command line's own definition.
//! In builds with the feature `manual` only; `make man` makes one.
//!
//! Never here: words that the command line does not have.

use clap::Command;
use clap_complete::Shell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A directory; it is made if it is not there
    directory: PathBuf,
}

/// Writes a page for each command, and completions for bash, zsh and fish.
pub(crate) fn run(arguments: &Arguments, command: Command) -> ExitCode {
    match write(&arguments.directory, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gitring-node: {}: {error}", arguments.directory.display());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
fn write(directory: &Path, command: Command) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    // The installed program has no such command.
    let mut command = command.mut_subcommand("manual", |manual| manual.hide(true));
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "gitring-node", directory)?;
    }
    clap_mangen::generate_to(command.name("gitring-node"), directory)
}
