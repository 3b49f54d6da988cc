//! One producer, many readers.

use super::*;
use crate::{Unstored, WriteError};
use tokio::task::spawn_local;

#[test]
fn a_herd_costs_one_stream() {
    run(async {
        let world = World::new(limits());
        let length = 3_000 * KIB;
        let (lead, first) = world.lead(1).await;
        let mut reading = vec![spawn_local(read_all(first))];
        for _ in 0..50 {
            reading.push(spawn_local(read_all(world.join(1).await)));
        }
        let producing = spawn_local(produce(lead, length));
        settle().await;
        reading.push(spawn_local(read_all(world.join(1).await)));
        for reader in reading {
            assert_eq!(reader.await.unwrap(), Ok(payload(length)));
        }
        producing.await.unwrap();
        assert_eq!(read_all(world.hit(1).await).await, Ok(payload(length)));
        let (key, bytes) = (key(1), length as u64);
        assert_eq!(world.told(), [Event::Finished { key, bytes, kept: true }]);
        assert_eq!(world.index().bytes(), bytes + 4_096);
        assert_eq!((world.index().readers(), world.index().producing()), (0, 0));
        assert!(world.disk.names()[0].ends_with(format!("01/{key}.stream")));
    });
}

/// Goal: the fastest reader reads no file as long as it keeps up, one who comes late does.
/// Method: a disk from which nothing can be read.
#[test]
fn what_was_just_made_is_not_read_again() {
    run(async {
        let world = World::new(limits());
        let (mut lead, first) = world.lead(1).await;
        let reading = spawn_local(read_all(first));
        let mut rest = payload(300 * KIB);
        // The disk is read once, when the first file is made.
        lead.write(rest.split_to(1)).await.unwrap();
        world.disk.faults(|faults| faults.read = Some(std::io::ErrorKind::Other));
        while !rest.is_empty() {
            lead.write(rest.split_to(rest.len().min(7_001))).await.unwrap();
            settle().await;
        }
        let late = spawn_local(read_all(world.join(1).await));
        settle().await;
        assert!(matches!(late.await.unwrap(), Err(ReadError::Lost(_))));
        lead.finish().await;
        assert_eq!(reading.await.unwrap(), Ok(payload(300 * KIB)));
    });
}

#[test]
fn empty_and_short_streams_are_kept_too() {
    run(async {
        let world = World::new(limits());
        for (number, length) in [(1, 0), (2, 1), (3, 4_096)] {
            world.make(number, length).await;
            assert_eq!(read_all(world.hit(number).await).await, Ok(payload(length)));
        }
        assert_eq!((world.index().entries(), world.disk.names().len()), (3, 3));
    });
}

#[test]
fn the_producer_stays_in_the_window_of_the_fastest() {
    run(async {
        let world = World::new(limits());
        let (lead, first) = world.lead(1).await;
        let slow = world.join(1).await;
        let (gate, closed) = (Rc::new(tokio::sync::Semaphore::new(0)), Rc::default());
        let fast = read_slowly(first, gate.clone());
        let none = read_slowly(slow, Rc::new(tokio::sync::Semaphore::new(0)));
        let _: &Rc<()> = &closed;
        spawn_local(produce(lead, 1_000 * KIB));
        for _ in 0..100 {
            settle().await;
            let ahead = world.index().bytes() as usize - 4_096 - fast.borrow().len();
            // A reader that was given bytes has taken them once it asks again.
            assert!((32 * KIB..=68 * KIB).contains(&ahead), "{ahead} bytes ahead");
            gate.add_permits(1);
        }
        assert!(none.borrow().is_empty());
    });
}

#[test]
fn a_stream_that_fails_never_looks_whole() {
    run(async {
        let world = World::new(limits());
        let (mut lead, mut first) = world.lead(1).await;
        let mut second = world.join(1).await;
        lead.write(payload(100)).await.unwrap();
        assert_eq!(first.read(1_000).await, Ok(Some(payload(100))));
        lead.fail(Arc::from("no such thing"));
        let error = ReadError::Producer(Arc::from("no such thing"));
        assert_eq!(first.read(1_000).await, Err(error.clone()));
        assert_eq!(first.read(1_000).await, Err(error.clone()));
        assert_eq!(second.read(1_000).await, Err(error));
        drop((first, second));
        assert_eq!(world.told(), [Event::Broken { key: key(1), bytes: 100 }]);
        world.index().remove_queued(&world.disk).await;
        assert_eq!((world.index().bytes(), world.disk.names()), (0, vec![]));
        let (lead, mut reader) = world.lead(1).await;
        drop(lead);
        let gone = ReadError::Producer(Arc::from("the producer went away"));
        assert_eq!(reader.read(1).await, Err(gone));
    });
}

#[test]
fn an_interrupted_write_breaks_the_stream() {
    run(async {
        let world = World::new(limits());
        let (mut lead, mut reader) = world.lead(1).await;
        tokio::select! {
            biased;
            _ = lead.write(payload(1_000 * KIB)) => panic!("more than a window"),
            () = settle() => {}
        }
        lead.finish().await;
        let Err(ReadError::Producer(_)) = reader.read(1).await else { panic!("it looks whole") };
    });
}

#[test]
fn the_last_reader_to_leave_stops_the_producer() {
    run(async {
        let world = World::new(limits());
        let (mut lead, first) = world.lead(1).await;
        let second = world.join(1).await;
        lead.write(payload(100)).await.unwrap();
        drop(first);
        assert_eq!(lead.readers(), 1);
        let watched = Rc::new(std::cell::Cell::new(false));
        let producing = {
            let watched = watched.clone();
            spawn_local(async move {
                let written = lead.write(payload(500 * KIB)).await;
                lead.abandoned().await;
                watched.set(true);
                written
            })
        };
        settle().await;
        assert!(!watched.get());
        drop(second);
        assert_eq!(producing.await.unwrap(), Err(WriteError::Abandoned));
        assert!(watched.get());
        // Nobody gets the broken one.
        world.make(1, 10).await;
    });
}

#[test]
fn what_is_not_kept_is_shared_all_the_same() {
    fn check(limits: Limits, reason: Unstored) {
        run(async move {
            let world = World::new(limits);
            let (lead, first) = world.lead(1).await;
            let second = world.join(1).await;
            let reading = spawn_local(read_all(first));
            produce(lead, 300 * KIB).await;
            assert_eq!(reading.await.unwrap(), Ok(payload(300 * KIB)));
            let third = world.hit(1).await;
            assert_eq!(world.index().bytes_detached(), 300 * KIB as u64);
            assert_eq!(read_all(second).await, Ok(payload(300 * KIB)));
            assert_eq!(read_all(third).await, Ok(payload(300 * KIB)));
            let (key, bytes) = (key(1), 300 * KIB as u64);
            let unstored = Event::Unstored { key, reason, error: None };
            assert_eq!(world.told(), [unstored, Event::Finished { key, bytes, kept: false }]);
            assert_eq!((world.index().bytes(), world.disk.names()), (0, vec![]));
            world.lead(1).await;
        });
    }
    check(Limits { store: false, ..limits() }, Unstored::Disabled);
    check(Limits { min_occurrences: 3, ..limits() }, Unstored::Occurrences);
}

#[test]
fn the_second_touch_is_kept() {
    run(async {
        let world = World::new(Limits { min_occurrences: 1, ..limits() });
        world.make(1, 10).await;
        world.make(1, 10).await;
        world.hit(1).await;
        assert_eq!(world.index().entries(), 1);
    });
}

#[test]
fn a_file_is_adopted_without_a_copy() {
    run(async {
        let world = World::new(limits());
        let file = world.disk.foreign_file("/elsewhere/pack", &payload(10_000));
        let (lead, mut first) = world.lead(1).await;
        let waiting = spawn_local(async move { first.read(10_000).await });
        settle().await;
        lead.adopt(file, 1_000..9_000).await;
        assert_eq!(waiting.await.unwrap(), Ok(Some(payload(10_000).slice(1_000..9_000))));
        assert_eq!(read_all(world.hit(1).await).await, Ok(payload(10_000).slice(1_000..9_000)));
        assert_eq!(world.index().bytes_kept(), 8_000);
        let pack = std::path::Path::new("/elsewhere/pack");
        // More may follow, and the name may go: the range is as it was.
        world.disk.tamper(pack, |bytes| bytes.push(0));
        world.hit(1).await;
        crate::Disk::remove(&world.disk, pack).await.unwrap();
        assert_eq!(read_all(world.hit(1).await).await, Ok(payload(10_000).slice(1_000..9_000)));
        let (key, bytes) = (key(1), 8_000);
        assert_eq!(world.told(), [Event::Finished { key, bytes, kept: true }]);
    });
}

#[test]
fn an_adopted_file_that_was_cut_is_given_up() {
    run(async {
        let world = World::new(limits());
        let file = world.disk.foreign_file("/elsewhere/pack", &payload(10_000));
        let (lead, reader) = world.lead(1).await;
        lead.adopt(file, 1_000..9_000).await;
        drop(reader);
        world.disk.tamper(std::path::Path::new("/elsewhere/pack"), |bytes| bytes.truncate(8_999));
        world.lead(1).await;
        assert_eq!(world.causes(), [EvictionCause::Corrupt]);
        assert_eq!(world.index().bytes(), 0);
    });
}
