//! Rate, server CPU and latency of Gitaly's small calls, while refs change.
//!
//! Always true: the client works on the same cores; an answer without content or a failure is no
//! rate.
//!
//! Never here: a reference. Stock Gitaly's figures were taken on another day.

use std::time::Duration;

use gitring_daemon::client::Address;
use gitring_proto::gitaly;
use gitring_tests::history;
use gitring_tests::node::Node;
use gitring_tests::process;
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind as Contents, Repository};

use super::Bar;
use super::ref_updates::RefUpdates;
use crate::load::kind::Kind;
use crate::load::mix::Mix;
use crate::load::targets::Targets;
use crate::load::{self, Plan};
use crate::series::Series;

/// Branches of the repository, each with a commit of its own, and a tag for every fourth one.
const BRANCHES: usize = 1_600;

const CONNECTIONS: usize = 4;
const IN_FLIGHT: [usize; 2] = [8, 64];

/// Runs that count, and the one before them that does not.
const ROUNDS: u64 = 3;
const TIME: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);

/// The bars.
const RATE_MIN: f64 = 10_000.0;
const CPU_MS_MAX: f64 = 0.06;

/// What is called.
const KINDS: [Kind; 4] =
    [Kind::RepositoryExists, Kind::RefExists, Kind::FindCommit, Kind::FindDefaultBranchName];

/// A node with a repository of packed refs, and what can be asked of it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) repository: Repository,
    pub(super) targets: Targets,
}

/// Figures of one run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) rate: f64,
    pub(super) cpu_ms: f64,
    pub(super) client_cpu_ms: f64,
    pub(super) figures: load::figures::Figures,
    pub(super) failures: u64,
}

/// Measures each call with few and with many in flight.
pub fn measure() -> Vec<Bar> {
    let stage = Stage::set();
    let pairs = KINDS.iter().flat_map(|kind| IN_FLIGHT.map(|in_flight| (*kind, in_flight)));
    pairs.map(|(kind, in_flight)| bar(&stage, kind, in_flight)).collect()
}

fn bar(stage: &Stage, kind: Kind, in_flight: usize) -> Bar {
    stage.repository.git(&["pack-refs", "--all"]);
    let branches: Vec<String> =
        stage.targets.refs.iter().filter(|name| name.starts_with("refs/heads/")).cloned().collect();
    let updates = RefUpdates::start(&stage.repository, &branches, &stage.targets.commits);
    stage.run(kind, in_flight, 0, WARM_UP);
    let (mut rates, mut cpu, mut client) =
        (Series::default(), Series::default(), Series::default());
    let (mut failures, mut sum) = (0, load::figures::Figures::default());
    let before = updates.count();
    for round in 1..=ROUNDS {
        let run = stage.run(kind, in_flight, round, TIME);
        rates.push(run.rate);
        cpu.push(run.cpu_ms);
        client.push(run.client_cpu_ms);
        failures += run.failures;
        sum.merge(&run.figures);
    }
    let updated = updates.count() - before;
    let ms = |share| sum.times.quantile(share).as_secs_f64() * 1e3;
    let (rate, cpu_ms) = (rates.median(), cpu.median());
    let ((slowest, fastest), (least, most)) = (rates.spread(), cpu.spread());
    let first = sum.errors.values().next().map_or("empty answers", |first| &first.message);
    let failed = format!(", **{failures} failed: {first}**");
    let failed = if failures > 0 { &failed } else { "" };
    Bar {
        what: format!(
            "{kind}, {in_flight} in flight on {CONNECTIONS} connections, server CPU each"
        ),
        figure: format!(
            "{rate:.0}/s, {cpu_ms:.4} ms; p50 {:.2} ms, p99 {:.2} ms{failed}",
            ms(0.5),
            ms(0.99)
        ),
        limit: format!("≥ {RATE_MIN:.0}/s, ≤ {CPU_MS_MAX} ms"),
        noise: format!(
            "{slowest:.0}–{fastest:.0}/s, {least:.4}–{most:.4} ms; client {:.4} ms, {updated} refs \
             updated",
            client.median()
        ),
        met: rate >= RATE_MIN && cpu_ms <= CPU_MS_MAX && failures == 0,
    }
}

// === impl Stage ===

impl Stage {
    pub(super) fn set() -> Self {
        Self::on(Node::start())
    }

    /// The same on a node that runs.
    pub(super) fn on(node: Node) -> Self {
        let repository = Repository::create(&node.storage(), "refs", Contents::Empty);
        let heads = |n: usize| format!("refs/heads/topic/{n}");
        repository.import(&history::many_refs(BRANCHES, heads));
        repository.git(&["repack", "-adq"]);
        repository.git(&["pack-refs", "--all"]);
        let listed = repository.git(&["show-ref", "--head", "--dereference"]);
        let targets = Targets::parse(&listed, &mut Random::new(7));
        let targets = targets.expect("git prints refs as it says");
        Self { node, repository, targets }
    }

    pub(super) fn run(&self, kind: Kind, in_flight: usize, seed: u64, time: Duration) -> Run {
        let gitaly = self.node.gitaly_address();
        let plan = Plan {
            address: Address::Tcp { host: gitaly.ip().to_string(), port: gitaly.port() },
            token: Vec::new(),
            repository: gitaly::Repository {
                storage_name: "default".to_owned(),
                relative_path: self.repository.relative(),
                ..Default::default()
            },
            connections: CONNECTIONS.min(in_flight),
            in_flight,
            threads: 1,
            time,
            mix: Mix::only(kind),
            slow: 0,
            vanishing: 0,
            seed,
        };
        let cpu = || (process::cpu_time(self.node.pid()), process::cpu_time(std::process::id()));
        let (before, own_before) = cpu();
        let outcome = load::run(&plan, &self.targets).expect("the node takes the load");
        let (after, own_after) = cpu();
        let failures = outcome.failures();
        let figures = outcome.of(kind).cloned().unwrap_or_default();
        // A run without answers fails its bar by its rate.
        let each = |used: Duration| used.as_secs_f64() * 1e3 / figures.count.max(1) as f64;
        Run {
            rate: figures.count as f64 / outcome.elapsed.as_secs_f64(),
            cpu_ms: each(after - before),
            client_cpu_ms: each(own_after - own_before),
            failures,
            figures,
        }
    }
}
