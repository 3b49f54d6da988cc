//! Measures the bars and writes `perf/results/bars-<date>.md`.
//!
//! usage: `measure [--only NAME,NAME...] [REPOSITORY]`, a bare repository for full clones, hits,
//! clones in flight and small pushes; a generated one of about 90 MB without it. With `--only`, the bars whose names
//! are given are measured and printed, and nothing is written.
//!
//! Always true: exit 0 only if every bar that was measured is met.
//!
//! Never here: how a bar is measured; see [`gitring_perf::bars`].

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gitring_perf::bars::{
    Bar, clone_cpu, delivery, herd, hit, hit_small, in_flight, keys, list_refs, overload, push,
    push_large, push_rate, sidechannel, slow_hits, spawns, unary, write_ref,
};
use gitring_perf::machine;
use gitring_tests::history;
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

/// Commits of the generated repository.
const HEAVY_COMMITS: usize = 3_000;

/// Bars by the names that `--only` takes.
const NAMES: [&str; 17] = [
    "spawns",
    "clone-cpu",
    "in-flight",
    "list-refs",
    "unary",
    "sidechannel",
    "hit",
    "delivery-methods",
    "hit-small",
    "slow-hits",
    "herd",
    "keys",
    "write-ref",
    "push",
    "push-large",
    "push-rate",
    "overload",
];

/// A clone that costs a pack each time.
const WITHOUT_CACHE: &str = "[pack_objects_cache]\nenabled = false\n";

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let only = match arguments.first() {
        Some(first) if first == "--only" => arguments.drain(..2.min(arguments.len())).nth(1),
        Some(_) | None => None,
    };
    let names: Vec<String> = match &only {
        Some(only) => only.to_string_lossy().split(',').map(str::to_owned).collect(),
        None => NAMES.map(str::to_owned).into(),
    };
    let unknown = names.iter().any(|name| !NAMES.contains(&name.as_str()));
    let is_option = |word: &OsString| word.to_string_lossy().starts_with('-');
    if unknown || arguments.len() > 1 || arguments.iter().any(is_option) {
        eprintln!("usage: measure [--only {}] [REPOSITORY]", NAMES.join(","));
        return ExitCode::from(2);
    }
    let given = arguments.first().map(PathBuf::from);
    let bars = measure(&names, given.as_deref());
    if only.is_none()
        && let Err(fault) = write(&bars, given.as_deref())
    {
        eprintln!("measure: {fault}");
        return ExitCode::FAILURE;
    }
    if bars.iter().all(|bar| bar.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(names: &[String], given: Option<&Path>) -> Vec<Bar> {
    let named = |name: &str| names.iter().any(|known| known == name);
    let mut bars: Vec<Bar> = Vec::new();
    if named("spawns") {
        report(&mut bars, spawns::measure());
    }
    if named("clone-cpu") {
        let node = Node::start_with(WITHOUT_CACHE);
        let repository = prepare(&node, given);
        report(&mut bars, vec![clone_cpu::measure(&node, &repository)]);
    }
    if ["in-flight", "hit", "hit-small", "slow-hits", "delivery-methods"].into_iter().any(named) {
        let node = Node::start();
        let repository = prepare(&node, given);
        if named("in-flight") {
            report(&mut bars, vec![in_flight::measure(&node, &repository)]);
        }
        if named("hit") {
            report(&mut bars, hit::measure(&node, &repository));
        }
        if named("delivery-methods") {
            report(&mut bars, delivery::measure(&repository));
        }
        if named("hit-small") {
            report(&mut bars, hit_small::measure(&node, &repository));
        }
        if named("slow-hits") {
            report(&mut bars, vec![slow_hits::measure(&node, &repository)]);
        }
    }
    if named("herd") {
        report(&mut bars, herd::measure());
    }
    if named("keys") {
        report(&mut bars, vec![keys::measure()]);
    }
    if named("list-refs") {
        report(&mut bars, list_refs::measure());
    }
    if named("unary") {
        report(&mut bars, unary::measure());
    }
    if named("write-ref") {
        write_ref::measure(|bar| report(&mut bars, vec![bar]));
    }
    if ["push", "push-large"].into_iter().any(named) {
        let node = push::node("");
        if named("push") {
            report(&mut bars, push::measure(&node, &prepare(&node, given)));
        }
        if named("push-large") {
            report(&mut bars, push_large::measure(&node));
        }
    }
    if named("push-rate") {
        report(&mut bars, push_rate::measure());
    }
    if named("overload") {
        report(&mut bars, overload::measure());
    }
    if named("sidechannel") {
        report(&mut bars, sidechannel::measure());
    }
    bars
}

fn write(bars: &[Bar], given: Option<&Path>) -> Result<(), String> {
    let rows: Vec<String> = bars.iter().map(Bar::row).collect();
    let head = "| what | figure | bar | met | noise floor |\n|---|---|---|---|---|";
    let text = format!(
        "# Bars of the node\n\n{}- full clone: {}\n\n{head}\n{}\n",
        machine::describe(),
        given
            .and_then(Path::file_name)
            .map_or("a generated repository".into(), |name| name.to_string_lossy()),
        rows.join("\n")
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let file = folder.join(format!("bars-{}.md", machine::today()));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &text));
    written.map_err(|error| format!("{}: {error}\n{text}", file.display()))?;
    println!("written to {}", file.display());
    Ok(())
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
