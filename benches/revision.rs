//! Revisions to commits, as FindCommit answers them, in a repository of 2,000 commits and refs.
//!
//! Always true: each round asks for another of 1,000 commits or refs, so that no single object
//! is hot.
//! Never here: the snapshot's own costs (`refs`), gRPC.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gitring_benches::repositories::{open, settled, with_refs};
use gitring_git::commit::{self, Details};
use gitring_git::ref_list::{self, DateOf, Key, Patterns, Query};
use gitring_git::repository::Snapshot;
use gitring_git::revision::{Resolved, Revision};
use tempfile::TempDir;

const REFS: usize = 2_000;
const ASKED: usize = 1_000;

fn branch(n: usize) -> String {
    format!("refs/heads/topic/{n}")
}

/// What FindCommit does with a snapshot, up to the message that is sent.
fn find(snapshot: &Snapshot, text: &str) -> usize {
    match commit::find(snapshot, &Revision::parse(text.into())) {
        Ok(Resolved::Found(found)) => Details::parse(&found.data).subject.len(),
        other => panic!("{text}: {other:?}"),
    }
}

fn revisions(criterion: &mut Criterion) {
    let storage = TempDir::new().expect("a temporary directory");
    let bare = with_refs(storage.path(), REFS, true, branch);
    let repository = open(&bare);
    let snapshot = settled(&repository);
    let refs = snapshot.with_prefix(b"refs/heads/topic/");
    let full: Vec<_> = refs.iter().take(ASKED).map(|one| one.name.to_string()).collect();
    let ids: Vec<_> = refs.iter().take(ASKED).map(|one| one.target.to_string()).collect();
    let short = full.iter().map(|name| name.trim_start_matches("refs/heads/").to_owned()).collect();
    let abbreviated = ids.iter().map(|id| id[..12].to_owned()).collect();
    let parents = full.iter().map(|name| format!("{name}~1^{{commit}}")).collect();
    let mut group = criterion.benchmark_group("find-commit");
    for (label, asked) in [
        ("by id", ids),
        ("by full name", full),
        ("by branch", short),
        ("by abbreviated id", abbreviated),
        ("by ancestor", parents),
    ] {
        let mut next = asked.iter().cycle();
        group.bench_function(BenchmarkId::new(label, REFS), |bencher| {
            bencher.iter(|| find(&snapshot, black_box(next.next().expect("a cycle"))));
        });
        // As the node does it for every request: the snapshot is checked first.
        group.bench_function(BenchmarkId::new(format!("{label}, snapshot checked"), REFS), |b| {
            b.iter(|| {
                let snapshot = repository.snapshot().expect("a repository");
                find(&snapshot, black_box(next.next().expect("a cycle")))
            });
        });
    }
    group.finish();
    lists(criterion, &snapshot);
}

fn lists(criterion: &mut Criterion, snapshot: &Arc<Snapshot>) {
    let mut group = criterion.benchmark_group("list-refs");
    let patterns = Patterns::new(vec!["refs/heads/".into(), "refs/tags/".into()]);
    for (label, key) in [("by name", Key::Name), ("by date", Key::Date(DateOf::Creator))] {
        let query = Query { patterns: patterns.clone(), key, ..Query::default() };
        group.bench_function(BenchmarkId::new(label, REFS), |bencher| {
            bencher.iter(|| ref_list::list(snapshot, black_box(&query)).map(|list| list.len()));
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    let (warm_up, measured) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(measured)
}

criterion_group! { name = benches; config = settings(); targets = revisions }
criterion_main!(benches);
