//! Negotiation, depths and tags over a history of 20,000 commits, with and without a
//! commit-graph.
//!
//! Always true: every answer that git gives without a pack is compared with git's before it is
//! measured. Ours reads each commit anew in every round, as each request of the node does.
//! Never here: packs. Never several processes for one figure, but for those named `git`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use gitring_benches::conversation::{fetch, ours, stock};
use gitring_benches::repositories::{long_history, open, settled};
use gitring_git::ObjectId;
use gitring_git::history::{Cancel, History};
use gitring_git::repository::Snapshot;
use gitring_git::upload_pack::Settings;
use gitring_git::upload_pack::negotiation::Negotiation;
use gitring_git::upload_pack::refs::View;
use gitring_git::upload_pack::tags::{Sent, included};
use gitring_tests::repository::Repository as Bare;
use tempfile::TempDir;

/// Commits on the main branch.
const COMMITS: usize = 20_000;

/// Haves of a request: what a client sends at most in one round over HTTP by then.
const HAVES: usize = 256;

/// One repository in both forms.
struct Subject {
    label: &'static str,
    bare: Bare,
    snapshot: Arc<Snapshot>,
}

fn subjects(storage: &TempDir) -> Vec<Subject> {
    let plain = long_history(storage.path(), COMMITS);
    let with_graph = plain.copy("history-with-graph");
    with_graph.git(&["commit-graph", "write", "--reachable"]);
    let subject = |(label, bare): (_, Bare)| {
        let snapshot = settled(&open(&bare));
        Subject { label, bare, snapshot }
    };
    [("no commit-graph", plain), ("commit-graph", with_graph)].map(subject).into()
}

fn negotiation(criterion: &mut Criterion) {
    let storage = TempDir::new().expect("a temporary directory");
    for subject in subjects(&storage) {
        haves(criterion, &subject);
        ready(criterion, &subject);
        depths(criterion, &subject);
        tags(criterion, &subject);
    }
}

/// Half of the haves are the client's own; `alone` keeps the server from being ready.
fn haves(criterion: &mut Criterion, subject: &Subject) {
    let mut arguments: Vec<String> =
        ["main", "alone"].map(|name| format!("want {}", subject.bare.id(name))).into();
    arguments.extend((0..HAVES / 2).map(|n| format!("have {:040x}", n + 1)));
    let known = subject.bare.git(&["rev-list", "--first-parent", "--skip=1000", "main"]);
    // git before 2.45 also acknowledges parents of earlier haves; no such have is among these.
    let apart = known.lines().step_by(3).take(HAVES / 2);
    arguments.extend(apart.map(|id| format!("have {id}")));
    let request = fetch(&arguments);
    let answer = ours(&subject.snapshot, &request);
    assert_eq!(answer, stock(&subject.bare.path, &request), "both acknowledge the same");
    let mut group = criterion.benchmark_group("v2 fetch, 256 haves, not ready");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new("ours", subject.label), |bencher| {
        bencher.iter(|| ours(&subject.snapshot, &request));
    });
    group.bench_function(BenchmarkId::new("git upload-pack", subject.label), |bencher| {
        bencher.iter(|| stock(&subject.bare.path, &request));
    });
    group.finish();
}

/// Whether `main` reaches a have 10,000 commits down.
fn ready(criterion: &mut Criterion, subject: &Subject) {
    let [want, have] = [id(&subject.bare, "main"), id(&subject.bare, "main~10000")];
    let mut group = criterion.benchmark_group("ready, a have 10,000 commits down");
    group.bench_function(subject.label, |bencher| {
        bencher.iter(|| {
            let store = &subject.snapshot.store;
            let mut history = History::new(Arc::clone(store), Cancel::default());
            let mut negotiation = Negotiation::default();
            negotiation.want(&[want]);
            assert!(negotiation.have(&mut history, store, &have).expect("readable"));
            assert!(negotiation.ready(&mut history).expect("readable"));
        });
    });
    group.finish();
}

/// The boundary and all else that comes before the pack of a shallow clone.
fn depths(criterion: &mut Criterion, subject: &Subject) {
    let mut group = criterion.benchmark_group("shallow clone up to its pack");
    for depth in [20, 50] {
        let want = format!("want {}", subject.bare.id("main"));
        let request = fetch(&[want, format!("deepen {depth}"), "done".to_owned()]);
        group.bench_function(
            BenchmarkId::new(format!("depth {depth}"), subject.label),
            |bencher| {
                bencher.iter(|| ours(&subject.snapshot, &request));
            },
        );
    }
    group.finish();
}

/// The tags of a clone and of a fetch of the last 100 commits, 499 tags to choose from.
fn tags(criterion: &mut Criterion, subject: &Subject) {
    let snapshot = &subject.snapshot;
    let settings = Settings::from_config(&snapshot.config).expect("a generated configuration");
    let namespace = Default::default();
    let candidates = View::new(snapshot, &namespace, &settings.hide).tags();
    let (wants, have) = ([id(&subject.bare, "main")], [id(&subject.bare, "main~100")]);
    let mut group = criterion.benchmark_group("include-tag, 499 tags");
    group.sampling_mode(SamplingMode::Flat);
    for (what, haves, expected) in [("clone", &[][..], candidates.len()), ("100 commits", &have, 2)]
    {
        let sent = Sent { wants: &wants, haves, filter: None };
        group.bench_function(BenchmarkId::new(what, subject.label), |bencher| {
            bencher.iter(|| {
                let store = Arc::clone(&snapshot.store);
                let mut history = History::new(store, Cancel::default());
                let tags = included(&mut history, &candidates, &sent).expect("readable");
                assert_eq!(black_box(tags).len(), expected);
            });
        });
    }
    group.finish();
}

fn id(bare: &Bare, revision: &str) -> ObjectId {
    ObjectId::from_hex(bare.id(revision).as_bytes()).expect("git prints ids")
}

fn settings() -> Criterion {
    let (warm_up, measured) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(measured)
}

criterion_group! { name = benches; config = settings(); targets = negotiation }
criterion_main!(benches);
