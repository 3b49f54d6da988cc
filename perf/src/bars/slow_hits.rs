//! Anonymous memory of the node for each slow client of a pack that it has kept.
//!
//! Plan: 512 clients on 8 TCP connections ask for the same full clone at once and read 1 MB/s each,
//! so that every window and every queue between the file and them is full. Memory is sampled until
//! they are cut off; what the node had before, behind a clone that counts for nothing, is taken off.
//!
//! Always true: children, the page cache and the kernel's socket buffers are not in the figure.
//!
//! Never here: CPU, and clients of the gateway; see [`super::in_flight`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gitring_tests::gitaly::Door;
use gitring_tests::node::Node;
use gitring_tests::process;
use gitring_tests::repository::Repository;

use super::{Bar, clone_cpu, hit};
use crate::load::herd::visit::Summary;
use crate::load::herd::{Fetch, Herd, Reader};

const CLIENTS: usize = 512;
const CONNECTIONS: usize = 8;
const BYTES_PER_S: u32 = 1_000_000;

/// How long they read.
const TIME: Duration = Duration::from_secs(12);

/// The bar, for each of them.
const BYTES_MAX: u64 = 300 << 10;

/// Measures with a repository in the node's storage.
pub fn measure(node: &Node, repository: &Repository) -> Bar {
    let body = clone_cpu::request(&clone_cpu::wants(repository));
    let fetch = Fetch::new(&repository.relative(), body);
    hit::clones(node, &fetch, Door::Mux, (1, 1));
    let idle = process::anonymous_bytes(node.pid());
    let herd = Herd {
        address: Door::Mux.address(node),
        fetch: &fetch,
        threads: 1,
        connections: CONNECTIONS,
        readers: vec![Reader::Slow { bytes_per_s: BYTES_PER_S }; CLIENTS],
        times: 1,
        slow_stay: TIME,
    };
    let ended = AtomicBool::new(false);
    let (peak, sum) = std::thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut peak = idle;
            while !ended.load(Ordering::SeqCst) {
                peak = peak.max(process::anonymous_bytes(node.pid()));
                std::thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        let visits = herd.run().expect("the node accepts");
        ended.store(true, Ordering::SeqCst);
        (sampling.join().expect("a sampler does not panic"), Summary::of(&visits))
    });
    let each = (peak - idle) / CLIENTS as u64;
    let served = sum.first_of_packs.count();
    Bar {
        what: format!(
            "anonymous memory for each of {CLIENTS} slow hits, Tcp, {CONNECTIONS} connections"
        ),
        figure: format!(
            "{} KiB ({} MiB at most; {served} were served, {} MB in all)",
            each >> 10,
            peak >> 20,
            sum.bytes / 1_000_000
        ),
        limit: format!("≤ {} KiB", BYTES_MAX >> 10),
        noise: format!("idle {} MiB", idle >> 20),
        met: each <= BYTES_MAX && served == CLIENTS as u64 && sum.failures.0 == 0,
    }
}
