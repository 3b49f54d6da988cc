//! `gitring-node demo`: stock git clients clone from a node and push to it, beside the same with stock git.
//!
//! ```text
//!   git clone ──http──> relay (counts bytes) ──> gitring-node serve ──> storage/demo.git
//!   git clone ──pipe──> demo measure (counts bytes, CPU) ──> git upload-pack ──┘
//!   git push likewise, to a branch each
//! ```
//!
//! Always true:
//! - It works in a temporary folder, and ends with exit code 0 only if every clone passed
//!   `git fsck` and holds the same refs and objects as its twin from stock git.
//! - The node is the same program as this one, started as a child with a configuration file.
//!
//! Never here: serving. This is a client-side tool: plain threads and blocking calls.

#![expect(clippy::disallowed_methods, reason = "a client-side tool without reactors")]

mod client;
mod history;
mod measure;
mod node;
mod relay;
mod repository;
mod stock;
mod table;

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use client::{Client, Request};
use node::DemoNode;
use stock::StockServer;
use table::Row;

/// Why the demo could not be carried through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{command} ended with {status}: {stderr}")]
    Command { command: String, status: String, stderr: String },
    #[error("the node did not start; its log says:\n{log}")]
    NotReady { log: String },
    #[error("the repository has no branch to add commits to")]
    NoBranch,
}

/// What one request cost its server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Bytes from the server to the client, framing included.
    pub(crate) bytes: u64,
    /// User and system time of the server and of its children, exact to 10 ms.
    pub(crate) cpu_ms: u64,
    /// Processes started for the request.
    pub(crate) processes: u64,
}

/// Runs the demo, or its hidden part `measure FILE COMMAND...` which counts for a stock server.
///
/// `REPO` in the environment names a repository (path or URL) to use instead of a generated one;
/// `KEEP=1` keeps the node running until Enter is pressed.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    if let [word, file, command @ ..] = arguments
        && word == "measure"
    {
        return measure::run(Path::new(file), command);
    }
    match demonstrate() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("demo: a clone from the node differs from its twin from stock git");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole demonstration; whether everything matched.
fn demonstrate() -> Result<bool, DemoError> {
    let folder = tempfile::Builder::new()
        .prefix("gitring-demo-")
        .tempdir()
        .map_err(|source| DemoError::Io { what: "temporary folder".to_owned(), source })?;
    let started = Instant::now();
    let repository = repository::prepare(folder.path())?;
    println!("{} (made in {:.1} s)", repository.describe()?, started.elapsed().as_secs_f64());

    let mut node = DemoNode::start(folder.path())?;
    let stock = StockServer::new(folder.path())?;
    println!("node:  {} (pid {})", node.url(), node.pid());
    println!("stock: git upload-pack and receive-pack, {}", client::git_version()?);
    println!();

    let ours = Client::new(folder.path().join("from-node"), node.relayed_url(), None)?;
    let twins = Client::new(
        folder.path().join("from-stock"),
        repository.file_url(),
        Some(stock.programs()),
    )?;
    table::print_head();
    let mut all_match = true;
    for request in Request::ALL {
        if *request == Request::Incremental {
            repository.add_commits()?;
        }
        let (ours_wall, ours_cost) = node.measure(|| ours.play(*request))?;
        let (stock_wall, stock_cost) = stock.measure(|| twins.play(*request))?;
        ours.fsck(*request)?;
        let matches = ours.picture(*request)? == twins.picture(*request)?;
        all_match &= matches;
        Row { request: *request, ours_cost, ours_wall, stock_cost, stock_wall, matches }.print();
    }
    println!();
    println!("every clone passed git fsck; bytes include framing; CPU is exact to 10 ms");
    if std::env::var_os("KEEP").is_some_and(|value| value == "1") {
        keep(&mut node)?;
    }
    Ok(all_match)
}

/// Leaves the node to other terminals until Enter is pressed, or the node ends without a terminal.
fn keep(node: &mut DemoNode) -> Result<(), DemoError> {
    println!();
    println!("The node keeps running. From another terminal:");
    println!("    git clone {}", node.url());
    println!("    git -c protocol.version=0 clone --depth 1 {}", node.url());
    println!("    curl {}", node.metrics_url());
    println!("Press Enter to stop it and to remove its folder.");
    let read = io::stdin().read(&mut [0; 1]);
    match read {
        Ok(0) => node.wait(),
        Ok(_) => Ok(()),
        Err(source) => Err(DemoError::Io { what: "standard input".to_owned(), source }),
    }
}
