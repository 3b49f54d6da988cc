//! What a fetch costs up to its pack, key included: an incremental one, and clones with few and
//! with a thousand tips, over a history of 20,000 commits with and without a commit-graph.
//!
//! Always true: each round runs through decoder, machine and a new desk, as each request of the
//! node does; the snapshot is shared, as in the node.
//! Never here: building packs.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gitring_benches::conversation::{fetch, ours};
use gitring_benches::repositories::{long_history, open, settled, with_refs};
use gitring_git::repository::Snapshot;
use gitring_tests::repository::Repository as Bare;
use tempfile::TempDir;

/// Commits on the main branch.
const COMMITS: usize = 20_000;
/// Refs of the wide repository, a quarter of them annotated tags.
const REFS: usize = 1_014;
/// Haves of an incremental fetch: what git sends in its first round.
const HAVES: usize = 16;

fn keys(criterion: &mut Criterion) {
    let storage = TempDir::new().expect("a temporary directory");
    let plain = long_history(storage.path(), COMMITS);
    let with_graph = plain.copy("history-with-graph");
    with_graph.git(&["commit-graph", "write", "--reachable"]);
    let mut group = criterion.benchmark_group("up to the pack");
    for (label, bare) in [("no commit-graph", &plain), ("commit-graph", &with_graph)] {
        let snapshot = settled(&open(bare));
        for (what, back) in [("1 commit", 1), ("50 commits", 50), ("900 commits", 900)] {
            let request = incremental(bare, back);
            measure(&mut group, &format!("{what} behind"), label, &snapshot, &request);
        }
        let single = [format!("want {}", bare.id("main")), "include-tag".into(), "done".into()];
        measure(&mut group, "clone of one branch", label, &snapshot, &fetch(&single));
        measure(&mut group, "clone of all", label, &snapshot, &clone(bare));
    }
    let wide = with_refs(storage.path(), REFS, true, |n| format!("refs/heads/topic/{n}"));
    measure(&mut group, "clone", "1,014 tips", &settled(&open(&wide)), &clone(&wide));
    group.finish();
}

fn incremental(bare: &Bare, back: usize) -> Vec<u8> {
    let skip = format!("--skip={back}");
    let had = bare.git(&["rev-list", "--first-parent", &skip, &format!("-{HAVES}"), "main"]);
    let mut lines = vec![format!("want {}", bare.id("main")), "include-tag".to_owned()];
    lines.extend(had.lines().map(|id| format!("have {id}")));
    fetch(&lines)
}

fn clone(bare: &Bare) -> Vec<u8> {
    let tips = bare.git(&["for-each-ref", "--format=want %(objectname)"]);
    let mut lines: Vec<String> = tips.lines().map(str::to_owned).collect();
    lines.extend(["include-tag".to_owned(), "done".to_owned()]);
    fetch(&lines)
}

fn measure(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    what: &str,
    label: &str,
    snapshot: &Arc<Snapshot>,
    request: &[u8],
) {
    assert!(ours(snapshot, request).ends_with(b"packfile\n"), "{what}: a pack follows");
    group.bench_function(BenchmarkId::new(what, label), |bencher| {
        bencher.iter(|| ours(snapshot, request));
    });
}

fn settings() -> Criterion {
    let (warm_up, measured) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(measured)
}

criterion_group! { name = benches; config = settings(); targets = keys }
criterion_main!(benches);
