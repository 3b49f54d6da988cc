//! Loads a node for a long time with clients of which many die, and says whether anything grew or
//! stayed behind.
//!
//! Always true: exit 0 only if nothing did.
//!
//! Never here: what is done; see [`gitring_perf::soak`].

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use gitring_perf::soak;

/// Loads a node for a long time with clients of which many die.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// For how long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Repeats what was random in an earlier run.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let seed = arguments.seed.unwrap_or(now);
    println!("seed {seed}");
    let time = Duration::from_secs(60 * u64::from(arguments.minutes));
    let outcome = match soak::run(time, seed, &|line| println!("{line}")) {
        Ok(outcome) => outcome,
        Err(fault) => {
            println!("{fault}");
            return ExitCode::FAILURE;
        }
    };
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (deeds, (answered, failed)) = (&outcome.deeds, outcome.requests);
    println!(
        "git commands: {} done, {} killed or left, {} failed; gRPC: {answered} answered, {failed} failed",
        of(&deeds.done),
        of(&deeds.killed),
        of(&deeds.failed)
    );
    let faults = outcome.faults();
    for fault in &faults {
        println!("fault: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
