//! Streams that the disk refused, and files that went away.

use super::*;
use crate::Unstored;
use std::io;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

fn reasons(events: &[Event]) -> Vec<Unstored> {
    let mut reasons = Vec::new();
    for event in events {
        if let Event::Unstored { reason, .. } = event {
            reasons.push(*reason);
        }
    }
    reasons
}

/// Goal: no fault of the disk on the way of a stream reaches those who read it.
/// Method: one fault from the first byte on, one in the middle; two readers, then a lookup.
#[test]
fn the_disk_is_never_the_reason() {
    fn check(fault: fn(&mut disk::Faults), reason: Unstored) {
        for written in [0, 100 * KIB, 299 * KIB] {
            run(async move {
                let world = World::new(limits());
                let (mut lead, first) = world.lead(1).await;
                let second = world.join(1).await;
                let reading = [spawn_local(read_all(first)), spawn_local(read_all(second))];
                lead.write(payload(300 * KIB).slice(..written)).await.unwrap();
                world.disk.faults(fault);
                lead.write(payload(300 * KIB).slice(written..)).await.unwrap();
                lead.finish().await;
                for reader in reading {
                    assert_eq!(reader.await.unwrap(), Ok(payload(300 * KIB)));
                }
                assert_eq!(reasons(&world.told()), [reason], "after {written} bytes");
                world.lead(1).await;
                world.index().remove_queued(&world.disk).await;
                assert_eq!((world.index().bytes(), world.disk.names()), (0, vec![]));
            });
        }
    }
    check(|faults| faults.write = Some(io::ErrorKind::Other), Unstored::DiskFailed);
    check(|faults| faults.write = Some(io::ErrorKind::QuotaExceeded), Unstored::DiskFull);
    check(|faults| faults.rename = Some(io::ErrorKind::Other), Unstored::DiskFailed);
}

#[test]
fn no_directory_can_be_had() {
    run(async {
        let world = World::new(limits());
        world.disk.faults(|faults| faults.create = Some(io::ErrorKind::PermissionDenied));
        world.make(1, 300 * KIB).await;
        world.make(2, 0).await;
        assert_eq!(reasons(&world.told()), [Unstored::DiskFailed; 2]);
        world.disk.faults(|faults| faults.create = None);
        world.make(1, 10).await;
        // The disk is asked again after a second.
        world.disk.pass(Duration::from_secs(1)).await;
        world.make(1, 10).await;
        world.hit(1).await;
    });
}

#[test]
fn everything_was_removed_by_hand() {
    run(async {
        let world = World::new(limits());
        world.make(1, 10_000).await;
        world.make(2, 10_000).await;
        let reader = world.hit(2).await;
        world.disk.wipe();
        // Its folder is made now: not in the directory that we have lost, which would be nobody's.
        world.make(3, 10_000).await;
        world.make(1, 10_000).await;
        assert_eq!(read_all(reader).await, Ok(payload(10_000)));
        world.make(2, 10_000).await;
        world.hit(1).await;
        world.hit(2).await;
        world.hit(3).await;
        assert!(world.disk.all_under_locks());
        assert_eq!(world.causes(), [EvictionCause::Vanished; 2]);
    });
}

#[test]
fn a_slow_reader_bounds_memory_and_a_dead_one_ends() {
    run(async {
        let world = World::new(limits());
        world.disk.faults(|faults| faults.write = Some(io::ErrorKind::Other));
        let (lead, dead) = world.lead(1).await;
        let gate = Rc::new(Semaphore::new(1_000));
        // Who joins later is not let in, so both have to be there before the first byte.
        let slow = read_slowly(world.join(1).await, gate.clone());
        let producing = spawn_local(produce(lead, 300 * KIB));
        world.disk.pass(Duration::from_secs(9)).await;
        assert!((32 * KIB..=64 * KIB).contains(&slow.borrow().len()));
        assert_eq!(world.index().readers(), 2);
        world.disk.pass(Duration::from_secs(5)).await;
        producing.await.unwrap();
        settle().await;
        assert_eq!(slow.borrow()[..], payload(300 * KIB)[..]);
        let mut dead = dead;
        let error = ReadError::Stalled(Duration::from_secs(10));
        assert_eq!(dead.read(1).await, Err(error));
    });
}

#[test]
fn who_was_sent_away_hears_why_even_after_the_stream_broke() {
    run(async {
        let world = World::new(limits());
        world.disk.faults(|faults| faults.write = Some(io::ErrorKind::Other));
        let (lead, mut dead) = world.lead(1).await;
        let other = spawn_local(read_all(world.join(1).await));
        let producing = spawn_local(async move {
            let mut lead = lead;
            while lead.write(payload(KIB)).await.is_ok() {}
        });
        world.disk.pass(Duration::from_secs(14)).await;
        other.abort();
        producing.await.unwrap();
        let error = ReadError::Stalled(Duration::from_secs(10));
        assert_eq!(dead.read(1).await, Err(error));
    });
}

/// Goal: nobody is sent away for the sake of nobody.
/// Method: all readers of a stream in memory stop, together and at different places.
#[test]
fn who_holds_up_nobody_may_pause_for_ever() {
    fn check(taken: &'static [usize]) {
        run(async move {
            let world = World::new(limits());
            let house = world.keep_house();
            world.disk.faults(|faults| faults.write = Some(io::ErrorKind::Other));
            let (lead, first) = world.lead(1).await;
            let mut readers = vec![first];
            for _ in 1..taken.len() {
                readers.push(world.join(1).await);
            }
            let producing = spawn_local(produce(lead, 300 * KIB));
            settle().await;
            for (reader, taken) in readers.iter_mut().zip(taken) {
                assert_eq!(reader.read(*taken).await, Ok(Some(payload(*taken))));
            }
            world.disk.pass(Duration::from_secs(60)).await;
            let rest = readers.into_iter().map(|reader| spawn_local(read_all(reader)));
            for (reading, taken) in rest.collect::<Vec<_>>().into_iter().zip(taken) {
                assert_eq!(reading.await.unwrap(), Ok(payload(300 * KIB).slice(*taken..)));
            }
            producing.await.unwrap();
            house.abort();
        });
    }
    check(&[1]);
    check(&[5, 5]);
    check(&[1, 7_000]);
}

#[test]
fn who_reads_slowly_and_alone_gets_all_of_it() {
    run(async {
        let world = World::new(limits());
        world.disk.faults(|faults| faults.write = Some(io::ErrorKind::Other));
        let (lead, mut reader) = world.lead(1).await;
        spawn_local(produce(lead, 100 * KIB));
        let mut all = Vec::new();
        while let Some(bytes) = reader.read(usize::MAX).await.unwrap() {
            all.extend_from_slice(&bytes);
            world.disk.pass(Duration::from_secs(15)).await;
        }
        assert_eq!(all, payload(100 * KIB));
    });
}

#[test]
fn nobody_joins_where_nothing_lies_on_disk() {
    run(async {
        let told = Arc::new(Told::default());
        let index = Arc::new(Index::in_memory(limits(), told.clone()));
        let disk = MemoryDisk::default();
        let world = World { cache: Cache::new(index, disk.clone()), disk, told };
        let (lead, mut first) = world.lead(1).await;
        let producing = spawn_local(produce(lead, 300 * KIB));
        // The window moves on: what was taken is gone.
        let mut taken = 0;
        while taken < 100 * KIB {
            taken += first.read(10 * KIB).await.unwrap().unwrap().len();
        }
        world.make(1, 300 * KIB).await;
        assert_eq!(read_all(first).await, Ok(payload(300 * KIB).slice(taken..)));
        producing.await.unwrap();
    });
}

#[test]
fn what_is_held_pins_no_larger_buffer() {
    run(async {
        let world = World::new(limits());
        world.disk.faults(|faults| faults.write = Some(io::ErrorKind::Other));
        let (mut lead, mut reader) = world.lead(1).await;
        let buffer = payload(256 * KIB);
        lead.write(buffer.slice(..8 * KIB)).await.unwrap();
        let read = reader.read(KIB).await.unwrap().unwrap();
        assert_eq!(read, buffer[..KIB]);
        assert!(!buffer.as_ptr_range().contains(&read.as_ptr()));
    });
}

#[test]
fn a_file_that_cannot_be_read_is_given_up() {
    fn check(tamper: fn(&World), cause: EvictionCause) {
        run(async move {
            let world = World::new(limits());
            world.make(1, 10_000).await;
            let mut reader = world.hit(1).await;
            assert_eq!(reader.read(10).await, Ok(Some(payload(10))));
            world.told();
            tamper(&world);
            let Err(ReadError::Lost(_)) = reader.read(10_000).await else { panic!("it was read") };
            world.disk.faults(|faults| faults.read = None);
            let (key, bytes, age) = (key(1), 10_000, Duration::ZERO);
            assert_eq!(world.told(), [Event::Evicted { key, bytes, cause, age }]);
            world.make(1, 10_000).await;
            world.hit(1).await;
        });
    }
    let truncate = |world: &World| {
        let path = &world.disk.names()[0];
        world.disk.tamper(path, |bytes| bytes.truncate(5_000));
    };
    check(truncate, EvictionCause::Corrupt);
    let fail = |world: &World| world.disk.faults(|faults| faults.read = Some(io::ErrorKind::Other));
    check(fail, EvictionCause::Corrupt);
}

#[test]
fn what_turns_out_to_be_unreadable_never_looks_whole() {
    run(async {
        let world = World::new(limits());
        world.make(1, 10_000).await;
        let mut reader = world.hit(1).await;
        assert_eq!(reader.read(20_000).await, Ok(Some(payload(10_000))));
        world.disk.faults(|faults| faults.unsound = true);
        let Err(ReadError::Lost(_)) = reader.read(1).await else { panic!("it looked whole") };
        world.disk.faults(|faults| faults.unsound = false);
        world.make(1, 10_000).await;
    });
}

#[test]
fn a_finish_that_is_dropped_half_way_leaves_nothing_behind() {
    run(async {
        for turns in 0..12 {
            let world = World::new(limits());
            let (mut lead, reader) = world.lead(1).await;
            lead.write(payload(1_000)).await.unwrap();
            let mut finishing = Box::pin(lead.finish());
            for _ in 0..turns {
                tokio::select! {
                    biased;
                    () = &mut finishing => break,
                    () = tokio::task::yield_now() => {}
                }
            }
            drop(finishing);
            let whole = read_all(reader).await;
            // Dropped before it began, the stream was never finished.
            assert_eq!(whole.is_ok(), turns > 0, "after {turns} turns");
            world.index().remove_queued(&world.disk).await;
            let kept = world.index().entries();
            assert_eq!(world.disk.names().len(), kept, "after {turns} turns");
            assert_eq!(world.index().bytes(), kept as u64 * 5_096, "after {turns} turns");
            assert_eq!(world.index().producing(), 0);
        }
    });
}

#[test]
fn a_stream_that_is_replaced_while_it_gets_its_name_leaves_nothing_behind() {
    run(async {
        for turns in 0..8 {
            let world = World::new(limits());
            let (mut lead, reader) = world.lead(1).await;
            lead.write(payload(1_000)).await.unwrap();
            let finishing = spawn_local(lead.finish());
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            world.index().lose(reader.stream(), EvictionCause::Corrupt, Duration::ZERO);
            finishing.await.unwrap();
            drop(reader);
            world.index().remove_queued(&world.disk).await;
            assert_eq!((world.index().entries(), world.disk.names()), (0, vec![]), "{turns} turns");
            assert_eq!(world.index().bytes(), 0, "{turns} turns");
        }
    });
}

/// Goal: where memory is full nobody fails, and nobody holds more than a piece.
/// Method: many streams with readers that stand still, then read on.
#[test]
fn streams_in_memory_share_a_limit() {
    run(async {
        const STREAMS: u8 = 20;
        let full = Limits { window_bytes: 512 * KIB, memory_bytes_max: 1 << 20, ..limits() };
        let world = World::new(full);
        world.disk.faults(|faults| faults.write = Some(io::ErrorKind::Other));
        let mut readers = Vec::new();
        for number in 0..STREAMS {
            let (lead, reader) = world.lead(number).await;
            spawn_local(produce(lead, 600 * KIB));
            readers.push(reader);
        }
        world.disk.pass(Duration::from_secs(60)).await;
        let held = world.index().bytes_in_memory();
        assert!((1 << 20..(1 << 20) + u64::from(STREAMS) * (64 << 10)).contains(&held), "{held}");
        for reading in readers.into_iter().map(|reader| spawn_local(read_all(reader))) {
            assert_eq!(reading.await.unwrap(), Ok(payload(600 * KIB)));
        }
        assert_eq!((world.index().bytes_in_memory(), world.index().producing()), (0, 0));
    });
}

#[test]
fn a_finished_stream_that_is_held_in_memory_counts_until_it_was_read() {
    run(async {
        let world = World::new(limits());
        world.disk.faults(|faults| faults.write = Some(io::ErrorKind::Other));
        let (lead, reader) = world.lead(1).await;
        produce(lead, 20 * KIB).await;
        let held = (world.index().bytes_in_memory(), world.index().producing());
        assert_eq!(held, (20 * KIB as u64, 1));
        assert_eq!(read_all(reader).await, Ok(payload(20 * KIB)));
        assert_eq!((world.index().bytes_in_memory(), world.index().producing()), (0, 0));
    });
}

/// Goal: a younger stream of the key never gets the name before the removal waits for it.
/// Method: a stream is dropped in each moment of getting its name; its lead still lives.
#[test]
fn a_name_is_not_free_before_its_removal_waits() {
    run(async {
        let mut waited = 0;
        for turns in 0..12 {
            let world = World::new(limits());
            let (mut lead, _reader) = world.lead(1).await;
            lead.write(payload(1_000)).await.unwrap();
            assert!(lead.stream.finish());
            {
                let mut keeping = std::pin::pin!(lead.keep());
                for _ in 0..turns {
                    tokio::select! {
                        biased;
                        _ = &mut keeping => break,
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
            let stored =
                world.disk.names().iter().any(|path| path.extension().unwrap() == "stream");
            let next = world.index().next_removal();
            let waits = matches!(&next, crate::removals::Next::Claim(claim)
                if claim.path.extension().unwrap() == "stream");
            assert!(!stored || waits || world.index().entries() == 1, "after {turns} turns");
            waited += usize::from(waits);
        }
        assert!(waited > 0);
    });
}
