//! Files that shrink under their maps: the process lives, the readers get typed errors or true
//! objects, other repositories notice nothing, and a replaced file is read again.

use super::fixture::{Expected, Fixture};
use crate::objects::{Store, StoreError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Reads all of `expected` and returns how many could not be read; those that can are right.
fn read_all(store: &Store, expected: &[Expected]) -> usize {
    let mut failures = 0;
    for Expected { id, kind, data } in expected {
        match store.read(id) {
            Ok(Some(object)) => assert!(object.kind == *kind && object.data == *data, "{id}"),
            Ok(None) => panic!("{id} is said to be missing"),
            Err(StoreError::Faulted { .. } | StoreError::Corrupt { .. }) => failures += 1,
            Err(other) => panic!("{id}: {other}"),
        }
        if let Ok(Some(header)) = store.header(id) {
            assert_eq!((header.kind, header.size_bytes), (*kind, data.len() as u64), "{id}");
        }
        if let Ok(Some(commit)) = store.commit(id) {
            let parsed = crate::objects::parse::commit(data).unwrap();
            assert_eq!((commit.tree, commit.parents), (parsed.tree, parsed.parents), "{id}");
        }
    }
    failures
}

/// Truncates the file called `suffix` to `keep_bytes` while three threads read, then puts it back.
fn check(suffix: &str, prepare: &[&[&str]], keep_bytes: u64, must_fail: bool) {
    let (fixture, neighbour) = (Fixture::with_history(60), Fixture::with_history(30));
    for command in prepare {
        fixture.git(command);
    }
    let (expected, others) = (fixture.expected(), neighbour.expected());
    let file = fixture.files(suffix).remove(0);
    let sound = std::fs::read(&file).unwrap();
    let (store, neighbours) = (fixture.store(), neighbour.store());
    assert_eq!(read_all(&store, &expected), 0);
    let (stop, failures) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    failures.fetch_add(read_all(&store, &expected), Ordering::SeqCst);
                    assert_eq!(read_all(&neighbours, &others), 0);
                }
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        truncate(&file, keep_bytes);
        std::thread::sleep(std::time::Duration::from_millis(150));
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(failures.load(Ordering::SeqCst) > 0, must_fail, "{suffix}");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, sound).unwrap();
    assert_eq!(read_all(&store, &expected), 0, "{suffix} was put back");
}

fn truncate(file: &Path, keep_bytes: u64) {
    let mut permissions = std::fs::metadata(file).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of a test's own")]
    permissions.set_readonly(false);
    std::fs::set_permissions(file, permissions).unwrap();
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(keep_bytes).unwrap();
}

#[test]
fn packs() {
    for keep_bytes in [0, 100, 4096] {
        check(".pack", &[&["repack", "-adfq", "--depth=3"]], keep_bytes, true);
    }
}

#[test]
fn indexes() {
    check(".idx", &[&["repack", "-adfq"]], 0, true);
    check(".idx", &[&["repack", "-adfq"]], 4096, true);
}

#[test]
fn a_multi_pack_index_is_done_without() {
    check("multi-pack-index", &[&["multi-pack-index", "write"]], 0, false);
}

#[test]
fn commit_graphs_are_done_without() {
    check("commit-graph", &[&["commit-graph", "write", "--reachable"]], 0, false);
    check(".graph", &[&["commit-graph", "write", "--reachable", "--split"]], 0, false);
}
