//! Snapshots proven from the kernel's memory: never another one than a look at the disk gives.

use super::*;
use crate::objects::tests::fixture::Random;
use crate::repository::reading::STAMPS_AT_ONCE_MAX;
use crate::stamp::is_local;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A snapshot that is proven at once, tried for as long as it takes stamps to settle.
fn proven(repository: &Repository) -> Option<Arc<Snapshot>> {
    (0..20).find_map(|_| {
        repository.snapshot().unwrap();
        let found = repository.snapshot_at_once();
        if found.is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        found
    })
}

#[test]
fn every_change_is_noticed_at_once() {
    let sandbox = Sandbox::new(3);
    if !is_local(&sandbox.git_dir) {
        return;
    }
    sandbox.git(&["pack-refs", "--all", "--no-prune"]);
    let repository = sandbox.open();
    assert!(repository.snapshot_at_once().is_none(), "nothing was read yet");
    let (one, other) = (sandbox.commit(1), Sandbox::new(2));
    let path = |name: &str| sandbox.git_dir.join(name);
    let config = std::fs::read_to_string(path("config")).unwrap();
    let moved = |from: &Path, to: &Path| std::fs::rename(from, to).unwrap();
    let changes: &[(&str, &dyn Fn())] = &[
        ("new", &|| drop(sandbox.git(&["update-ref", "refs/heads/new", &one]))),
        ("deep", &|| drop(sandbox.git(&["update-ref", "refs/a/b/c/d", &one]))),
        ("packed", &|| drop(sandbox.git(&["pack-refs", "--all", "--prune"]))),
        ("deleted", &|| drop(sandbox.git(&["update-ref", "-d", "refs/keep/c0002"]))),
        ("head", &|| drop(sandbox.git(&["symbolic-ref", "HEAD", "refs/heads/new"]))),
        ("set", &|| drop(sandbox.git(&["config", "a.b", "c"]))),
        ("edited", &|| sandbox.write("config", &format!("{config}[a]\nb = d\n"))),
        ("shallow", &|| sandbox.write("shallow", "")),
        ("grafts", &|| sandbox.write("info/grafts", "")),
        ("alternates", &|| sandbox.write("objects/info/alternates", "\n")),
        ("moved", &|| moved(&path("refs/keep"), &path("refs/kept"))),
        ("replaced", &|| {
            moved(&sandbox.git_dir, &sandbox.root.path().join("old"));
            moved(&other.git_dir, &sandbox.git_dir);
        }),
    ];
    for (what, change) in changes {
        assert!(proven(&repository).is_some(), "before: {what}");
        change();
        assert!(repository.snapshot_at_once().is_none(), "{what}");
    }
    check_as_git(&sandbox, &repository, "replaced");
}

#[test]
fn many_directories_are_left_to_workers() {
    let sandbox = Sandbox::new(1);
    let repository = sandbox.open();
    for n in 0..STAMPS_AT_ONCE_MAX {
        sandbox.write(&format!("refs/many/{n}/ref"), &sandbox.commit(1));
    }
    assert!(proven(&repository).is_none());
}

/// Goal: no answer is older than the last change, however changes and questions follow each other.
/// Method: a seeded sequence of what git does to refs; after each step what is proven at once, if
/// anything is, must be what git tells.
#[test]
fn what_is_proven_is_never_stale() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64 | 1
    });
    println!("SEED={seed}");
    let mut random = Random(seed);
    let sandbox = Sandbox::new(4);
    let repository = sandbox.open();
    let mut proven = 0;
    for step in 0..120 {
        let name = format!("refs/heads/{}", ["a", "b", "c/d", "c/e"][random.below(4)]);
        match random.below(12) {
            0 => drop(sandbox.git(&["pack-refs", "--all", "--prune"])),
            1 => drop(sandbox.git(&["update-ref", "-d", &name])),
            2 => drop(sandbox.git(&["symbolic-ref", "HEAD", &name])),
            _ => drop(sandbox.git(&["update-ref", &name, &sandbox.commit(1 + random.below(4))])),
        }
        let expected = sandbox.git(&["for-each-ref", "--format=%(objectname) %(refname)"]);
        let head = sandbox.git(&["symbolic-ref", "HEAD"]);
        for _ in 0..3 {
            if let Some(snapshot) = repository.snapshot_at_once() {
                let lines = snapshot.refs.iter().map(|one| format!("{} {}", one.target, one.name));
                assert_eq!(lines.collect::<Vec<_>>().join("\n"), expected, "step {step}");
                let crate::refs::Head::Symbolic { target, .. } = &snapshot.head else { panic!() };
                assert_eq!(*target, head, "step {step}");
                proven += 1;
            }
            match random.below(3) {
                0 => drop(repository.snapshot().unwrap()),
                1 => settle(),
                _ => {}
            }
        }
    }
    println!("{proven} of 360 were proven at once");
}

/// Goal: the same with readers beside a writer.
/// Method: one ref goes through numbered commits; a reader knows which number was finished before
/// it asked, and must get no lower one.
#[test]
fn what_is_proven_beside_a_writer_is_never_stale() {
    const COMMITS: usize = 40;
    let sandbox = Sandbox::new(COMMITS);
    let repository = sandbox.open();
    let ids: Vec<String> = (1..=COMMITS).map(|n| sandbox.commit(n)).collect();
    let finished = AtomicUsize::new(0);
    sandbox.git(&["update-ref", "refs/heads/moving", &ids[0]]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while finished.load(Ordering::SeqCst) < COMMITS - 1 {
                    let before = finished.load(Ordering::SeqCst);
                    let Some(snapshot) = repository.snapshot_at_once() else {
                        repository.snapshot().unwrap();
                        continue;
                    };
                    let moving = snapshot.find("refs/heads/moving".into()).unwrap();
                    let id = moving.target.to_string();
                    let found = ids.iter().position(|known| *known == id);
                    assert!(found.unwrap() >= before, "{found:?} after {before}");
                }
            });
        }
        for (number, id) in ids.iter().enumerate() {
            sandbox.git(&["update-ref", "refs/heads/moving", id]);
            finished.store(number, Ordering::SeqCst);
            if number % 2 == 0 {
                settle();
            }
        }
    });
}
