//! What transactions cost, printed:
//! `cargo test -p gitring-git --lib figures -- --ignored --nocapture --test-threads=1`

use super::*;
use crate::files::System;
use std::time::Instant;

/// Milliseconds of processor time that this thread has used.
fn processor_ms() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// The disk's own rate: one file, written in place and synced.
fn syncs_per_second(directory: &Path) -> f64 {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(directory.join("synced")).unwrap();
    let began = Instant::now();
    for n in 0..200_u64 {
        file.write_all_at(&n.to_le_bytes(), 0).unwrap();
        file.sync_all().unwrap();
    }
    200.0 / began.elapsed().as_secs_f64()
}

fn commit(files: &RefFiles, objects: &Store, updates: Vec<Update>) {
    prepare(files, objects, updates).unwrap().commit().unwrap();
}

fn set(name: String, id: ObjectId) -> Update {
    Update::new(name, Expected::Any, Change::Set(id))
}

#[test]
#[ignore = "prints figures"]
fn figures_of_one_ref() {
    let sandbox = Sandbox::new(2);
    let (files, objects) = sandbox.open();
    println!("the disk: {:.0} fsyncs/s", syncs_per_second(&sandbox.git_dir));
    for (what, calls) in [("durable", System::durable()), ("volatile", System::volatile())] {
        let files = files.clone().with_calls(calls);
        let (began, used) = (Instant::now(), processor_ms());
        for n in 0..500 {
            let id = sandbox.commits[n % 2];
            commit(&files, &objects, vec![set("refs/heads/main".into(), id)]);
        }
        let each = began.elapsed().as_secs_f64() * 2.0;
        println!(
            "one ref, {what}: {each:.3} ms, processor {:.3} ms",
            (processor_ms() - used) / 500.0
        );
    }
    let began = Instant::now();
    for n in 0..50 {
        sandbox.git(&["update-ref", "refs/heads/main", &sandbox.commits[n % 2].to_string()]);
    }
    println!("git update-ref: {:.3} ms", began.elapsed().as_secs_f64() * 20.0);
}

#[test]
#[ignore = "prints figures"]
fn figures_of_many_refs() {
    for (count, pack_min) in [(2, 256), (10, 256), (200, 256), (10_000, 256), (10_000, usize::MAX)]
    {
        let sandbox = Sandbox::new(2);
        let (mut files, objects) = sandbox.open();
        files.pack_min = pack_min;
        let name = |n: usize| format!("refs/heads/{}/{n}", n % 50);
        let timed = |what: &str, updates: Vec<Update>| {
            let began = Instant::now();
            commit(&files, &objects, updates);
            println!(
                "{count} refs, packed from {pack_min}, {what}: {:.3} s",
                began.elapsed().as_secs_f64()
            );
        };
        timed("made", (0..count).map(|n| set(name(n), sandbox.commits[0])).collect());
        timed("moved", (0..count).map(|n| set(name(n), sandbox.commits[1])).collect());
        let delete = |n| Update::new(name(n), Expected::Any, Change::Delete);
        timed("deleted", (0..count).map(delete).collect());
        assert!(refs(&sandbox.git_dir, "figures").is_empty());
    }
}

#[test]
#[ignore = "prints figures"]
fn figures_of_threads() {
    for threads in [1, 4, 16, 64] {
        let sandbox = Sandbox::new(2);
        let (files, objects) = sandbox.open();
        let began = Instant::now();
        let each = 400 / threads;
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (files, objects, commits) = (&files, &objects, &sandbox.commits);
                scope.spawn(move || {
                    for n in 0..each {
                        let name = format!("refs/heads/{thread}");
                        commit(files, objects, vec![set(name, commits[n % 2])]);
                    }
                });
            }
        });
        let rate = (threads * each) as f64 / began.elapsed().as_secs_f64();
        println!("{threads} threads, refs of their own: {rate:.0} updates/s");
    }
}
