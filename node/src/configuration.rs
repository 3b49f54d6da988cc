//! `gitring-node configuration validate`: what is wrong with a configuration, as `gitaly
//! configuration validate` says it, or for people.
//!
//! Never here: what is wrong with one; `config::validate` finds that.

use clap::{Args, Subcommand};
use gitring_daemon::settings::SettingsError;
use gitring_node::config::validate;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Gitaly's status for a configuration that is not valid.
const INVALID: u8 = 2;

/// What `gitring-node configuration` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name every problem of a configuration; unknown keys are problems
    Validate {
        /// The file; standard input if absent
        config: Option<PathBuf>,
        /// Print lines for people instead of Gitaly's JSON
        #[arg(long)]
        human: bool,
    },
}

/// 0: valid, 2: not valid, 1: cannot be read.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Action::Validate { config, human } = &arguments.action;
    let (name, text) = match read(config.as_deref()) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("gitring-node: processing input data: {error}");
            return ExitCode::FAILURE;
        }
    };
    let problems = validate::problems(&name, &text);
    if *human {
        for problem in &problems {
            println!("{problem}");
        }
        println!("{}: {} problems", name.display(), problems.len());
    } else if !problems.is_empty() {
        let errors: Vec<_> = problems.iter().map(entry).collect();
        println!("{:#}", json!({ "errors": errors }));
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) }
}

#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
fn read(config: Option<&Path>) -> io::Result<(PathBuf, String)> {
    match config {
        Some(path) => Ok((path.to_owned(), std::fs::read_to_string(path)?)),
        None => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            Ok(("standard input".into(), text))
        }
    }
}

/// Gitaly's `key` and `message`, and where it is.
fn entry(problem: &SettingsError) -> Value {
    let mut entry = json!({ "message": problem.what, "file": problem.origin });
    if let Some(line) = problem.line {
        entry["line"] = line.into();
    }
    if !problem.key.is_empty() {
        entry["key"] = problem.key.split('.').collect();
    }
    entry
}
