//! Snapshots beside writers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

#[test]
fn a_settled_snapshot_is_kept_until_something_changes() {
    let sandbox = Sandbox::new(3);
    let id = sandbox.commit(1);
    for n in 0..20 {
        sandbox.git(&["update-ref", &format!("refs/merge-requests/{n}/head"), &id]);
    }
    sandbox.git(&["tag", "-a", "-m", "t", "v1", &id]);
    sandbox.git(&["pack-refs", "--all", "--no-prune"]);
    let repository = sandbox.open();
    let two = sandbox.commit(2);
    let changes: &[&[&str]] = &[
        &["update-ref", "refs/merge-requests/7/head", &two],
        &["update-ref", "refs/merge-requests/8/deep/er", &two],
        &["pack-refs", "--all", "--prune"],
        &["update-ref", "-d", "refs/merge-requests/9/head"],
        &["symbolic-ref", "HEAD", "refs/heads/other"],
        &["config", "uploadpack.allowFilter", "true"],
        &["tag", "-f", "-a", "-m", "again", "v1", &two],
    ];
    for change in changes {
        settle();
        let before = repository.snapshot().unwrap();
        assert!(Arc::ptr_eq(&before, &repository.snapshot().unwrap()), "before {change:?}");
        sandbox.git(change);
        let after = repository.snapshot().unwrap();
        assert!(!Arc::ptr_eq(&before, &after), "{change:?} went unnoticed");
        check_as_git(&sandbox, &repository, &format!("{change:?}"));
    }
    let snapshot = repository.snapshot().unwrap();
    assert_eq!(snapshot.config.boolean("uploadpack.allowfilter"), Ok(Some(true)));
}

#[test]
fn a_snapshot_of_something_just_written_is_read_again() {
    let sandbox = Sandbox::new(2);
    let repository = sandbox.open();
    settle();
    sandbox.write("refs/heads/new", &format!("{}\n", sandbox.commit(1)));
    let first = repository.snapshot().unwrap();
    // Within one tick of the clock a second write may leave every stamp as it was.
    let is_young = std::fs::metadata(sandbox.git_dir.join("refs/heads"))
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| modified.elapsed().unwrap() < Duration::from_millis(20));
    let second = repository.snapshot().unwrap();
    assert!(!is_young || !Arc::ptr_eq(&first, &second));
    settle();
    let third = repository.snapshot().unwrap();
    assert!(Arc::ptr_eq(&third, &repository.snapshot().unwrap()));
    assert!(third.find("refs/heads/new".into()).is_some());
}

#[test]
fn a_repository_that_was_replaced_is_another() {
    let sandbox = Sandbox::new(2);
    let repository = sandbox.open();
    settle();
    assert_eq!(repository.snapshot().unwrap().refs.len(), 2);
    let aside = sandbox.git_dir.with_extension("aside");
    std::fs::rename(&sandbox.git_dir, &aside).unwrap();
    assert!(matches!(repository.snapshot(), Err(RepositoryError::Missing(_))));
    let path = sandbox.git_dir.to_str().unwrap();
    sandbox.run(&["init", "-q", "--bare", path], Path::new("/"));
    assert_eq!(repository.snapshot().unwrap().refs.len(), 0);
}

/// The number of the commit that a ref is at; commits are numbered by `refs/keep/c<n>`.
fn number(snapshot: &Snapshot, ids: &[crate::ObjectId], name: &str) -> usize {
    let found = snapshot.find(name.into());
    let found = found.unwrap_or_else(|| panic!("{name} vanished"));
    ids.iter().position(|id| *id == found.target).unwrap()
}

#[test]
fn no_ref_vanishes_or_goes_back_beside_writers() {
    const COMMITS: usize = 60;
    let sandbox = Sandbox::new(COMMITS);
    let names = ["refs/heads/always", "refs/merge-requests/1/head"];
    let ids: Vec<_> = (1..=COMMITS)
        .map(|n| crate::ObjectId::from_hex(sandbox.commit(n).as_bytes()).unwrap())
        .collect();
    for name in names {
        sandbox.git(&["update-ref", name, &ids[0].to_string()]);
    }
    let repository = sandbox.open();
    let (done, written, read) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    let running = || !done.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (n, id) in ids.iter().enumerate().skip(1) {
                for name in names {
                    sandbox.git(&["update-ref", name, &id.to_string()]);
                }
                written.store(n, Ordering::SeqCst);
                let passing = format!("refs/passing/{}/x", n % 3);
                match n % 4 {
                    0 => drop(sandbox.git(&["update-ref", "-d", &passing])),
                    _ => drop(sandbox.git(&["update-ref", &passing, &id.to_string()])),
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while running() {
                // A lock held by the other writer is no failure of what is tested.
                let mut pack =
                    sandbox.command(&["pack-refs", "--all", "--prune"], &sandbox.git_dir);
                pack.output().unwrap();
                let mut gc = sandbox.command(&["gc", "-q", "--prune=now"], &sandbox.git_dir);
                if read.load(Ordering::Relaxed) % 5 == 0 {
                    gc.output().unwrap();
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = [0; 2];
                while running() {
                    let floor = written.load(Ordering::SeqCst);
                    let snapshot = repository.snapshot().unwrap();
                    for (name, last) in names.iter().zip(&mut last) {
                        let now = number(&snapshot, &ids, name);
                        assert!(now >= floor, "{name}: {now} after {floor} was written");
                        assert!(now >= *last, "{name}: {now} after {last} was read");
                        *last = now;
                    }
                    assert_eq!(snapshot.with_prefix(b"refs/keep/").len(), COMMITS);
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} snapshots in {:?}", read.load(Ordering::Relaxed), started.elapsed());
    settle();
    check_as_git(&sandbox, &repository, "at the end");
}
