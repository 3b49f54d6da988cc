//! Rate and server CPU of `WriteRef`, each of a new ref, with fsync and without, beside what the disk
//! itself does.
//!
//! Always true: the disk is measured in the same run, in the same file system, with as many threads
//! as a node has for changes, or as there are calls in flight if these are fewer.
//!
//! Never here: refs that are updated twice.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gitring_tests::node::Node;

use super::Bar;
use super::unary::Stage;
use crate::load::figures::Figures;
use crate::load::kind::Kind;
use crate::series::Series;

const IN_FLIGHT: [usize; 3] = [1, 8, 64];
/// As many as a node has for changes.
const THREADS_MAX: usize = 16;

/// Runs that count, and the one before them that does not.
const ROUNDS: u64 = 3;
const TIME: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);

/// The bar.
const CPU_MS_MAX: f64 = 0.5;

/// Files of one thread by which the disk is measured: all of them have to be removed again.
const FILES_MAX: u64 = 500;

/// What a loose ref holds: 40 digits and a line feed.
const REF_BYTES: [u8; 41] = [b'0'; 41];

/// Measures with few and with many in flight, on a disk and without one; gives each bar to `done`.
pub fn measure(mut done: impl FnMut(Bar)) {
    // All of them stay to the end: files that were just removed make new ones dear on an ext4
    // without a journal, which looks at each of them before it takes another inode.
    let mut stages = Vec::new();
    for is_durable in [true, false] {
        for in_flight in IN_FLIGHT {
            let more = if is_durable { "" } else { "[runtime]\nfsync = false\n" };
            let stage = Stage::on(Node::start_with(more));
            done(bar(&stage, is_durable, in_flight));
            stages.push(stage);
        }
    }
}

fn bar(stage: &Stage, is_durable: bool, in_flight: usize) -> Bar {
    stage.run(Kind::WriteRef, in_flight, 100, WARM_UP);
    let (mut rates, mut cpu, mut syncs) = (Series::default(), Series::default(), Series::default());
    let (mut failures, mut sum) = (0, Figures::default());
    for round in 1..=ROUNDS {
        // Every run makes refs of its own: the seeds differ.
        let seed = round + 10 * in_flight as u64 + 1_000 * u64::from(is_durable);
        let run = stage.run(Kind::WriteRef, in_flight, seed, TIME);
        rates.push(run.rate);
        cpu.push(run.cpu_ms);
        failures += run.failures;
        sum.merge(&run.figures);
        syncs.push(sync_rate(&stage.node.storage(), in_flight.min(THREADS_MAX)));
    }
    let ms = |share| sum.times.quantile(share).as_secs_f64() * 1e3;
    let (rate, cpu_ms) = (rates.median(), cpu.median());
    let ((slowest, fastest), (least, most)) = (rates.spread(), cpu.spread());
    let first = sum.errors.values().next().map_or("empty answers", |first| &first.message);
    let failed = format!(", **{failures} failed: {first}**");
    let failed = if failures > 0 { &failed } else { "" };
    let mode = if is_durable { "durable" } else { "fsync off" };
    Bar {
        what: format!("write-ref, new refs, {mode}, {in_flight} in flight, server CPU each"),
        figure: format!(
            "{rate:.0}/s, {cpu_ms:.4} ms; p50 {:.2} ms, p99 {:.2} ms{failed}; the disk alone: \
             {:.0} fsyncs/s of new files",
            ms(0.5),
            ms(0.99),
            syncs.median(),
        ),
        limit: format!("≤ {CPU_MS_MAX} ms"),
        noise: format!("{slowest:.0}–{fastest:.0}/s, {least:.4}–{most:.4} ms"),
        met: cpu_ms <= CPU_MS_MAX && failures == 0 && sum.count > 0,
    }
}

/// How many new files of a ref's size so many threads bring to the disk in a second. They go with
/// `storage`.
pub(super) fn sync_rate(storage: &Path, threads: usize) -> f64 {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let folder = storage.join(format!("fsync-{}", RUNS.fetch_add(1, Ordering::Relaxed)));
    let began = Instant::now();
    let write = |thread: usize| {
        let folder = folder.join(thread.to_string());
        fs::create_dir_all(&folder).expect("the storage takes directories");
        let mut count = 0_u64;
        while count < FILES_MAX && began.elapsed() < WARM_UP {
            let file = File::create(folder.join(count.to_string()));
            let mut file = file.expect("the storage takes files");
            file.write_all(&REF_BYTES).and_then(|()| file.sync_all()).expect("the disk works");
            count += 1;
        }
        count
    };
    let count: u64 = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || write(thread))).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    count as f64 / began.elapsed().as_secs_f64()
}
