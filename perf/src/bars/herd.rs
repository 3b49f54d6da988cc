//! Identical full clones at once, on an empty cache.
//!
//! Plan: a generated repository, copied into the storage of a fresh node for every run, so that no
//! pack is there. Clients come at once, on eight connections of TCP (as Workhorse has few) and two
//! threads, each with a sidechannel of its own:
//! - 1, 32, 128 and 512 who read as fast as they can. One alone is taken three times. What a hit
//!   costs is measured on the nodes of those runs, when the pack is kept;
//! - 128, of whom 30 % read 1 MB/s and 30 % leave at a random byte. Slow ones are cut a moment after
//!   the others have ended: a pack of this size takes them most of a minute.
//!
//! The bars: one pack is built, and the node with its children costs what one clone and N - 1 hits
//! cost, and a tenth.
//!
//! Always true: CPU ends with the last child reaped; clients share the cores with the node, and
//! with many of them times are mostly time spent in their queue.
//!
//! Never here: whether clones are right; tests tell.

use std::process::Command;
use std::time::{Duration, Instant};

use gitring_tests::gitaly::Door;
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::{history, metrics, process};

use super::{Bar, clone_cpu, hit};
use crate::load::herd::visit::Summary;
use crate::load::herd::{Fetch, Herd, Reader, mixed};
use crate::load::histogram::Histogram;
use crate::series::Series;

/// Commits of the repository: about 45 MB.
const COMMITS: usize = 1_500;

const SIZES: [usize; 3] = [32, 128, 512];
const CONNECTIONS: usize = 8;
const THREADS: usize = 2;

/// The herd of all sorts.
const MIXED: usize = 128;
const SLOW_PERCENT: usize = 30;
const LEAVING_PERCENT: usize = 30;
const SLOW_STAY: Duration = Duration::from_secs(3);

/// Runs of one clone alone.
const ALONE: usize = 3;

/// Hits behind each of them: clients, and clones of each.
const HITS: (usize, usize) = (4, 8);

/// The bar.
const RATIO_MAX: f64 = 1.1;

/// What single clones cost, in CPU seconds.
#[derive(Debug, Default)]
struct Costs {
    alone: Series,
    hit: Series,
    answer_bytes: u64,
}

/// One herd on one node.
struct Run {
    cpu: Duration,
    elapsed: Duration,
    packs: u64,
    sum: Summary,
}

/// Measures on nodes of its own.
pub fn measure() -> Vec<Bar> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = Repository::create(folder.path(), "herd", Kind::Empty);
    source.import(&history::heavy(COMMITS));
    source.git(&["repack", "-adq", "--write-bitmap-index"]);
    source.git(&["pack-refs", "--all"]);
    let mut costs = Costs::default();
    let mut bars = Vec::new();
    for round in 0..ALONE {
        let (node, fetch) = stage(&source);
        let run = Run::of(&node, &fetch, vec![Reader::Fast]);
        costs.add(&node, &fetch, &run);
        if round + 1 == ALONE {
            bars.push(run.bar(&costs, 1, "a clone alone"));
        }
    }
    for count in SIZES {
        let (node, fetch) = stage(&source);
        let run = Run::of(&node, &fetch, vec![Reader::Fast; count]);
        bars.push(run.bar(&costs, count, &format!("{count} identical clones at once")));
    }
    let (node, fetch) = stage(&source);
    let readers = mixed(MIXED, SLOW_PERCENT, LEAVING_PERCENT, costs.answer_bytes);
    let run = Run::of(&node, &fetch, readers);
    let what = format!("{MIXED} at once, {SLOW_PERCENT} % slow, {LEAVING_PERCENT} % leave");
    bars.push(run.bar(&costs, MIXED, &what));
    bars
}

/// A node that has never seen the repository.
fn stage(source: &Repository) -> (Node, Fetch) {
    let node = Node::start();
    let copied = Command::new("cp").arg("-a").arg(&source.path).arg(node.storage()).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy the repository");
    let fetch = Fetch::new(&source.relative(), clone_cpu::request(&clone_cpu::wants(source)));
    (node, fetch)
}

// === impl Run ===

impl Run {
    fn of(node: &Node, fetch: &Fetch, readers: Vec<Reader>) -> Self {
        let herd = Herd {
            address: Door::Mux.address(node),
            fetch,
            threads: THREADS.min(readers.len()),
            connections: CONNECTIONS.min(readers.len()),
            readers,
            times: 1,
            slow_stay: SLOW_STAY,
        };
        let before = process::cpu_time(node.pid());
        let began = Instant::now();
        let visits = herd.run().expect("the node accepts");
        let elapsed = began.elapsed();
        let reaped = || process::children(node.pid()).is_empty();
        process::wait_until("the node reaps its children", Duration::from_secs(10), reaped);
        let cpu = process::cpu_time(node.pid()) - before;
        let packs = metrics::sum(node, "gitring_pack_cache_lookups_total", &[("role", "lead")]);
        Self { cpu, elapsed, packs, sum: Summary::of(&visits) }
    }

    fn bar(&self, costs: &Costs, count: usize, what: &str) -> Bar {
        let Self { cpu, elapsed, packs, sum } = self;
        let hits = (count - 1) as f64 * costs.hit.median();
        let limit = RATIO_MAX * (costs.alone.median() + hits);
        let ((least, most), (low, high)) = (costs.alone.spread(), costs.hit.spread());
        let expected = count - sum.left - sum.cut;
        let is_whole = sum.whole == expected && sum.failures.0 == 0;
        let failed = format!(", **{} failed: {}**", sum.failures.0, sum.failures.1);
        let failed = if sum.failures.0 > 0 { failed.as_str() } else { "" };
        // What is compared with itself has nothing to exceed.
        let is_cheap = count == 1 || cpu.as_secs_f64() <= limit;
        Bar {
            what: format!("{what}, {} MB each, empty cache", costs.answer_bytes / 1_000_000),
            figure: format!(
                "{packs} packs, {:.2} CPU s for {:.1} GB in {:.1} s; first byte {}, of the pack {}, \
                 all {} ms (p50, p99); {} whole, {} left, {} cut{failed}",
                cpu.as_secs_f64(),
                sum.bytes as f64 / 1e9,
                elapsed.as_secs_f64(),
                quantiles(&sum.first_bytes),
                quantiles(&sum.first_of_packs),
                quantiles(&sum.times),
                sum.whole,
                sum.left,
                sum.cut,
            ),
            limit: if count == 1 {
                "1 pack".to_owned()
            } else {
                format!("1 pack, ≤ {limit:.2} CPU s")
            },
            noise: format!(
                "alone {least:.2}–{most:.2} s, hit {:.1}–{:.1} ms",
                low * 1e3,
                high * 1e3
            ),
            met: *packs == 1 && is_cheap && is_whole,
        }
    }
}

// === impl Costs ===

impl Costs {
    /// Takes what a run of one has cost, and measures hits behind it.
    fn add(&mut self, node: &Node, fetch: &Fetch, run: &Run) {
        self.alone.push(run.cpu.as_secs_f64());
        self.answer_bytes = run.sum.answer_bytes.map_or(0, |(least, _)| least);
        let (used, sum) = hit::clones(node, fetch, Door::Mux, HITS);
        self.hit.push(used.as_secs_f64() / sum.whole.max(1) as f64);
    }
}

/// In milliseconds.
fn quantiles(times: &Histogram) -> String {
    let ms = |share| times.quantile(share).as_secs_f64() * 1e3;
    format!("{:.0}, {:.0}", ms(0.5), ms(0.99))
}
