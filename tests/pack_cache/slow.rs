//! Clients that read slowly, files that are not in memory: nobody else notices.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use gitring_daemon::client::Client;
use gitring_proto::gitaly::RepositoryExistsRequest;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_tests::gitaly::{Door, connect, named, run};
use gitring_tests::history::{Stream, write};
use gitring_tests::http;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::{anonymous_bytes, wait_until};
use gitring_tests::repository::{Kind, Repository};
use tokio::task::JoinSet;

use super::clients::{Fetching, Got, assert_same, clone_of, over_gateway, over_sidechannel};
use super::{
    Roles, SETTLE_MAX, SMALL_WINDOW, assert_healthy, default_directory, files, heavy, packs_built,
    wait_for_kept,
};

/// Everything on one thread: whoever blocks it, blocks all.
const ONE_REACTOR: &str = "[runtime]\nreactors = 1\n";

/// The middle and the worst of many short calls, on a machine that does other things as well.
const MEDIAN_MAX: Duration = Duration::from_millis(150);
const WORST_MAX: Duration = Duration::from_secs(3);

/// What short calls took while something else happened.
#[derive(Debug)]
struct Latencies {
    median: Duration,
    worst: Duration,
}

/// Calls until `done`, one after the other.
async fn probe(client: Client, done: impl Future) -> Latencies {
    let mut done = std::pin::pin!(done);
    let mut repositories = RepositoryServiceClient::new(client);
    let mut all = Vec::new();
    loop {
        let begun = Instant::now();
        let request = RepositoryExistsRequest { repository: named("heavy.git") };
        let reply = repositories.repository_exists(request).await.expect("an answer");
        assert!(reply.into_inner().exists);
        all.push(begun.elapsed());
        tokio::select! {
            _ = &mut done => break,
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
    }
    all.sort();
    let worst = *all.last().expect("at least one");
    Latencies { median: all[all.len() / 2], worst }
}

// === impl Latencies ===

impl Latencies {
    #[track_caller]
    fn assert_short(&self, what: &str) {
        eprintln!("{what}: {self:?}");
        assert!(self.median <= MEDIAN_MAX && self.worst <= WORST_MAX, "{what}: {self:?}");
    }
}

/// The first client stops, others finish long before it reads on; all have the same pack.
#[test]
fn clients_that_stop_hold_up_nobody() {
    let mut node = Node::start_with(&format!("{SMALL_WINDOW}{ONE_REACTOR}"));
    let repository = heavy(&node, 260);
    let input = clone_of(&repository, &["no-progress"]);
    run(async {
        let mut stopped = Vec::new();
        for _ in 0..3 {
            let mut fetching = Fetching::begin(&node, "heavy.git", &input, &[]).await;
            fetching.read_up_to(100_000).await;
            stopped.push(fetching);
        }
        let unread = http::open_upload_pack(node.gateway(), "heavy.git", &input);
        let mut fast = JoinSet::new();
        for _ in 0..4 {
            let fetching = Fetching::begin(&node, "heavy.git", &input, &[]).await;
            fast.spawn_local(fetching.finish());
        }
        let client = connect(&node, Door::Tcp, "").await;
        let (sender, done) = tokio::sync::oneshot::channel::<()>();
        let probing = probe(client, done);
        let (latencies, fast) = tokio::join!(probing, async {
            let fast = fast.join_all().await;
            drop(sender);
            fast
        });
        latencies.assert_short("beside clients that stopped");
        let got = assert_same(&fast);
        got.assert_complete(&[&repository.id("main")]);
        // Half a minute is nothing for a client on a bad line.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for fetching in stopped {
            assert!(fetching.finish().await == *got, "the same bytes, later");
        }
        drop(unread);
    });
    assert_eq!((Roles::of(&node).leads, packs_built(&node)), (1, 1));
    wait_for_kept(&default_directory(&node), 1);
    assert_healthy(&mut node);
}

/// Clients on bad lines, each a piece now and then.
#[test]
fn clients_on_bad_lines() {
    let mut node = Node::start_with(&format!("{SMALL_WINDOW}{ONE_REACTOR}"));
    let repository = heavy(&node, 130);
    let input = clone_of(&repository, &["no-progress"]);
    run(async {
        let mut all = JoinSet::new();
        for at in 0..12_u64 {
            let mut fetching = Fetching::begin(&node, "heavy.git", &input, &[]).await;
            all.spawn_local(async move {
                for step in 1..=20 {
                    fetching.read_up_to(step * 150_000).await;
                    tokio::time::sleep(Duration::from_millis(20 + at * 10)).await;
                }
                fetching.finish().await
            });
        }
        let before = anonymous_bytes(node.pid());
        let begun = Instant::now();
        let fast = Fetching::begin(&node, "heavy.git", &input, &[]).await.finish().await;
        let took = begun.elapsed();
        let slow = all.join_all().await;
        eprintln!("the fast one took {took:?}, the slow ones {:?}", begun.elapsed());
        assert!(took < begun.elapsed() / 2, "it waited for the slow ones");
        let got = assert_same(&slow);
        assert!(*got == fast);
        got.assert_complete(&[&repository.id("main")]);
        let grown = anonymous_bytes(node.pid()).saturating_sub(before);
        assert!(grown < 64 << 20, "{} MiB for slow clients", grown >> 20);
    });
    assert_eq!(Roles::of(&node).leads, 1);
    assert_healthy(&mut node);
}

/// A pack that no disk takes lives in a window of memory, which the slowest client holds. One that
/// does not read at all is sent away after a while, and the others go on.
#[test]
fn a_client_that_stops_a_pack_in_memory_is_sent_away() {
    let table =
        "[pack_objects_cache]\nmin_occurrences = 0\nbytes_max = 0\nwindow_bytes = 1048576\n";
    let mut node = Node::start_with(&format!("{table}{ONE_REACTOR}"));
    let repository = heavy(&node, 260);
    let input = clone_of(&repository, &["no-progress"]);
    let held = node.hold_packs();
    run(async {
        // All of them before the first byte: nobody may join a pack that is in memory already.
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(Fetching::begin(&node, "heavy.git", &input, &[]).await);
        }
        while Roles::of(&node).total() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(held);
        let stopped = all.remove(0);
        let begun = Instant::now();
        let mut others = JoinSet::new();
        for fetching in all {
            others.spawn_local(fetching.finish());
        }
        let others = others.join_all().await;
        assert_same(&others).assert_complete(&[&repository.id("main")]);
        eprintln!("held up for {:?}", begun.elapsed());
        let got = stopped.finish().await;
        assert!(!got.is_whole && got.pack.len() < 4_000_000, "{got:?}");
    });
    assert_eq!(Roles::of(&node).leads, 1);
    let before = anonymous_bytes(node.pid());
    assert!(over_sidechannel(&node, "heavy.git", &input).is_whole);
    let grown = anonymous_bytes(node.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{} MiB for a pack in memory", grown >> 20);
    assert_healthy(&mut node);
}

/// `cold.git`: 24 MB in one pack.
fn cold(node: &Node) -> Repository {
    let repository = Repository::create(&node.storage(), "cold", Kind::Empty);
    let mut stream = Stream::new(77);
    let blobs: Vec<_> = (0..6).map(|_| stream.noise(4 << 20)).collect();
    let changes: Vec<_> =
        blobs.iter().enumerate().map(|(at, blob)| write(&format!("{at}.bin"), *blob)).collect();
    stream.commit("refs/heads/main", &[], &changes);
    repository.import(&stream.finish());
    repository
}

/// Bytes of a file that are in memory, if the system can tell.
fn resident_bytes(file: &Path) -> Option<u64> {
    let words = ["--bytes", "--noheadings", "--output", "RES"];
    let output = Command::new("fincore").args(words).arg(file).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// Takes a file out of memory, as far as nobody has it mapped.
fn evict(file: &Path) {
    let target = format!("of={}", file.display());
    let words = ["if=/dev/null", "oflag=nocache", "conv=notrunc,fdatasync", "count=0"];
    let output = Command::new("dd").args(words).arg(target).output().expect("dd can be started");
    assert!(output.status.success(), "{output:?}");
}

/// Three clients of a finished pack while a fourth one makes short calls.
fn fetch_and_probe(node: &Node, input: &[u8]) -> (Vec<Got>, Latencies) {
    run(async {
        let mut all = JoinSet::new();
        for _ in 0..3 {
            let fetching = Fetching::begin(node, "cold.git", input, &[]).await;
            all.spawn_local(fetching.finish());
        }
        let client = connect(node, Door::Tcp, "").await;
        let (sender, done) = tokio::sync::oneshot::channel::<()>();
        let (latencies, all) = tokio::join!(probe(client, done), async {
            let all = all.join_all().await;
            drop(sender);
            all
        });
        (all, latencies)
    })
}

/// After a restart nobody has the file mapped, so it can be taken out of memory.
#[test]
fn a_file_that_is_not_in_memory() {
    let mut node = Node::start_with(ONE_REACTOR);
    heavy(&node, 2);
    let repository = cold(&node);
    let input = clone_of(&repository, &["no-progress"]);
    let first = over_gateway(&node, "cold.git", &input);
    first.assert_complete(&[&repository.id("main")]);
    let adopted = |node: &Node| metrics::sum(node, "gitring_pack_cache_adopted_total", &[]);
    for round in 0..3 {
        wait_for_kept(&default_directory(&node), 1);
        node.kill();
        node.restart();
        wait_until("the pack is found", SETTLE_MAX, || adopted(&node) == 1);
        let [file] = &files(&default_directory(&node), ".stream")[..] else { panic!("one pack") };
        evict(file);
        let left = resident_bytes(file);
        eprintln!("round {round}: {left:?} bytes of the file are in memory");
        let (all, latencies) = fetch_and_probe(&node, &input);
        latencies.assert_short("beside a cold file");
        assert!(*assert_same(&all) == first);
        // Read through the page cache, so that the next client finds it there.
        if let Some(resident) = resident_bytes(file) {
            let length = std::fs::metadata(file).expect("the file is there").len();
            assert!(resident > length / 10 * 9, "{resident} of {length}");
        }
        assert_eq!(Roles::of(&node), Roles { leads: 0, joins: 0, hits: 3 });
    }
    assert_healthy(&mut node);
}
