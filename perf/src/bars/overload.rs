//! Small fetches while ten times more clones are wanted than are built at once.
//!
//! Plan: nothing is kept, so that every fetch is built. For a minute some clients ask for clones
//! that differ from each other, again and again, each of another depth; two others fetch the last
//! commit of a small repository, one after the other. Before, these two are alone for a while.
//!
//! The bar: the 99th percentile of the small fetches is at most three times what it is alone, or
//! 20 ms more; afterwards nothing is in, waits or runs any more.
//!
//! Always true: clients share the cores with the node and its children.
//!
//! Never here: how packs are queued; `node/src/limits` tells.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gitring_tests::gitaly::Door;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::{history, metrics, pktline, process};

use super::Bar;
use crate::load::herd::visit::End;
use crate::load::herd::{Fetch, Herd, Reader};
use crate::load::histogram::Histogram;

/// Packs built at once: the node's default for two cores.
const AT_ONCE: usize = 4;
const CLONES: usize = 10 * AT_ONCE;
/// Users who fetch little.
const SMALL: usize = 2;

/// Commits of the large repository: about 30 MB.
const COMMITS: usize = 1_000;
/// Depths of clones: the shallowest has about 10 MB.
const DEPTHS: std::ops::Range<usize> = 300..950;

const ALONE: Duration = Duration::from_secs(15);
const TIME: Duration = Duration::from_secs(60);
/// Between two small fetches of a user.
const PAUSE: Duration = Duration::from_millis(20);

/// The bar.
const TIMES_MAX: u32 = 3;
const MORE_MAX: Duration = Duration::from_millis(20);

/// What was fetched by all clients together.
#[derive(Debug, Default)]
struct Sum {
    times: Mutex<Histogram>,
    failed: AtomicUsize,
}

/// Measures on a node of its own.
pub fn measure() -> Vec<Bar> {
    let table = format!(
        "[pack_objects_cache]\nenabled = false\n[pack_building]\nmax_concurrency = {AT_ONCE}\n"
    );
    let node = Node::start_with(&table);
    node.start_git_directly();
    let large = Repository::create(&node.storage(), "large", Kind::Empty);
    large.import(&history::heavy(COMMITS));
    large.git(&["repack", "-adq", "--write-bitmap-index"]);
    let small = Repository::create(&node.storage(), "small", Kind::Empty);
    small.import(&history::heavy(3));
    let (want, have) = (small.id("main"), small.id("main~1"));
    let lines = [format!("want {want}"), format!("have {have}")];
    let little = Fetch::new(&small.relative(), request(&lines));
    let want = large.id("main");
    let depths = AtomicUsize::new(DEPTHS.start);
    let shallow = || {
        let depth = depths.fetch_add(1, Ordering::Relaxed);
        let depth = DEPTHS.start + (depth - DEPTHS.start) % DEPTHS.len();
        Fetch::new(&large.relative(), request(&[format!("deepen {depth}"), format!("want {want}")]))
    };

    let alone = Sum::default();
    for_a_while(ALONE, |ended| {
        std::thread::scope(|scope| {
            for _ in 0..SMALL {
                scope.spawn(|| alone.fetch(&node, || little.clone(), (ended, PAUSE)));
            }
        });
    });
    let (beside, clones) = (Sum::default(), Sum::default());
    let mut peak = 0;
    for_a_while(TIME, |ended| {
        std::thread::scope(|scope| {
            for _ in 0..SMALL {
                scope.spawn(|| beside.fetch(&node, || little.clone(), (ended, PAUSE)));
            }
            for _ in 0..CLONES {
                scope.spawn(|| clones.fetch(&node, shallow, (ended, Duration::ZERO)));
            }
            while !ended.load(Ordering::SeqCst) {
                peak = peak.max(process::anonymous_bytes(node.pid()));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    });
    vec![bar((&alone, &beside, &clones), peak), idle(&node)]
}

fn request(lines: &[String]) -> Vec<u8> {
    let head = ["command=fetch", "object-format=sha1", "delim", "thin-pack", "no-progress"];
    let lines = lines.iter().map(String::as_str);
    let all: Vec<&str> = head.into_iter().chain(["ofs-delta"]).chain(lines).collect();
    pktline::request(&[&all[..], &["done", "flush"]].concat())
}

fn for_a_while(time: Duration, mut work: impl FnMut(&AtomicBool) + Send) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ended = &ended;
        scope.spawn(move || work(ended));
        std::thread::sleep(time);
        ended.store(true, Ordering::SeqCst);
    });
}

fn bar((alone, beside, clones): (&Sum, &Sum, &Sum), peak_bytes: u64) -> Bar {
    let times = |sum: &Sum| sum.lock().clone();
    let (small, large) = (times(beside), times(clones));
    let (idle, loaded) = (times(alone).quantile(0.99), small.quantile(0.99));
    let limit = (idle * TIMES_MAX).max(idle + MORE_MAX);
    let failed: usize =
        [alone, beside, clones].map(|sum| sum.failed.load(Ordering::SeqCst)).iter().sum();
    Bar {
        what: format!("p99 of small fetches beside {CLONES} users who clone, {AT_ONCE} at once"),
        figure: format!(
            "{} ms ({} small, {} clones, longest {} s; {} MiB of the node at most; {failed} failed)",
            loaded.as_millis(),
            small.count(),
            large.count(),
            large.longest().as_secs(),
            peak_bytes >> 20,
        ),
        limit: format!("≤ {} ms", limit.as_millis()),
        noise: format!("alone {} ms", idle.as_millis()),
        met: loaded <= limit && failed == 0,
    }
}

/// Afterwards nothing is left of it.
fn idle(node: &Node) -> Bar {
    let gauges = ["gitaly_pack_objects_in_progress", "gitaly_pack_objects_queued"];
    let left = || -> u64 { gauges.iter().map(|name| metrics::sum(node, name, &[])).sum() };
    wait_until("figures return to idle", Duration::from_secs(10), || {
        left() == 0 && process::children(node.pid()).is_empty()
    });
    Bar {
        what: "packs in progress or queued, and children, after that".to_owned(),
        figure: left().to_string(),
        limit: "0".to_owned(),
        noise: String::new(),
        met: true,
    }
}

// === impl Sum ===

impl Sum {
    /// Fetches one after the other until the time is over.
    fn fetch(
        &self,
        node: &Node,
        next: impl Fn() -> Fetch,
        (ended, pause): (&AtomicBool, Duration),
    ) {
        while !ended.load(Ordering::SeqCst) {
            let fetch = next();
            let herd = Herd {
                address: Door::Mux.address(node),
                fetch: &fetch,
                threads: 1,
                connections: 1,
                readers: vec![Reader::Fast],
                times: 1,
                slow_stay: Duration::ZERO,
            };
            for visit in herd.run().expect("the node accepts") {
                match (visit.end, visit.took) {
                    (End::Whole, Some(took)) => self.lock().add(took),
                    _ => {
                        self.failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
            std::thread::sleep(pause);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Histogram> {
        self.times.lock().expect("no client panics")
    }
}
