//! Ten times more clones than are built at once, and small requests beside them.

use super::clones::{Bands, clone_as, shallow};
use super::{heavy, wait_for_packs};
use gitring_proto::gitaly::FindDefaultBranchNameRequest;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_tests::gitaly::{Door, connect, named, run};
use gitring_tests::history;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::{children, wait_until};
use gitring_tests::repository::{Kind, Repository};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Built at once, and clones that want to be.
const AT_ONCE: usize = 2;
const CLONES: usize = 20;

/// The 99th percentile of small requests, until told to stop, at least so many.
fn small_requests(node: &Node, count: usize, stop: &AtomicBool) -> Duration {
    run(async {
        let client = connect(node, Door::Tcp, "").await;
        let mut refs = RefServiceClient::new(client);
        let mut times = Vec::new();
        while times.len() < count || !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let request = FindDefaultBranchNameRequest {
                repository: named("small.git"),
                ..Default::default()
            };
            refs.find_default_branch_name(request).await.expect("small requests are served");
            times.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.sort();
        times[times.len() * 99 / 100]
    })
}

#[test]
fn small_requests_go_on_beside_ten_times_more_clones_than_are_built() {
    let node = Node::start_with(&format!("[pack_building]\nmax_concurrency = {AT_ONCE}\n"));
    let repository = heavy(&node, 200);
    let small = Repository::create(&node.storage(), "small", Kind::Empty);
    small.import(&history::varied(1));
    let stop = AtomicBool::new(true);
    let idle = small_requests(&node, 200, &stop);
    stop.store(false, Ordering::Relaxed);
    let (loaded, most) = std::thread::scope(|scope| {
        let small = scope.spawn(|| small_requests(&node, 200, &stop));
        let clones: Vec<_> = (0..CLONES)
            .map(|at| {
                let (node, input) = (&node, shallow(&repository, 180 + at));
                let user = format!("user {}", at % 5);
                scope.spawn(move || run(clone_as(node, &user, "heavy.git", &input)))
            })
            .collect();
        let mut most = 0;
        while clones.iter().any(|clone| !clone.is_finished()) {
            most = most.max(metrics::sum(&node, "gitaly_pack_objects_in_progress", &[]));
            std::thread::sleep(Duration::from_millis(5));
        }
        for clone in clones {
            Bands::whole(&clone.join().expect("no client panics"));
        }
        stop.store(true, Ordering::Relaxed);
        (small.join().expect("small requests are served"), most)
    });
    // One more from the reserve, and some that go on after their clients were behind.
    assert!((1..=AT_ONCE as u64 * 3).contains(&most), "{most} were built at once");
    // Loose: other tests run beside this one. `measure --only overload` has the real bar.
    let limit = (idle * 20).max(idle + Duration::from_secs(1));
    assert!(loaded <= limit, "{loaded:?} under load, {idle:?} else");
    wait_for_packs(&node, 0, 0);
    wait_until("no child is left", super::SETTLE_MAX, || children(node.pid()).is_empty());
}
