//! What transactions of refs cost: one ref, many, and many threads with refs of their own; beside it
//! what the disk's own syncs and `git update-ref` cost.
//!
//! Always true: every update changes what is stored.
//! Never here: samples and their spread: a sync takes what the disk takes, so totals are printed.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gitring_benches::repositories::open;
use gitring_git::ObjectId;
use gitring_git::files::System;
use gitring_git::objects::Store;
use gitring_git::ref_transaction::{Change, Expected, RefFiles, Update, end_sessions, prepare};
use gitring_tests::repository::{Kind, Repository as Bare};
use tempfile::TempDir;

/// Updates of one ref.
const SINGLE: usize = 500;
/// Updates of all threads together.
const OF_THREADS: usize = 400;

/// A repository, and two commits that its refs go to and fro between.
struct World {
    _storage: TempDir,
    bare: Bare,
    files: RefFiles,
    store: Arc<Store>,
    commits: [ObjectId; 2],
}

// === impl World ===

impl World {
    fn new() -> Self {
        let storage = TempDir::new().expect("a temporary directory");
        let bare = Bare::create(storage.path(), "refs", Kind::Varied);
        let commits = ["main", "main~1"]
            .map(|name| ObjectId::from_hex(bare.id(name).as_bytes()).expect("git prints ids"));
        let snapshot = open(&bare).snapshot().expect("the repository can be read");
        let files = RefFiles::of(&snapshot).expect("its refs are files");
        let store = Arc::clone(&snapshot.store);
        Self { _storage: storage, bare, files, store, commits }
    }

    fn commit(&self, files: &RefFiles, updates: Vec<Update>) {
        let prepared = prepare(files, &self.store, updates).expect("nobody is in the way");
        prepared.commit().expect("the disk works");
    }

    fn set(&self, name: String, at: usize) -> Update {
        Update::new(name, Expected::Any, Change::Set(self.commits[at % 2]))
    }
}

/// Milliseconds of processor time that this thread has used.
fn processor_ms() -> f64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|time| time.parse::<f64>().ok()).unwrap_or_default() / 1e6
}

/// One file, written in place and synced.
fn syncs_per_second(directory: &Path) -> f64 {
    let file = fs::File::create(directory.join("synced")).expect("a file");
    let began = Instant::now();
    for n in 0..200_u64 {
        file.write_all_at(&n.to_le_bytes(), 0).expect("the disk works");
        file.sync_all().expect("the disk works");
    }
    200.0 / began.elapsed().as_secs_f64()
}

fn one_ref() {
    let world = World::new();
    println!("the disk: {:.0} fsyncs/s", syncs_per_second(&world.bare.path));
    for (what, calls) in [("durable", System::durable()), ("volatile", System::volatile())] {
        let files = world.files.clone().with_calls(calls);
        let (began, used) = (Instant::now(), processor_ms());
        for n in 0..SINGLE {
            world.commit(&files, vec![world.set("refs/heads/one".into(), n)]);
        }
        let each = began.elapsed().as_secs_f64() * 1e3 / SINGLE as f64;
        let processor = (processor_ms() - used) / SINGLE as f64;
        println!("one ref, {what}: {each:.3} ms, processor {processor:.3} ms");
    }
    let began = Instant::now();
    for n in 0..SINGLE / 10 {
        world.bare.git(&["update-ref", "refs/heads/one", &world.commits[n % 2].to_string()]);
    }
    let each = began.elapsed().as_secs_f64() * 1e4 / SINGLE as f64;
    println!("git update-ref: {each:.3} ms");
}

fn many_refs() {
    for count in [2, 10, 200, 10_000] {
        let world = World::new();
        let name = |n: usize| format!("refs/heads/{}/{n}", n % 50);
        let timed = |what: &str, updates: Vec<Update>| {
            let began = Instant::now();
            world.commit(&world.files, updates);
            println!("{count} refs {what}: {:.3} s", began.elapsed().as_secs_f64());
        };
        timed("made", (0..count).map(|n| world.set(name(n), 0)).collect());
        timed("moved", (0..count).map(|n| world.set(name(n), 1)).collect());
        let delete = |n| Update::new(name(n), Expected::Any, Change::Delete);
        timed("deleted", (0..count).map(delete).collect());
    }
}

fn threads() {
    for threads in [1, 4, 16, 64] {
        let world = World::new();
        let each = OF_THREADS / threads;
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let world = &world;
                scope.spawn(move || {
                    for n in 0..each {
                        let name = format!("refs/heads/thread/{thread}");
                        world.commit(&world.files, vec![world.set(name, n)]);
                    }
                });
            }
        });
        let rate = (threads * each) as f64 / began.elapsed().as_secs_f64();
        println!("{threads} threads, refs of their own: {rate:.0} updates/s");
    }
}

fn main() {
    one_ref();
    many_refs();
    threads();
    end_sessions();
}
