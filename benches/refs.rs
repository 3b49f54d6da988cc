//! Snapshots and `ls-refs`, by number of refs and how they lie on disk, beside stock git.
//!
//! Always true: both sides answer the same bytes to the same request, checked before measuring.
//! Stock's time is the wall time of a `git upload-pack --stateless-rpc` child from its start to
//! its end; ours is that of the calls which stand in its place, without a process, threads or HTTP.
//! Never here: CPU of whole processes; `perf/` measures that.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use gitring_benches::conversation::{list_refs, ours, stock};
use gitring_benches::repositories::{open, settled, with_refs};
use gitring_tests::repository::Repository as Bare;
use tempfile::TempDir;

fn branch(n: usize) -> String {
    format!("refs/heads/topic/{n}")
}

fn merge_request(n: usize) -> String {
    format!("refs/merge-requests/{n}/head")
}

/// Each repository with the words that name it in results.
fn repositories(storage: &TempDir) -> Vec<(&'static str, Bare)> {
    let packed = |refs| with_refs(storage.path(), refs, true, branch);
    vec![
        ("10 packed", packed(10)),
        ("1,000 packed", packed(1_000)),
        ("50,000 packed", packed(50_000)),
        ("5,000 loose merge requests", with_refs(storage.path(), 5_000, false, merge_request)),
    ]
}

fn refs(criterion: &mut Criterion) {
    let storage = TempDir::new().expect("a temporary directory");
    for (label, repository) in repositories(&storage) {
        snapshots(criterion, label, &repository);
        lists(criterion, label, &repository);
    }
}

fn snapshots(criterion: &mut Criterion, label: &str, bare: &Bare) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new("first read", label), |bencher| {
        bencher.iter(|| open(black_box(bare)).snapshot());
    });
    let repository = open(bare);
    settled(&repository);
    group.bench_function(BenchmarkId::new("revalidation", label), |bencher| {
        bencher.iter(|| repository.snapshot());
    });
    let mut changed = Changed::new(bare);
    group.bench_function(BenchmarkId::new("re-read after one change", label), |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                settled(&repository);
                changed.write();
                let start = Instant::now();
                black_box(repository.snapshot().expect("a generated repository"));
                spent += start.elapsed();
            }
            spent
        });
    });
    changed.remove();
    group.finish();
}

fn lists(criterion: &mut Criterion, label: &str, bare: &Bare) {
    let repository = open(bare);
    let request = list_refs();
    let answer = ours(&settled(&repository), &request);
    assert_eq!(answer, stock(&bare.path, &request), "both list the same refs");
    let mut group = criterion.benchmark_group("ls-refs");
    group.sampling_mode(SamplingMode::Flat);
    // As the node does it for every request: the snapshot is checked first.
    group.bench_function(BenchmarkId::new("ours, snapshot kept", label), |bencher| {
        bencher.iter(|| ours(&repository.snapshot().expect("a repository"), &request));
    });
    let snapshot = settled(&repository);
    group.bench_function(BenchmarkId::new("ours, answer alone", label), |bencher| {
        bencher.iter(|| ours(&snapshot, &request));
    });
    group.bench_function(BenchmarkId::new("git upload-pack", label), |bencher| {
        bencher.iter(|| stock(&bare.path, &request));
    });
    group.finish();
}

/// A loose branch that is moved between two commits, as git moves it: by a rename.
struct Changed {
    path: PathBuf,
    ids: [String; 2],
}

// === impl Changed ===

impl Changed {
    fn new(bare: &Bare) -> Self {
        let ids = [bare.id("refs/heads/main"), bare.id("refs/tags/t4^{commit}")];
        Self { path: bare.path.join("refs/heads/moving"), ids }
    }

    fn write(&mut self) {
        self.ids.swap(0, 1);
        let lock = self.path.with_extension("lock");
        fs::write(&lock, format!("{}\n", self.ids[0])).expect("the lock can be written");
        fs::rename(&lock, &self.path).expect("the lock can be renamed");
    }

    fn remove(self) {
        // Nothing is there where a filter left the bench out.
        drop(fs::remove_file(self.path));
    }
}

fn settings() -> Criterion {
    let (warm_up, measured) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(measured)
}

criterion_group! { name = benches; config = settings(); targets = refs }
criterion_main!(benches);
