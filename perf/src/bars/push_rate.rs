//! How many pushes a second, to one repository and to many, with fsync and without.
//!
//! Plan: pushes of one commit to a small repository, each to a branch of its own, by some clients at
//! once of which each waits for its answer; fresh copies of the repository for every round; stock
//! `git receive-pack`, started as often, takes its turn in each.
//!
//! Always true: what the disk alone syncs in a second is measured in the same run, by as many threads
//! as there are clients.
//!
//! Never here: CPU; see [`super::push`].

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

use super::Bar;
use super::push;
use super::pushes::{Push, Stock, Way, linked_copy};
use super::write_ref::sync_rate;
use crate::load::histogram::Histogram;
use crate::series::Series;

const ROUNDS: usize = 3;

/// Clients at once, repositories, pushes of a round.
const CASES: [(usize, usize, usize); 4] = [(1, 1, 60), (8, 1, 240), (32, 1, 480), (32, 32, 480)];

const PUSHES_MAX: usize = 480;

/// What one side did.
#[derive(Debug, Default)]
struct Side {
    rates: Series,
    times: Histogram,
    failures: usize,
}

/// Measures with fsync and without.
pub fn measure() -> Vec<Bar> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = Repository::create(folder.path(), "source", Kind::Varied);
    source.git(&["repack", "-adq"]);
    source.git(&["pack-refs", "--all"]);
    let pushes = Push::one_commit_each(&source, folder.path(), PUSHES_MAX);
    let modes = [("durable", ""), ("fsync off", "[runtime]\nfsync = false\n")];
    let bars = modes.into_iter().flat_map(|(mode, more)| {
        let node = push::node(more);
        CASES.map(|case| bar(&node, &source, &pushes, (mode, case)))
    });
    bars.collect()
}

fn bar(
    node: &Node,
    source: &Repository,
    pushes: &[Push],
    (mode, (clients, repositories, count)): (&str, (usize, usize, usize)),
) -> Bar {
    let pushes = &pushes[..count];
    let (mut ours, mut stock, mut syncs) = (Side::default(), Side::default(), Series::default());
    let settings = if mode == "durable" { Stock::AsServer } else { Stock::Volatile };
    for round in 0..ROUNDS {
        let name =
            |side| format!("{side}-{mode}-{clients}-{repositories}-{round}").replace(' ', "-");
        let targets = copies(source, &node.storage(), (&name("ours"), repositories));
        let to_node = |push: &Push, at: usize| push.to_node(node, &targets[at], Way::Gateway);
        ours.round(pushes, (clients, repositories), to_node);
        let targets = copies(source, &node.storage(), (&name("stock"), repositories));
        let to_stock = |push: &Push, at: usize| push.to_stock(&targets[at], settings);
        stock.round(pushes, (clients, repositories), to_stock);
        syncs.push(sync_rate(&node.storage(), clients));
    }
    let ms = |side: &Side, share| side.times.quantile(share).as_secs_f64() * 1e3;
    let failed = match ours.failures {
        0 => String::new(),
        failures => format!(", **{failures} failed**"),
    };
    let ((slowest, fastest), (low, high)) = (ours.rates.spread(), stock.rates.spread());
    Bar {
        what: format!(
            "pushes of one commit, {mode}, {clients} clients to {repositories} repositories"
        ),
        figure: format!(
            "{:.0}/s, p50 {:.1} ms, p99 {:.0} ms{failed}; receive-pack {:.0}/s, p50 {:.1} ms, p99 \
             {:.0} ms; the disk alone: {:.0} fsyncs/s of new files",
            ours.rates.median(),
            ms(&ours, 0.5),
            ms(&ours, 0.99),
            stock.rates.median(),
            ms(&stock, 0.5),
            ms(&stock, 0.99),
            syncs.median(),
        ),
        limit: "more than receive-pack".to_owned(),
        noise: format!("{slowest:.0}–{fastest:.0}/s, stock {low:.0}–{high:.0}/s"),
        met: ours.rates.ratios(&stock.rates).median() > 1.0 && ours.failures == 0,
    }
}

/// Copies in `storage`, over a first one that is not pushed to.
fn copies(source: &Repository, storage: &Path, (name, count): (&str, usize)) -> Vec<Repository> {
    let first = Repository { path: storage.join(format!("{name}.git")) };
    let copied = Command::new("cp").arg("-a").arg(&source.path).arg(&first.path).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", first.path.display());
    (0..count).map(|at| linked_copy(&first, &format!("{name}-{at}"))).collect()
}

// === impl Side ===

impl Side {
    /// All of `pushes`, each by the next client that is free.
    fn round(
        &mut self,
        pushes: &[Push],
        (clients, repositories): (usize, usize),
        arrives: impl Fn(&Push, usize) -> bool + Sync,
    ) {
        let (next, began) = (AtomicUsize::new(0), Instant::now());
        let client = || {
            let (mut times, mut failures) = (Histogram::default(), 0);
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(push) = pushes.get(at) else { return (times, failures) };
                let began = Instant::now();
                failures += usize::from(!arrives(push, at % repositories));
                times.add(began.elapsed());
            }
        };
        let done: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a client ends")).collect()
        });
        self.rates.push(pushes.len() as f64 / began.elapsed().as_secs_f64());
        for (times, failures) in done {
            self.times.merge(&times);
            self.failures += failures;
        }
    }
}
