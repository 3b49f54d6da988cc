//! CPU and time of a push of 100 MB beside `git receive-pack`.
//!
//! Plan: one history of texts and of bytes that do not compress, pushed whole to empty repositories,
//! a new one each time, in alternating rounds. Both sides are `git index-pack` for the most part.
//!
//! Always true: a repository that a round has filled is removed behind it.
//!
//! Never here: small pushes.

use std::fs;
use std::time::{Duration, Instant};

use gitring_tests::history;
use gitring_tests::node::Node;
use gitring_tests::process;
use gitring_tests::repository::{Kind, Repository};

use super::Bar;
use super::push::node_cpu;
use super::pushes::{Push, Stock, Way};
use crate::series::Series;

/// Rounds that count, behind one that does not.
const ROUNDS: usize = 5;

/// Commits that make about 100 MB.
const COMMITS: usize = 3_200;

/// The bar, of CPU and of time.
const RATIO_MAX: f64 = 1.0;

/// What the rounds of one side took, in seconds.
#[derive(Debug, Default)]
struct Side {
    cpu: Series,
    wall: Series,
    failures: usize,
}

/// Measures on a node to which everybody may push.
pub fn measure(node: &Node) -> Vec<Bar> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let client = Repository::create(folder.path(), "client", Kind::Empty);
    client.import(&history::heavy(COMMITS));
    let push = Push::new(&client, "main", &[]);
    let (mut ours, mut stock) = (Side::default(), Side::default());
    for round in 0..=ROUNDS {
        let used = || node_cpu(node);
        let arrives = |target: &Repository| push.to_node(node, target, Way::Gateway);
        ours.round(node, round, used, arrives);
        let arrives = |target: &Repository| push.to_stock(target, Stock::AsServer);
        stock.round(node, round, process::own_children_cpu_time, arrives);
    }
    let megabytes = push.bytes() / 1_000_000;
    let bar = |what: &str, ours_s: &Series, stock_s: &Series| {
        let ratio = ours_s.ratios(stock_s).median();
        let ((least, most), (low, high)) = (ours_s.spread(), stock_s.spread());
        let failures = ours.failures + stock.failures;
        let failed = if failures > 0 { format!(", **{failures} failed**") } else { String::new() };
        Bar {
            what: format!("push of {megabytes} MB, {what} against receive-pack"),
            figure: format!(
                "{ratio:.3} ({:.2} s / {:.2} s){failed}",
                ours_s.median(),
                stock_s.median()
            ),
            limit: format!("≤ {RATIO_MAX}"),
            noise: format!("{least:.2}–{most:.2} s, stock {low:.2}–{high:.2} s"),
            met: ratio <= RATIO_MAX && failures == 0,
        }
    };
    vec![bar("CPU", &ours.cpu, &stock.cpu), bar("time", &ours.wall, &stock.wall)]
}

// === impl Side ===

impl Side {
    fn round(
        &mut self,
        node: &Node,
        round: usize,
        used: impl Fn() -> Duration,
        arrives: impl Fn(&Repository) -> bool,
    ) {
        let target = Repository::create(&node.storage(), "large", Kind::Empty);
        let (before, began) = (used(), Instant::now());
        self.failures += usize::from(!arrives(&target));
        let elapsed = began.elapsed();
        if round > 0 {
            self.wall.push(elapsed.as_secs_f64());
            self.cpu.push((used() - before).as_secs_f64());
        }
        fs::remove_dir_all(&target.path).expect("what was filled can be removed");
    }
}
