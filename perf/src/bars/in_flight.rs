//! Anonymous memory of the node with many clones in flight, half of them read slowly.
//!
//! Always true: memory is sampled while clones run; children and the page cache are not in it.
//!
//! Never here: throughput.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::process;
use gitring_tests::repository::Repository;

use super::{Bar, clone_cpu};

/// Clones at once.
const CLONES: usize = 64;

/// Pause of a slow reader between pieces of at most 64 KiB: about 3 MB/s.
const SLOW_PAUSE: Duration = Duration::from_millis(20);

/// Longest run; slow readers of a big repository are cut off then.
const RUN_MAX: Duration = Duration::from_secs(60);

/// The bar.
const ANONYMOUS_BYTES_MAX: u64 = 100 << 20;

/// Measures with the given repository in the node's storage.
pub fn measure(node: &Node, repository: &Repository) -> Bar {
    let body = clone_cpu::request(&clone_cpu::wants(repository));
    let relative = repository.relative();
    let idle = process::anonymous_bytes(node.pid());
    let start = Instant::now();
    let (running, bytes) = (AtomicUsize::new(CLONES), AtomicU64::new(0));
    let (peak, cut) = (AtomicU64::new(idle), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..CLONES {
            let (body, relative) = (&body, &relative);
            let (running, bytes, cut) = (&running, &bytes, &cut);
            scope.spawn(move || {
                let pause = if number % 2 == 0 { Duration::ZERO } else { SLOW_PAUSE };
                let mut stream = http::open_upload_pack(node.gateway(), relative, body);
                let read = http::drain(&mut stream, pause, || cut.load(Ordering::SeqCst));
                bytes.fetch_add(read, Ordering::SeqCst);
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while running.load(Ordering::SeqCst) > 0 {
            peak.fetch_max(process::anonymous_bytes(node.pid()), Ordering::SeqCst);
            cut.store(start.elapsed() > RUN_MAX, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (peak, bytes) = (peak.into_inner(), bytes.into_inner());
    let cut = if cut.into_inner() { ", slow readers cut off" } else { "" };
    Bar {
        what: format!("anonymous memory, {CLONES} clones in flight, half slow{cut}"),
        figure: format!("{} MiB ({} MB sent)", peak >> 20, bytes / 1_000_000),
        limit: format!("{} MiB", ANONYMOUS_BYTES_MAX >> 20),
        noise: format!("idle {} MiB", idle >> 20),
        met: peak < ANONYMOUS_BYTES_MAX && bytes > 0,
    }
}
