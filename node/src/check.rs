//! `gitring-node check`: whether GitLab answers and takes our secret, as `gitaly check` says it.
//!
//! Never here: what is asked; that is the client's.

use gitring_daemon::log;
use gitring_node::config::Config;
use gitring_node::gitlab::{CheckInfo, Client};
use prometheus::Registry;
use std::path::Path;
use std::process::ExitCode;
use tokio::runtime::Builder;

/// Asks and reports; the exit status.
pub(crate) fn run(path: &Path) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            let error = log::chain(&error);
            eprintln!("gitring-node: loading configuration {path:?}: {error}");
            return ExitCode::FAILURE;
        }
    };
    print!("Checking GitLab API access: ");
    match check(&config) {
        Ok(info) => {
            println!("OK");
            println!("GitLab version: {}", info.version);
            println!("GitLab revision: {}", info.revision);
            println!("GitLab Api version: {}", info.api_version);
            println!("Redis reachable for GitLab: {}", info.redis_reachable);
            println!("OK");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED");
            eprintln!("gitring-node: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What GitLab says of itself, or why it cannot be asked.
pub(crate) fn check(config: &Config) -> Result<CheckInfo, String> {
    let gitlab = config.gitlab.as_ref().ok_or("gitlab.url is not set: there is no GitLab")?;
    let client = Client::new(gitlab, &Registry::new(), &[]).map_err(|error| log::chain(&error))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("start: {error}"))?;
    runtime.block_on(client.check()).map_err(|error| explained(&error))
}

/// An operator sees the cause, too, which pushers do not.
fn explained(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        // Some name their cause themselves.
        if !last.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        last = said;
        next = cause.source();
    }
    text
}
