//! Measures the bars and writes `perf/results/bars-<date>.md`.
//!
//! usage: `measure [REPOSITORY]`, a bare repository for the full clone and the clones in flight;
//! a generated one of about 90 MB without it.
//!
//! Always true: exit 0 only if every bar is met.
//!
//! Never here: how a bar is measured; see [`gitring_perf::bars`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gitring_perf::bars::{Bar, clone_cpu, in_flight, list_refs, spawns};
use gitring_perf::machine;
use gitring_tests::history;
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

/// Commits of the generated repository.
const HEAVY_COMMITS: usize = 3_000;

fn main() -> ExitCode {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let node = Node::start();
    let repository = prepare(&node, given.as_deref());
    let mut bars: Vec<Bar> = Vec::new();
    report(&mut bars, spawns::measure());
    report(&mut bars, vec![clone_cpu::measure(&node, &repository)]);
    report(&mut bars, vec![in_flight::measure(&node, &repository)]);
    report(&mut bars, list_refs::measure());

    let rows: Vec<String> = bars.iter().map(Bar::row).collect();
    let head = "| what | figure | bar | met | noise floor |\n|---|---|---|---|---|";
    let text = format!(
        "# Bars of the node\n\n{}- full clone: {}\n\n{head}\n{}\n",
        machine::describe(),
        given
            .as_deref()
            .and_then(Path::file_name)
            .map_or("a generated repository".into(), |name| name.to_string_lossy()),
        rows.join("\n")
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let file = folder.join(format!("bars-{}.md", machine::today()));
    if let Err(error) = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &text)) {
        eprintln!("measure: {}: {error}\n{text}", file.display());
        return ExitCode::FAILURE;
    }
    println!("written to {}", file.display());
    if bars.iter().all(|bar| bar.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints rows as they come: a run takes minutes.
fn report(bars: &mut Vec<Bar>, more: Vec<Bar>) {
    more.iter().for_each(|bar| println!("{}", bar.row()));
    bars.extend(more);
}

fn prepare(node: &Node, given: Option<&Path>) -> Repository {
    let repository = match given {
        Some(path) => {
            let copy = Repository { path: node.storage().join("heavy.git") };
            let status = Command::new("cp").arg("-a").arg(path).arg(&copy.path).status();
            assert!(status.is_ok_and(|status| status.success()), "cannot copy {}", path.display());
            return copy;
        }
        None => Repository::create(&node.storage(), "heavy", Kind::Empty),
    };
    repository.import(&history::heavy(HEAVY_COMMITS));
    repository.git(&["repack", "-adq", "--write-bitmap-index"]);
    repository.git(&["pack-refs", "--all"]);
    repository
}
