//! Goal: whenever power fails during a push, every ref that is left leads to whole objects, and a
//! push that was done is there.
//! Method: a push whose file calls are recorded; for every moment, what may be left of it is built,
//! swept, and all that refs lead to is read.

use std::sync::Arc;

use super::*;
use crate::connectivity::Checker;
use crate::files::recorder::{Loss, Recorder};
use crate::files::{FileCalls, System};
use crate::history::Cancel;
use crate::object_sync::sync_objects;
use crate::objects::{Store, StoreOptions};
use crate::ref_transaction::{Change, Expected, RefFiles, Update, prepare, recover};
use crate::repository::{Environment, Repository};

/// When somebody else writes the same objects, and syncs nothing.
#[derive(Debug, Clone, Copy)]
enum Others {
    Never,
    /// So that the child finds them, if it looks.
    Before,
    /// So that the migration finds them.
    Meanwhile,
}

/// A push that was recorded: when it was done, and of what.
struct Pushed {
    recorder: Arc<Recorder>,
    done_at: usize,
    tip: ObjectId,
    _target: Fixture,
}

fn pushed(child: &[&str], others: Others) -> Pushed {
    let (source, target) = (Fixture::with_history(1), Fixture::empty());
    drop(fs::remove_dir_all(target.dir.path().join("hooks")));
    let git_dir = target.dir.path();
    let recorder = Recorder::new(git_dir, &[]).unwrap();
    let calls = Arc::clone(&recorder) as Arc<dyn FileCalls>;
    let write = || {
        let child = child.iter().map(|argument| argument.replace("--keep=gitring push", "-v"));
        let child: Vec<String> = child.collect();
        let child: Vec<&str> = child.iter().map(String::as_str).collect();
        target.git_with(&child, &pack(&source));
        recorder.adopt(&target.objects()).unwrap();
    };
    if matches!(others, Others::Before) {
        write();
    }
    let quarantine = Ours::create(&target.objects()).unwrap().with_calls(Arc::clone(&calls));
    git(&target, &quarantine, child, &pack(&source));
    recorder.adopt(quarantine.path()).unwrap();
    quarantine.sync().unwrap();
    if matches!(others, Others::Meanwhile) {
        write();
    }
    let repository = Repository::open(git_dir, Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    let store = Arc::new(snapshot.store.with_quarantine(quarantine.path()).unwrap());
    let tip = source.id("main");
    let mut checker = Checker::new(Arc::clone(&store), Vec::new(), Vec::new(), Cancel::default());
    checker.check(&[tip]).unwrap();
    let outside = checker.take_outside();
    assert_eq!(outside.is_empty(), !is_left_to_others(child, others), "{outside:?}");
    sync_objects(&store, &outside, &calls).unwrap();
    let files = RefFiles::of(&snapshot).unwrap().with_calls(calls);
    let update = Update::new("refs/heads/main", Expected::Absent, Change::Set(tip));
    let prepared = prepare(&files, &store, vec![update]).unwrap();
    let kept = quarantine.migrate(&Voted(())).unwrap();
    prepared.commit().unwrap();
    let done_at = recorder.moments();
    drop(kept);
    Pushed { recorder, done_at, tip, _target: target }
}

/// `unpack-objects` writes no object that is there, `index-pack` all.
fn is_left_to_others(child: &[&str], others: Others) -> bool {
    child[0] == "unpack-objects" && matches!(others, Others::Before)
}

fn check(pushed: &Pushed, moment: usize, loss: Loss, seed: u64) {
    let case = format!("moment {moment} {loss:?} seed {seed}");
    let left = tempfile::tempdir_in(memory()).unwrap();
    pushed.recorder.remains(moment, loss, seed).build(left.path()).unwrap();
    let objects = left.path().join("objects");
    sweep(&objects, usize::MAX).unwrap();
    let names = fs::read_dir(&objects).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.as_bytes().starts_with(b"tmp_")), "{case}");
    let open = || Repository::open(left.path(), Environment::default()).unwrap();
    let files = RefFiles::of(&open().snapshot().unwrap()).unwrap();
    recover(&files.with_calls(System::volatile())).unwrap();
    let snapshot = open().snapshot().unwrap();
    let tips: Vec<ObjectId> = snapshot.refs.iter().map(|reference| reference.target).collect();
    assert!(tips.is_empty() || tips == [pushed.tip], "{case}: {tips:?}");
    assert!(moment < pushed.done_at || !tips.is_empty(), "{case}: the push is lost");
    let store = Arc::new(Store::open(&objects, &StoreOptions::default()).unwrap());
    let mut checker = Checker::new(store, Vec::new(), Vec::new(), Cancel::default());
    checker.check(&tips).unwrap_or_else(|error| panic!("{case}: {error}"));
    // What others left half written is in nobody's way.
    if loss == Loss::Any && moment.is_multiple_of(9) && !tips.is_empty() {
        git_in(left.path(), &["fsck", "--connectivity-only"], b"");
    }
}

/// Memory if there is some: hundreds of trees.
fn memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

#[test]
fn a_push_survives_a_loss_of_power_or_never_was() {
    for child in
        [vec!["unpack-objects", "-q"], vec!["index-pack", "--stdin", "--keep=gitring push"]]
    {
        for others in [Others::Never, Others::Before, Others::Meanwhile] {
            let pushed = pushed(&child, others);
            let moments = pushed.recorder.moments();
            let step = if matches!(others, Others::Never) { 1 } else { 3 };
            for moment in (0..=moments).rev().step_by(step) {
                for loss in [Loss::Nothing, Loss::Latest, Loss::Any, Loss::Halves] {
                    check(&pushed, moment, loss, 1 + moment as u64 % 5);
                }
            }
            assert!(moments > 10, "{moments}");
        }
    }
}
