//! The command line of gitring-node.

mod cache_tool;
mod check;
mod configuration;
mod demo;
mod doctor;
#[cfg(feature = "manual")]
mod manual;
mod top;

use clap::{Parser, Subcommand};
use gitring_daemon::log;
use gitring_node::rpc::stdio::{receive_pack, upload_pack};
use gitring_node::server::{self, StartError};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Serves git repositories.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file; the same as `serve CONFIG`
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM
    Serve {
        /// The configuration file
        config: PathBuf,
    },
    /// Serve one fetch on standard input and output, as `git upload-pack` does
    UploadPack(upload_pack::Arguments),
    /// Take one push on standard input and output, as `git receive-pack` does
    ReceivePack(receive_pack::Arguments),
    /// Ask the configured GitLab whether it takes the node's secret, as `gitaly check` does
    Check {
        /// The configuration file
        config: PathBuf,
    },
    /// Look at all that a node depends on, and say what to do about it
    Doctor(doctor::Arguments),
    /// Look at a configuration without using it, as `gitaly configuration` does
    Configuration(configuration::Arguments),
    /// Look at the pack cache, empty it, or ask why two fetches did not share a pack
    Cache(cache_tool::Arguments),
    /// Watch a running node: repositories by cost, packs being built, queues
    Top(top::Arguments),
    /// Clone from a node and from stock git, compare, and print what each cost
    Demo {
        /// `measure FILE COMMAND…`, how the demo counts what stock git costs
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        measure: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(directory) = manual::directory() {
        return manual::run(&directory, <Cli as clap::CommandFactory>::command());
    }
    let cli = Cli::parse();
    match (cli.command, cli.config) {
        (Some(Command::Serve { config }), _) | (None, Some(config)) => serve(&config),
        (Some(Command::UploadPack(arguments)), _) => upload_pack::run(&arguments),
        (Some(Command::ReceivePack(arguments)), _) => receive_pack::run(&arguments),
        (Some(Command::Check { config }), _) => check::run(&config),
        (Some(Command::Doctor(arguments)), _) => doctor::run(&arguments),
        (Some(Command::Configuration(arguments)), _) => configuration::run(&arguments),
        (Some(Command::Cache(arguments)), _) => cache_tool::run(&arguments),
        (Some(Command::Top(arguments)), _) => top::run(&arguments),
        (Some(Command::Demo { measure }), _) => demo::run(&measure),
        // clap has shown the help instead.
        (None, None) => ExitCode::from(2),
    }
}

fn serve(config: &Path) -> ExitCode {
    let Err(error) = server::run(config) else { return ExitCode::SUCCESS };
    eprintln!("gitring-node: {}", log::chain(&error));
    // EX_CONFIG of sysexits(3)
    let is_config = matches!(error, StartError::Config(_) | StartError::Opened(_));
    if is_config { ExitCode::from(78) } else { ExitCode::FAILURE }
}
