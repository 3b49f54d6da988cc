//! Hours of mixed load on one node, with clients that die: does anything grow, or stay behind?
//!
//! ```text
//!   gRPC: unary calls, fetches, clients that vanish ──┐
//!   git over HTTP: clones, fetches, pushes, killed ───┼─► node ◄── a sample every minute
//!   open sockets that say half of something ──────────┘
//! ```
//!
//! Always true: the node is judged by the kernel's figures and its own gauges; idle after the
//! load means as idle as after a first, short load.
//!
//! Never here: how fast anything is.

pub mod clients;
pub mod sample;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gitring_daemon::client::Address;
use gitring_proto::gitaly::Repository as Named;
use gitring_tests::node::Node;
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::{git, history};

use crate::load::{self, Plan};
use sample::Sample;

/// Between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// The first load, after which the node's idle figures count.
const WARM_UP: Duration = Duration::from_secs(60);
/// How long the node may take to become idle: a client that takes nothing has five minutes.
const IDLE_MAX: Duration = Duration::from_secs(400);
/// Between two rounds of housekeeping, which keeps the repository as large as it is.
const KEEP_EVERY: Duration = Duration::from_secs(240);
/// Commits of the repository that is fetched: about 6 MB.
const COMMITS: usize = 200;
/// Git clients of each kind.
const GITS: usize = 2;
/// What gRPC clients ask for.
const MIX: &str = "repository-exists=20,ref-exists=30,find-commit=30,ls-refs=10,clone=2,fetch=4,\
                   ssh-clone=1,info-refs=3";
/// The node takes pushes; its limits are the usual ones.
const CONFIGURATION: &str = "receive_pack = true\n[hooks]\nwithout_gitlab = \"allow\"\n";

/// What clients did.
#[derive(Debug, Default)]
pub struct Deeds {
    /// Git commands that ended by themselves, and well.
    pub done: AtomicU64,
    /// That were killed, or left.
    pub killed: AtomicU64,
    /// That failed.
    pub failed: AtomicU64,
}

/// What came of a soak.
#[derive(Debug)]
pub struct Outcome {
    /// After the warm-up, idle.
    pub before: Sample,
    /// Under load, once a minute.
    pub under_load: Vec<Sample>,
    /// After the load, idle.
    pub after: Sample,
    /// Git commands.
    pub deeds: Arc<Deeds>,
    /// Requests over gRPC: answered, failed.
    pub requests: (u64, u64),
}

/// Loads a node of its own for so long.
///
/// # Errors
/// The node never becomes idle, or the load cannot be made.
pub fn run(time: Duration, seed: u64, tell: &dyn Fn(&str)) -> Result<Outcome, String> {
    let node = Node::start_with(CONFIGURATION);
    let storage = node.storage();
    let repository = Repository::create(&storage, "varied", Kind::Varied);
    repository.allow_everything();
    let heavy = Repository::create(&storage, "heavy", Kind::Empty);
    heavy.import(&history::heavy(COMMITS));
    heavy.git(&["repack", "-adq", "--write-bitmap-index"]);
    let node = Arc::new(node);
    tell(Sample::header());
    let warm = load(&node, WARM_UP, seed, &mut |_| {})?;
    drop(warm);
    let before = idle(&node)?;
    tell(&format!("idle    {before}"));
    let mut under_load = Vec::new();
    let (deeds, requests) = load(&node, time, seed.wrapping_add(1), &mut |sample| {
        tell(&format!("loaded  {sample}"));
        under_load.push(sample);
    })?;
    let after = idle(&node)?;
    tell(&format!("idle    {after}"));
    Ok(Outcome { before, under_load, after, deeds, requests })
}

/// All clients at once, with a sample every minute.
fn load(
    node: &Arc<Node>,
    time: Duration,
    seed: u64,
    each: &mut dyn FnMut(Sample),
) -> Result<(Arc<Deeds>, (u64, u64)), String> {
    let stop = Arc::new(AtomicBool::new(false));
    let deeds = Arc::new(Deeds::default());
    let mut random = Random::new(seed);
    let mut threads = Vec::new();
    for (name, client) in clients::KINDS {
        for _ in 0..GITS {
            let (node, stop, deeds) = (Arc::clone(node), Arc::clone(&stop), Arc::clone(&deeds));
            let mut random = Random::new(random.next_u64());
            let client = move || {
                while !stop.load(Ordering::Relaxed) {
                    client(&node, &deeds, &mut random);
                }
            };
            let started = thread::Builder::new().name(name.to_owned()).spawn(client);
            threads.push(started.map_err(|error| error.to_string())?);
        }
    }
    let plan = plan(node, time, random.next_u64())?;
    let calls = thread::spawn(move || {
        let targets = load::list(&plan).map_err(|error| error.to_string())?;
        load::run(&plan, &targets).map_err(|error| error.to_string())
    });
    let began = Instant::now();
    let (mut sampled, mut kept) = (began, began);
    while began.elapsed() < time && !calls.is_finished() {
        thread::sleep(Duration::from_millis(200));
        if sampled.elapsed() >= SAMPLE_EVERY {
            sampled = Instant::now();
            each(Sample::take(node, began.elapsed()));
        }
        if kept.elapsed() >= KEEP_EVERY {
            kept = Instant::now();
            // What others push meanwhile may make it fail; the next round is near.
            let path = node.storage().join("varied.git");
            drop(git::try_run(&path, &["gc", "--quiet", "--prune=2.minutes.ago"]));
        }
    }
    let outcome = calls.join().map_err(|_| "the clients of gRPC panicked")?;
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a git client panicked")?;
    }
    let outcome = outcome?;
    let rows = outcome.rows.iter().map(|(_, figures)| figures);
    Ok((
        deeds,
        rows.fold((0, 0), |(answered, failed), figures| {
            (answered + figures.count, failed + figures.failures())
        }),
    ))
}

fn plan(node: &Node, time: Duration, seed: u64) -> Result<Plan, String> {
    let address: Address = format!("tcp://{}", node.gitaly_address())
        .parse()
        .map_err(|error| format!("the node's address: {error}"))?;
    Ok(Plan {
        address,
        token: Vec::new(),
        repository: Named {
            storage_name: "default".to_owned(),
            relative_path: "heavy.git".to_owned(),
            ..Named::default()
        },
        connections: 8,
        in_flight: 16,
        threads: 1,
        time,
        mix: MIX.parse().map_err(|error| format!("the mix: {error}"))?,
        slow: 2,
        vanishing: 4,
        seed,
    })
}

/// Waits until nothing runs, nothing waits and nobody is connected.
fn idle(node: &Node) -> Result<Sample, String> {
    let began = Instant::now();
    loop {
        let sample = Sample::take(node, began.elapsed());
        if sample.is_idle() {
            return Ok(sample);
        }
        if began.elapsed() > IDLE_MAX {
            return Err(format!("not idle after {} s: {sample}", IDLE_MAX.as_secs()));
        }
        thread::sleep(Duration::from_millis(500));
    }
}

// === impl Outcome ===

impl Outcome {
    /// What grew or stayed, in sentences; none if all is well.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.after.beyond(&self.before, "idle after the load, before it");
        // The first minutes fill caches: the second third is compared with the last one.
        let third = self.under_load.len() / 3;
        if third > 0 {
            let early = Sample::mean(&self.under_load[third..2 * third]);
            let late = Sample::mean(&self.under_load[2 * third..]);
            faults.extend(late.beyond(&early, "last third under load, second third"));
        }
        if self.requests.1 > 0 {
            faults.push(format!("{} requests over gRPC failed", self.requests.1));
        }
        let failed = self.deeds.failed.load(Ordering::Relaxed);
        if failed > 0 {
            faults.push(format!("{failed} git commands failed that nobody killed"));
        }
        faults
    }
}
