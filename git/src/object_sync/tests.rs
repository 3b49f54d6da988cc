//! Goal: what tips lead to survives a loss of power though git synced none of it, and what is known
//! to be on disk costs nothing.
//! Method: loose objects and packs that a recorder takes for not synced.

use super::*;
use crate::files::recorder::{Loss, Recorder};
use crate::objects::StoreOptions;
use crate::objects::tests::fixture::{Fixture, git_in};
use crate::repository::{Environment, Repository};

/// Whether all that `tip` leads to is left, whatever is lost that was not synced.
fn survives(recorder: &Recorder, tip: &ObjectId) -> bool {
    (1..6).all(|seed| {
        let left = tempfile::tempdir().unwrap();
        recorder.remains(recorder.moments(), Loss::Any, seed).build(left.path()).unwrap();
        let git = std::process::Command::new("git")
            .args(["rev-list", "--objects", "--quiet", &tip.to_string()])
            .current_dir(left.path())
            .output();
        git.unwrap().status.success()
    })
}

fn snapshot(fixture: &Fixture) -> Arc<Snapshot> {
    let repository = Repository::open(fixture.dir.path(), Environment::default());
    repository.unwrap().snapshot().unwrap()
}

fn check(is_packed: bool) {
    let fixture = Fixture::empty();
    let recorder = Recorder::new(fixture.dir.path(), &["hooks"]).unwrap();
    let calls = Arc::clone(&recorder) as Arc<dyn FileCalls>;
    fixture.git(&["config", "fastimport.unpackLimit", if is_packed { "1" } else { "1000" }]);
    fixture.import("main", 1, 5);
    let tip = fixture.id("main");
    fixture.git(&["update-ref", "-d", "refs/heads/main"]);
    recorder.adopt(&fixture.objects()).unwrap();
    assert!(!survives(&recorder, &tip));
    let snapshot = snapshot(&fixture);
    sync_tips(&snapshot, [tip].into_iter(), &calls).unwrap();
    assert!(survives(&recorder, &tip));
    let moments = recorder.moments();
    sync_tips(&snapshot, [tip].into_iter(), &calls).unwrap();
    assert_eq!(recorder.moments(), moments, "it was synced twice");
}

#[test]
fn loose_objects_survive_with_what_they_lead_to() {
    check(false);
}

#[test]
fn packs_survive() {
    check(true);
}

#[test]
fn what_a_ref_points_to_is_not_followed() {
    let fixture = Fixture::empty();
    fixture.git(&["config", "fastimport.unpackLimit", "1000"]);
    fixture.import("main", 1, 5);
    let recorder = Recorder::new(fixture.dir.path(), &["hooks"]).unwrap();
    let calls = Arc::clone(&recorder) as Arc<dyn FileCalls>;
    sync_tips(&snapshot(&fixture), [fixture.id("main")].into_iter(), &calls).unwrap();
    assert_eq!(recorder.moments(), 0);
}

/// Goal: an object whose file goes between two looks is found in the pack that it went to.
#[test]
fn objects_that_are_packed_meanwhile_are_found_again() {
    let fixture = Fixture::empty();
    fixture.git(&["config", "fastimport.unpackLimit", "1000"]);
    fixture.import("main", 1, 5);
    let store = Store::open(&fixture.objects(), &StoreOptions::default()).unwrap();
    let tip = fixture.id("main");
    assert!(matches!(store.stored(&tip).unwrap(), Some(Stored::Loose(_))));
    let recorder = Recorder::new(fixture.dir.path(), &["hooks"]).unwrap();
    git_in(fixture.dir.path(), &["repack", "-a", "-d", "-q"], b"");
    recorder.adopt(&fixture.objects()).unwrap();
    let calls = Arc::clone(&recorder) as Arc<dyn FileCalls>;
    sync_objects(&store, &[tip], &calls).unwrap();
    assert!(matches!(store.stored(&tip).unwrap(), Some(Stored::Packed(_))));
    assert!(survives(&recorder, &tip));
}
