//! Every kind of fetch on repositories of the user, ours beside stock git.
//!
//! usage: `real-repos REPOSITORY.git...`, bare repositories; they are copied, not changed.
//!
//! Always true: exit 0 only if every clone passed fsck and equals its twin from stock git.
//!
//! Never here: which fetches; see [`gitring_perf::matrix`].

use std::path::PathBuf;
use std::process::ExitCode;

use gitring_perf::{machine, matrix};
use gitring_tests::node::Node;

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        eprintln!("usage: real-repos REPOSITORY.git...");
        return ExitCode::from(2);
    }
    println!("# Real repositories\n\n{}", machine::describe());
    println!("Pack bytes are those of the client's packs. CPU is the server's, in user and system");
    println!("time of its process tree; wall is the client's, its own indexing included.\n");
    let mut all_match = true;
    for path in paths {
        println!("## {}\n", path.display());
        let node = Node::start();
        matrix::prepare(&node, &path);
        all_match &= matrix::play_all(&node);
        println!();
    }
    if all_match { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
