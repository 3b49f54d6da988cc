//! Makes load on a server that speaks Gitaly's wire, and says what came of it.
//!
//! Always true: exit 0 only if every request was answered, and with content.
//!
//! Never here: how load is made; see [`gitring_perf::load`].

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use gitring_daemon::client::Address;
use gitring_perf::load::mix::Mix;
use gitring_perf::load::targets::Targets;
use gitring_perf::load::{self, Plan, report};
use gitring_proto::gitaly::Repository;
use gitring_tests::random::Random;

/// Makes load on a server that speaks Gitaly's wire.
///
/// Kinds of requests: repository-exists, ref-exists, find-commit, find-default-branch-name,
/// ls-refs, clone, fetch, ssh-ls-refs, ssh-clone, info-refs; and write-ref, which makes a new ref
/// below `refs/keep-around/` each time.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    /// tcp://host:port or unix:/path.
    #[arg(long)]
    address: Address,
    /// Secret of `[auth]`; no authentication without it.
    #[arg(long, default_value = "")]
    token: String,
    /// Name of the storage.
    #[arg(long, default_value = "default")]
    storage: String,
    /// Relative path of the repository.
    #[arg(long)]
    repository: String,
    /// Connections that requests share.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Requests at once, over all connections.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(0..=16384))]
    in_flight: u16,
    /// Threads that make them, at most one for each connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// For how long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86400))]
    seconds: u32,
    /// Kinds of requests and how often they come: NAME=WEIGHT,….
    #[arg(long, default_value = "repository-exists=20,ref-exists=30,find-commit=40,ls-refs=10")]
    mix: Mix,
    /// Clients that read clones at a trickle.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=16384))]
    slow: u16,
    /// Clients that drop their connection at a random step of a clone.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    vanishing: u16,
    /// Repeats what was random in an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Refs and commits, as `git show-ref -d` prints them; the server is asked without it.
    #[arg(long)]
    targets: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(fault) = arguments.fault() {
        Arguments::command().error(ErrorKind::ValueValidation, fault).exit();
    }
    let plan = arguments.plan();
    match make(&arguments, &plan) {
        Ok(outcome) => {
            let text = if arguments.json { report::json } else { report::text };
            println!("{}", text(&outcome).trim_end());
            if outcome.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => {
            eprintln!("load: {fault} (seed {})", plan.seed);
            ExitCode::FAILURE
        }
    }
}

fn make(arguments: &Arguments, plan: &Plan) -> Result<load::Outcome, String> {
    let targets = match &arguments.targets {
        None => load::list(plan).map_err(|error| error.to_string())?,
        Some(path) => {
            let fault = |error: &dyn std::error::Error| format!("{}: {error}", path.display());
            let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
            let mut random = Random::new(plan.seed);
            Targets::parse(&text, &mut random).map_err(|error| fault(&error))?
        }
    };
    load::run(plan, &targets).map_err(|error| error.to_string())
}

// === impl Arguments ===

impl Arguments {
    /// What the arguments together forbid.
    fn fault(&self) -> Option<&'static str> {
        if self.threads > self.connections {
            return Some("--threads must not exceed --connections");
        }
        let clients = [self.in_flight, self.slow, self.vanishing];
        clients.iter().all(|count| *count == 0).then_some("nothing is to be done")
    }

    fn plan(&self) -> Plan {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        Plan {
            address: self.address.clone(),
            token: self.token.clone().into_bytes(),
            repository: Repository {
                storage_name: self.storage.clone(),
                relative_path: self.repository.clone(),
                ..Default::default()
            },
            connections: self.connections.into(),
            in_flight: self.in_flight.into(),
            threads: self.threads.into(),
            time: Duration::from_secs(self.seconds.into()),
            mix: self.mix.clone(),
            slow: self.slow.into(),
            vanishing: self.vanishing.into(),
            seed: self.seed.unwrap_or(now),
        }
    }
}
