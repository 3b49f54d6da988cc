//! Locks of both sides, and what is left behind: nothing.

use super::*;
use std::time::Instant;

#[test]
fn locks_of_both_sides_are_respected() {
    let sandbox = Sandbox::new(2);
    let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
    write(&sandbox, vec![set("refs/heads/a", c0)]).unwrap();
    // git's: its file stays, and the time that was configured is waited for.
    let lock = sandbox.git_dir.join("refs/heads/a.lock");
    let locked = "cannot lock ref 'refs/heads/a': \
                  Unable to create 'DIR/refs/heads/a.lock': File exists.";
    for (timeout, least, most) in [("0", 0, 90), ("250", 250, 2_000)] {
        sandbox.git(&["config", "core.filesRefLockTimeout", timeout]);
        std::fs::write(&lock, "").unwrap();
        let began = Instant::now();
        assert_eq!(write(&sandbox, vec![set("refs/heads/a", c1)]), Err(locked.to_owned()));
        let lasted = began.elapsed().as_millis();
        assert!((least..most).contains(&lasted), "{lasted} ms");
        assert!(lock.exists());
        std::fs::remove_file(&lock).unwrap();
    }
    sandbox.git(&["config", "core.packedRefsTimeout", "10"]);
    std::fs::write(sandbox.git_dir.join("packed-refs.lock"), "").unwrap();
    let delete = || vec![Update::new("refs/heads/a", Expected::Any, Change::Delete)];
    let packed = "Unable to create 'DIR/packed-refs.lock': File exists.";
    assert_eq!(write(&sandbox, delete()), Err(packed.to_owned()));
    std::fs::remove_file(sandbox.git_dir.join("packed-refs.lock")).unwrap();
    // Ours: git waits in vain, others of ours, too, and afterwards not.
    let (files, objects) = sandbox.open();
    let prepared = prepare(&files, &objects, delete()).unwrap();
    let output = sandbox.try_git(&["update-ref", "refs/heads/a", &c1.to_string()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("File exists"), "{output:?}");
    assert_eq!(write(&sandbox, vec![set("refs/heads/a", c1)]), Err(locked.to_owned()));
    drop(prepared);
    sandbox.git(&["update-ref", "refs/heads/a", &c1.to_string()]);
    write(&sandbox, vec![set("refs/heads/a", c0)]).unwrap();
}

#[test]
fn a_transaction_that_is_dropped_leaves_nothing() {
    let sandbox = Sandbox::new(2);
    let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
    write(&sandbox, vec![set("refs/heads/a", c0), set("refs/heads/b", c0)]).unwrap();
    sandbox.git(&["pack-refs", "--all"]);
    let (files, objects) = sandbox.open();
    // The session's own file comes and goes: other tests of this process end all sessions.
    let tree = || {
        let listed = Command::new("find").arg(&sandbox.git_dir).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed.lines().filter(|path| !path.ends_with(".session")).map(str::to_owned).collect()
    };
    let before: BTreeSet<String> = tree();
    let updates = vec![
        set("refs/heads/a", c1),
        set("refs/heads/new/deep/er", c1),
        Update::new("refs/heads/b", Expected::Any, Change::Delete),
        Update::new("refs/x/y/absent", Expected::Any, Change::Delete),
    ];
    drop(prepare(&files, &objects, updates.clone()).unwrap());
    assert_eq!(tree(), before);
    prepare(&files, &objects, updates).unwrap().commit().unwrap();
    let room: Vec<_> = std::fs::read_dir(sandbox.git_dir.join("gitring")).unwrap().collect();
    assert!(room.len() <= 1, "{room:?}");
    assert!(!sandbox.git_dir.join("refs/x").join("y").exists());
    end_sessions();
}

#[test]
fn a_repository_made_again_in_the_same_place_gets_another_session() {
    let sandbox = Sandbox::new(1);
    let c0 = sandbox.commits[0];
    write(&sandbox, vec![set("refs/heads/a", c0)]).unwrap();
    for n in 0..3 {
        std::fs::remove_dir_all(sandbox.git_dir.join("gitring")).unwrap();
        write(&sandbox, vec![set(&format!("refs/heads/b{n}"), c0)]).unwrap();
    }
    assert_eq!(refs(&sandbox.git_dir, "made again").len(), 4);
}

/// Goal: transactions that want the same refs wait for one another, never in a circle, and none of
/// them is refused for that as long as nobody holds a lock for long.
/// Method: threads that move the same refs together, named in any order; all must be equal.
#[test]
fn threads_that_want_the_same_refs_take_turns() {
    let sandbox = Sandbox::new(4);
    let (files, objects) = sandbox.open();
    let files = RefFiles { ref_timeout: Duration::from_secs(60), ..files };
    let files = files.with_calls(crate::files::System::volatile());
    let names = ["refs/heads/a", "refs/heads/b/c", "refs/tags/d", "refs/heads/e"];
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let (files, objects, sandbox) = (files.clone(), &objects, &sandbox);
            scope.spawn(move || {
                let mut random = Random::new(thread);
                for _ in 0..5 {
                    let id = *random.pick(&sandbox.commits);
                    let mut names = names.to_vec();
                    names.rotate_left(random.below(4));
                    let updates = names.iter().map(|name| set(name, id)).collect();
                    prepare(&files, objects, updates).unwrap().commit().unwrap();
                }
            });
        }
    });
    let found = refs(&sandbox.git_dir, "same refs");
    assert_eq!(found.len(), 4);
    assert_eq!(found.values().collect::<BTreeSet<_>>().len(), 1, "{found:?}");
}

/// Goal: what a dead process left is dealt with by whoever comes first, also if several come at
/// once, and a lock of git's that lies beside it stays.
#[test]
fn several_may_recover_at_once() {
    for round in 0..20 {
        let sandbox = Sandbox::new(2);
        let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
        let (files, objects) = sandbox.open();
        let recorder =
            crate::files::recorder::Recorder::new(&sandbox.git_dir, &["objects"]).unwrap();
        let own = files.with_calls(Arc::clone(&recorder) as Arc<dyn FileCalls>);
        let names = ["refs/heads/a", "refs/heads/b", "refs/heads/c"];
        let to = |id| names.iter().map(|name| set(name, id)).collect::<Vec<_>>();
        prepare(&own, &objects, to(c0)).unwrap().commit().unwrap();
        let begun = recorder.moments();
        prepare(&own, &objects, to(c1)).unwrap().commit().unwrap();
        let moment = begun + round * (recorder.moments() - begun) / 20;
        let left = tempfile::tempdir().unwrap();
        let loss = crate::files::recorder::Loss::Nothing;
        recorder.remains(moment, loss, 1).build(left.path()).unwrap();
        std::os::unix::fs::symlink(sandbox.git_dir.join("objects"), left.path().join("objects"))
            .unwrap();
        std::fs::write(left.path().join("refs/heads/gits.lock"), "").unwrap();
        let (files, objects) = open(left.path());
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (files, objects) = (&files, &objects);
                scope.spawn(move || match thread % 2 {
                    0 => drop(recover(files).unwrap()),
                    _ => loop {
                        let mine = set(&format!("refs/heads/t{thread}"), c0);
                        if let Ok(prepared) = prepare(files, objects, vec![mine]) {
                            break prepared.commit().unwrap();
                        }
                    },
                });
            }
        });
        let found = refs(left.path(), "recovered");
        let ids: BTreeSet<_> = names.iter().map(|name| found[name.as_bytes()]).collect();
        assert_eq!((ids.len(), found.len()), (1, 6), "round {round}: {found:?}");
        assert!(left.path().join("refs/heads/gits.lock").exists());
    }
}

/// Goal: no more threads wait for locks than may, the others hear at once how long it is worth to
/// come again, and have written nothing by then.
#[test]
fn as_many_threads_wait_as_may() {
    let sandbox = Sandbox::new(2);
    let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
    write(&sandbox, vec![set("refs/heads/a", c0), set("refs/heads/b", c0)]).unwrap();
    sandbox.git(&["config", "core.filesRefLockTimeout", "3000"]);
    let (files, objects) = sandbox.open();
    let waiting = Waiting::at_most(1);
    let files = files.with_waiting(Arc::clone(&waiting));
    let room = || std::fs::read_dir(sandbox.git_dir.join("gitring")).unwrap().count();
    let held = prepare(&files, &objects, vec![set("refs/heads/a", c1)]).unwrap();
    let lock = sandbox.git_dir.join("refs/heads/b.lock");
    std::fs::write(&lock, "").unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| prepare(&files, &objects, vec![set("refs/heads/a", c1)]));
        while !waiting.is_full() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = room();
        // One of ours holds the first, git the second.
        for name in ["refs/heads/a", "refs/heads/b"] {
            let began = Instant::now();
            let refused = prepare(&files, &objects, vec![set(name, c1)]).unwrap_err();
            assert!(began.elapsed() < Duration::from_secs(2));
            let PrepareError::Crowded { patience, .. } = refused else { panic!("{refused}") };
            assert_eq!(patience, Duration::from_secs(3));
        }
        assert_eq!(room(), before);
        // Where nobody is in the way, nobody waits.
        prepare(&files, &objects, vec![set("refs/heads/c", c1)]).unwrap().commit().unwrap();
        held.commit().unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert!(!waiting.is_full());
    std::fs::remove_file(lock).unwrap();
}
