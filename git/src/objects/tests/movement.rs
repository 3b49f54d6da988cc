//! Git repacks, prunes and writes while stores read: every object stays readable.

use super::fixture::{Expected, Fixture};
use crate::{ObjectId, at_once};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn what_others_write_is_found_at_once() {
    let fixture = Fixture::with_history(5);
    let store = fixture.store();
    for number in 0..20 {
        let text = format!("written later {number}");
        let id = fixture.git_with(&["hash-object", "--stdin"], text.as_bytes());
        let id = ObjectId::from_hex(id.trim_ascii()).unwrap();
        assert!(!store.contains(&id).unwrap());
        fixture.git_with(&["hash-object", "-w", "--stdin"], text.as_bytes());
        assert!(store.contains(&id).unwrap(), "loose {number}");
        fixture.import(&format!("branch{number}"), 50 + number, 3);
        let tip = fixture.id(&format!("branch{number}"));
        assert!(store.commit(&tip).unwrap().is_some(), "packed {number}");
    }
}

#[test]
fn unlinked_packs_stay_readable_and_are_let_go_later() {
    let fixture = Fixture::with_history(20);
    let expected = fixture.expected();
    let store = fixture.store();
    for Expected { id, data, .. } in &expected {
        assert_eq!(store.read(id).unwrap().unwrap().data, *data);
    }
    for file in fixture.files(".pack").into_iter().chain(fixture.files(".idx")) {
        std::fs::remove_file(file).unwrap();
    }
    let packed = fixture.id("main");
    assert!(store.read(&packed).unwrap().is_some());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!store.contains(&ObjectId::Sha1([7; 20])).unwrap());
    assert!(!store.contains(&packed).unwrap());
}

#[test]
fn repacking_under_readers() {
    let fixture = Fixture::with_history(40);
    fixture.import("other", 2, 20);
    let expected = fixture.expected();
    let (kept, stop) = (fixture.store(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let fresh = fixture.store();
                    for Expected { id, kind, data } in &expected {
                        for store in [&kept, &fresh] {
                            let object = store.read(id).unwrap();
                            let object = object.unwrap_or_else(|| panic!("{id} went missing"));
                            assert!(object.kind == *kind && object.data == *data, "{id}");
                        }
                    }
                }
            });
        }
        for round in 0..8_u64 {
            fixture.import(&format!("new{round}"), 90 + round, 3);
            fixture.git(&["repack", "-dq"]);
            fixture.git(&["multi-pack-index", "write"]);
            fixture.git(&["repack", "-adfq", "--window=5"]);
            fixture.git(&["commit-graph", "write", "--reachable"]);
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_graph_written_later_comes_into_use() {
    let fixture = Fixture::with_history(5);
    let tip = fixture.id("main");
    let store = fixture.store();
    assert_eq!(store.commit(&tip).unwrap().unwrap().generation, None);
    fixture.git(&["commit-graph", "write", "--reachable"]);
    for _ in 0..1_100 {
        store.commit(&tip).unwrap();
    }
    assert_eq!(store.commit(&tip).unwrap().unwrap().generation, Some(5));
}

#[test]
fn replaced_packs_are_let_go_even_if_nothing_is_missed() {
    let fixture = Fixture::with_history(5);
    fixture.git(&["repack", "-adfq"]);
    let tip = fixture.id("main");
    let store = fixture.store();
    std::thread::sleep(Duration::from_millis(50));
    assert!(store.contains(&tip).unwrap());
    for file in fixture.files(".idx").into_iter().chain(fixture.files(".pack")) {
        std::fs::remove_file(file).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let found = (0..10_000).take_while(|_| store.contains(&tip).unwrap()).count();
    assert!((4_000..4_100).contains(&found), "{found}");
}

#[test]
fn attempts_know_what_was_found_before_and_nothing_else() {
    let fixture = Fixture::with_history(5);
    fixture.git(&["repack", "-adfq"]);
    let (tip, store) = (fixture.id("main"), fixture.store());
    let ask = || (store.contains(&tip).ok(), store.kind(&tip).ok(), store.read(&tip).ok());
    assert_eq!(at_once::attempt(ask), None);
    let expected = ask();
    assert_eq!(at_once::attempt(ask), Some(expected));
    let loose = fixture.git_with(&["hash-object", "-w", "--stdin"], b"loose");
    let loose = ObjectId::from_hex(loose.trim_ascii()).unwrap();
    let missing = ObjectId::Sha1([7; 20]);
    for id in [loose, missing] {
        assert_eq!(store.contains(&id).unwrap(), id == loose);
        assert!(at_once::attempt(|| store.contains(&id).is_ok()).is_none(), "{id}");
    }
    assert!(at_once::attempt(|| store.commit(&tip).is_ok()).is_none(), "graphs are files");
    // Packs are stated now and then, for which attempts have to fail.
    let answered = (0..10_000).take_while(|_| at_once::attempt(ask).is_some()).count();
    assert!(answered < 4_096, "{answered}");
    ask();
    assert!(at_once::attempt(ask).is_some());
    // In another pack it has another place.
    fixture.import("other", 9, 3);
    fixture.git(&["repack", "-adfq"]);
    assert!(!store.contains(&missing).unwrap());
    assert!(at_once::attempt(ask).is_none());
}
