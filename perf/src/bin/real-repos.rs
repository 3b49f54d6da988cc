//! Every kind of fetch on repositories of the user, ours beside stock git.
//!
//! usage: `real-repos [--rows NAME,NAME...] REPOSITORY.git...`, bare repositories; they are copied,
//! not changed. Rows are those whose name begins with one of the names.
//!
//! Always true: exit 0 only if every clone passed fsck and equals its twin from stock git.
//!
//! Never here: which fetches; see [`gitring_perf::matrix`].

use std::path::PathBuf;
use std::process::ExitCode;

use gitring_perf::{machine, matrix};
use gitring_tests::node::Node;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut rows = String::new();
    if arguments.first().is_some_and(|first| first == "--rows") && arguments.len() > 1 {
        rows = arguments.drain(..2).next_back().unwrap_or_default();
    }
    let paths: Vec<PathBuf> = arguments.into_iter().map(PathBuf::from).collect();
    if paths.is_empty() {
        eprintln!("usage: real-repos [--rows NAME,NAME...] REPOSITORY.git...");
        return ExitCode::from(2);
    }
    println!("# Real repositories\n\n{}", machine::describe());
    println!("Pack bytes are those of the client's packs. CPU is the server's, in user and system");
    println!("time of its process tree; wall is the client's, its own indexing included.\n");
    let mut all_match = true;
    for path in paths {
        let name = path.file_name().unwrap_or(path.as_os_str());
        println!("## {}\n", name.display());
        let node = Node::start();
        matrix::prepare(&node, &path);
        all_match &= matrix::play_all(&node, &rows);
        println!();
    }
    if all_match { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
