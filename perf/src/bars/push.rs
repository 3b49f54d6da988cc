//! CPU of a push of one commit beside `git receive-pack`.
//!
//! Plan: copies of one repository, one for each side; the same pushes to all of them, in rounds in
//! which each side takes a few; refs are packed between rounds. Ours through the gateway and through
//! Gitaly's `PostReceivePack`; stock as a stock Gitaly starts it, and as it comes.
//!
//! Always true: the CPU of all processes of a side is counted once they are reaped; the client's is
//! in no figure.
//!
//! Never here: rates; see [`super::push_rate`].

use std::time::{Duration, Instant};

use gitring_tests::node::Node;
use gitring_tests::process;
use gitring_tests::repository::Repository;

use super::Bar;
use super::pushes::{Push, Stock, Way, linked_copy, processes};
use crate::load::histogram::Histogram;
use crate::series::Series;

/// Rounds that count, behind one that does not.
const ROUNDS: usize = 7;

/// Pushes of one side in one round: a tick of the clock is 10 ms.
const EACH: usize = 30;

/// The bar, and what is wanted.
const RATIO_MAX: f64 = 0.5;
const RATIO_WANTED: f64 = 1.0 / 3.0;

/// Who takes the pushes.
#[derive(Debug, Clone, Copy)]
enum Who {
    Ours(Way),
    Stock(Stock),
}

const SIDES: [(Who, &str); 4] = [
    (Who::Ours(Way::Gateway), "gateway"),
    (Who::Ours(Way::Gitaly), "PostReceivePack"),
    (Who::Stock(Stock::AsServer), "stock"),
    (Who::Stock(Stock::AsItComes), "plain"),
];

/// One side with its copy of the repository and what was counted.
#[derive(Debug)]
struct Side<'n> {
    node: &'n Node,
    who: Who,
    copy: Repository,
    cpu_ms: Series,
    times: Histogram,
    failures: usize,
}

/// Measures upon a repository in the node's storage, where nothing is pushed to itself.
pub fn measure(node: &Node, repository: &Repository) -> Vec<Bar> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let count = (ROUNDS + 1) * EACH + 1;
    let pushes = Push::one_commit_each(repository, folder.path(), count);
    let copy = |name| linked_copy(repository, &format!("push-{name}"));
    let mut sides = SIDES.map(|(who, name)| Side::new(node, who, copy(name)));
    let (first, pushes) = pushes.split_first().expect("there are pushes");
    let stock_processes = first.stock_processes(&sides[2].copy, Stock::AsServer);
    let before = processes(node);
    for (round, pushes) in pushes.chunks(EACH).enumerate() {
        sides.iter_mut().for_each(|side| side.take(pushes, round > 0));
    }
    let ours = 2 * (ROUNDS + 1) * EACH;
    let each = (processes(node) - before) as f64 / ours as f64;
    let bytes: usize = pushes.iter().map(Push::bytes).sum();
    let what = format!("push of one commit, {} bytes, through", bytes / pushes.len());
    let [gateway, gitaly, stock, plain] = &sides;
    vec![
        gateway.bar(&format!("{what} the gateway"), stock, plain),
        gitaly.bar(&format!("{what} PostReceivePack"), stock, plain),
        Bar {
            what: "processes started by a push of one commit".to_owned(),
            figure: format!("{each} (stock {stock_processes})"),
            limit: "exactly 1".to_owned(),
            noise: "none".to_owned(),
            met: each == 1.0,
        },
    ]
}

// === impl Side ===

impl<'n> Side<'n> {
    fn new(node: &'n Node, who: Who, copy: Repository) -> Self {
        let (cpu_ms, times) = (Series::default(), Histogram::default());
        Self { node, who, copy, cpu_ms, times, failures: 0 }
    }

    fn take(&mut self, pushes: &[Push], counts: bool) {
        let before = self.cpu();
        for push in pushes {
            let began = Instant::now();
            let arrived = match self.who {
                Who::Ours(way) => push.to_node(self.node, &self.copy, way),
                Who::Stock(stock) => push.to_stock(&self.copy, stock),
            };
            if counts {
                self.times.add(began.elapsed());
            }
            self.failures += usize::from(!arrived);
        }
        let used = self.cpu() - before;
        if counts {
            self.cpu_ms.push(used.as_secs_f64() * 1e3 / pushes.len() as f64);
        }
        // The next round must not depend on how many refs are loose.
        self.copy.git(&["pack-refs", "--all"]);
    }

    fn cpu(&self) -> Duration {
        match self.who {
            Who::Ours(_) => node_cpu(self.node),
            Who::Stock(_) => process::own_children_cpu_time(),
        }
    }

    fn bar(&self, what: &str, stock: &Self, plain: &Self) -> Bar {
        let ratio = self.cpu_ms.ratios(&stock.cpu_ms).median();
        let of_plain = self.cpu_ms.ratios(&plain.cpu_ms).median();
        let failures = self.failures + stock.failures + plain.failures;
        let failed = if failures > 0 { format!(", **{failures} failed**") } else { String::new() };
        let ms = |side: &Self, share| side.times.quantile(share).as_secs_f64() * 1e3;
        let ((least, most), (low, high)) = (self.cpu_ms.spread(), stock.cpu_ms.spread());
        Bar {
            what: format!("{what}, CPU against receive-pack"),
            figure: format!(
                "{ratio:.2} ({:.2} ms / {:.2} ms), {of_plain:.2} of {:.2} ms as git comes; p50 \
                 {:.1} ms / {:.1} ms, p99 {:.0} ms / {:.0} ms{failed}",
                self.cpu_ms.median(),
                stock.cpu_ms.median(),
                plain.cpu_ms.median(),
                ms(self, 0.5),
                ms(stock, 0.5),
                ms(self, 0.99),
                ms(stock, 0.99),
            ),
            limit: format!("≤ {RATIO_MAX}, {RATIO_WANTED:.2} wanted"),
            noise: format!("{least:.2}–{most:.2} ms, stock {low:.2}–{high:.2} ms"),
            met: ratio <= RATIO_MAX && failures == 0,
        }
    }
}

/// User and system time of the node, once it has reaped its children.
pub(super) fn node_cpu(node: &Node) -> Duration {
    let reaped = || process::children(node.pid()).is_empty();
    process::wait_until("the node reaps its children", Duration::from_secs(10), reaped);
    process::cpu_time(node.pid())
}

/// The node that pushes are measured on: it starts git itself, without the script that counts.
pub fn node(more: &str) -> Node {
    let node = Node::start_with(&format!("{}{more}", super::pushes::OPEN));
    node.start_git_directly();
    node
}
