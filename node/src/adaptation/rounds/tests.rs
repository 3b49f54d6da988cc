//! Real threads over files, with short rounds.

#![expect(clippy::disallowed_methods, reason = "no reactor runs in these tests")]

use super::*;
use crate::adaptation::Range;
use crate::adaptation::aimd::tests::Told;
use crate::adaptation::metrics::Metrics;
use prometheus::Registry;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const ROUND: Duration = Duration::from_millis(20);

struct Scene {
    values: Arc<Mutex<Vec<usize>>>,
    registry: Registry,
    _rounds: Rounds,
}

/// Watches the memory of the group in `folder`, and moves one limit from 8 between 2 and 12.
fn start(folder: &Path) -> Scene {
    let registry = Registry::new();
    let machine = Machine::new(Metrics::register(&registry));
    let limit = Told::new("packObjects", 8, Range { min: 2, max: 12 });
    let values = Arc::clone(&limit.values);
    let watchers = vec![Watcher::of_memory(PathBuf::from(folder), 0.9)];
    let rounds = Rounds::start(ROUND, watchers, machine, move || vec![limit.clone()]).unwrap();
    Scene { values, registry, _rounds: rounds }
}

/// The values so far, once they end like this; after 10 s it is a failure.
fn wait_for(scene: &Scene, end: &[usize]) {
    let began = Instant::now();
    while !scene.values.lock().unwrap().ends_with(end) {
        let values = scene.values.lock().unwrap().clone();
        assert!(began.elapsed() < Duration::from_secs(10), "{values:?} do not end in {end:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn series(scene: &Scene, name: &str) -> Option<String> {
    let text = prometheus::TextEncoder::new().encode_to_string(&scene.registry.gather()).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()))
}

#[test]
fn limits_follow_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("cpu.stat", "usage_usec 1\n");
    write("memory.max", "1000\n");
    write("memory.current", "10\n");
    let scene = start(folder.path());
    wait_for(&scene, &[8, 9, 10, 11, 12]);
    write("memory.current", "950\n");
    wait_for(&scene, &[12, 6, 3, 2]);
    let prefix = "gitaly_concurrency_limiting_";
    let limit = format!("{prefix}current_limit{{limit=\"packObjects\"}}");
    assert_eq!(series(&scene, &limit).as_deref(), Some("2"));
    let events =
        series(&scene, &format!("{prefix}backoff_events_total{{watcher=\"CgroupMemory\"}}"));
    assert!(events.is_some_and(|count| count.parse::<u32>().unwrap() >= 3));
    // A group that is gone tells nothing, and so stands in nobody's way.
    fs::remove_file(folder.path().join("cpu.stat")).unwrap();
    wait_for(&scene, &[2, 3, 4]);
    let errors =
        series(&scene, &format!("{prefix}watcher_errors_total{{watcher=\"CgroupMemory\"}}"));
    assert!(errors.is_some_and(|count| count.parse::<u32>().unwrap() >= 2));
}

/// A source that hangs times out round by round, and five of these are an event.
/// Method: a FIFO that nobody writes to.
#[test]
fn a_source_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("cpu.stat");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let scene = start(folder.path());
    wait_for(&scene, &[8, 9, 10, 11, 12, 6]);
    // Somebody writes at last: the thread goes on, and ends with the scene.
    let open = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    drop(scene);
    drop(open);
}
