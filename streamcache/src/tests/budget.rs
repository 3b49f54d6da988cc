//! Bytes, entries, ages, free space.

use super::*;
use crate::Unstored;
use tokio::task::spawn_local;

const HEADER: u64 = 4_096;

/// What was evicted, and why.
fn evicted(events: &[Event]) -> Vec<(u8, EvictionCause)> {
    let mut gone = Vec::new();
    for event in events {
        if let Event::Evicted { key, cause, .. } = event {
            gone.push((key.as_bytes()[0], *cause));
        }
    }
    gone
}

/// Why streams are not stored.
fn unstored(events: &[Event]) -> Vec<(u8, Unstored)> {
    let mut reasons = Vec::new();
    for event in events {
        if let Event::Unstored { key, reason, .. } = event {
            reasons.push((key.as_bytes()[0], *reason));
        }
    }
    reasons
}

// === impl World ===

impl World {
    /// Makes so many short streams that no other test's number means.
    async fn make_many(&self, streams: u16) {
        for number in 0..streams {
            let mut digest = [0; 32];
            digest[..2].copy_from_slice(&number.to_le_bytes());
            digest[2] = 1;
            let fetch = self.cache.fetch(Key::new(digest), Note::default).await.unwrap();
            let Fetch::Lead(lead, reader) = fetch else { panic!("a new key") };
            let reading = spawn_local(read_all(reader));
            produce(lead, 1).await;
            reading.await.unwrap().unwrap();
        }
    }
}

#[test]
fn bytes_are_taken_from_those_nobody_asks_for() {
    run(async {
        let stream = 10_000 + HEADER;
        let world = World::new(Limits { bytes_max: 3 * stream, ..limits() });
        for number in [1, 2, 3] {
            world.make(number, 10_000).await;
        }
        world.hit(1).await;
        world.make(4, 10_000).await;
        assert_eq!(evicted(&world.told()), [(2, EvictionCause::Bytes)]);
        world.hit(1).await;
        assert_eq!(world.index().bytes(), 3 * stream);
        assert_eq!(world.disk.names().len(), 3);
    });
}

#[test]
fn what_is_read_is_not_evicted_for_its_bytes() {
    run(async {
        let stream = 10_000 + HEADER;
        let world = World::new(Limits { bytes_max: 2 * stream, ..limits() });
        world.make(1, 10_000).await;
        world.make(2, 10_000).await;
        let (first, second) = (world.hit(1).await, world.hit(2).await);
        // No room at all: it goes through memory and everybody gets it.
        world.make(3, 200 * KIB).await;
        assert_eq!(unstored(&world.told()), [(3, Unstored::Budget)]);
        drop(first);
        world.make(3, 10_000).await;
        assert_eq!(evicted(&world.told()), [(1, EvictionCause::Bytes)]);
        assert_eq!(read_all(second).await, Ok(payload(10_000)));
    });
}

#[test]
fn a_stream_above_the_budget_goes_on_in_memory() {
    run(async {
        let world = World::new(Limits { bytes_max: 100_000, ..limits() });
        let (lead, first) = world.lead(1).await;
        let second = world.join(1).await;
        let reading = [spawn_local(read_all(first)), spawn_local(read_all(second))];
        produce(lead, 500_000).await;
        for reader in reading {
            assert_eq!(reader.await.unwrap(), Ok(payload(500_000)));
        }
        let told = world.told();
        assert_eq!(unstored(&told), [(1, Unstored::Budget)]);
        assert_eq!(told[1], Event::Finished { key: key(1), bytes: 500_000, kept: false });
        world.index().remove_queued(&world.disk).await;
        assert_eq!((world.index().bytes(), world.disk.names()), (0, vec![]));
    });
}

/// Goal: one large stream does not empty the cache. Method: streams of all sizes beside small ones;
/// one above half of the budget takes what is free, and no more.
#[test]
fn a_large_stream_evicts_at_most_half() {
    fn check(length: usize, kept: &'static [u8], is_kept: bool) {
        run(async move {
            let small = 10_000 - HEADER;
            let world = World::new(Limits { bytes_max: 100_000, ..limits() });
            for number in 1..=7 {
                world.make(number, small as usize).await;
            }
            world.make(9, length).await;
            world.told();
            assert_eq!(world.index().entries(), kept.len() + usize::from(is_kept), "{length}");
            for number in kept {
                world.hit(*number).await;
            }
            assert_eq!(matches!(world.fetch(9).await, Fetch::Hit(_)), is_kept, "{length}");
        });
    }
    let header = HEADER as usize;
    check(30_000 - header, &[1, 2, 3, 4, 5, 6, 7], true);
    check(50_000 - header, &[3, 4, 5, 6, 7], true);
    check(60_000 - header, &[3, 4, 5, 6, 7], false);
    check(500_000, &[3, 4, 5, 6, 7], false);
}

#[test]
fn a_large_stream_is_kept_where_there_is_room() {
    run(async {
        let world = World::new(Limits { bytes_max: 100_000, ..limits() });
        world.make(9, 90_000).await;
        world.hit(9).await;
    });
}

#[test]
fn evicted_bytes_count_until_the_last_reader_leaves() {
    run(async {
        let world = World::new(Limits { entries_max: 1, ..limits() });
        world.make(1, 10_000).await;
        let reader = world.hit(1).await;
        world.make(2, 100).await;
        assert_eq!(evicted(&world.told()), [(1, EvictionCause::Entries)]);
        world.index().remove_queued(&world.disk).await;
        assert_eq!(world.disk.names().len(), 1);
        assert_eq!(world.index().bytes_detached(), 10_000 + HEADER);
        assert_eq!(read_all(reader).await, Ok(payload(10_000)));
        assert_eq!(world.index().bytes(), 100 + HEADER);
    });
}

#[test]
fn an_old_stream_is_not_served() {
    run(async {
        let world = World::new(limits());
        world.make(1, 10).await;
        world.make(2, 10).await;
        world.disk.pass(Duration::from_secs(299)).await;
        world.hit(1).await;
        world.disk.pass(Duration::from_secs(1)).await;
        world.make(1, 10).await;
        assert_eq!(evicted(&world.told()), [(1, EvictionCause::Age)]);
        // The new file stands where the old one stood, and its removal does not take it.
        world.index().remove_queued(&world.disk).await;
        world.hit(1).await;
        let house = world.keep_house();
        world.disk.pass(Duration::from_secs(120)).await;
        house.abort();
        assert_eq!(evicted(&world.told()), [(2, EvictionCause::Age)]);
        assert_eq!(world.disk.names().len(), 1);
    });
}

#[test]
fn ages_are_looked_at_in_pieces() {
    run(async {
        let world = World::new(limits());
        world.make_many(600).await;
        world.disk.pass(Duration::from_secs(300)).await;
        let mut sweep = Box::pin(world.cache.evict_old());
        for left in [600 - 256, 600 - 512] {
            tokio::select! {
                biased;
                () = &mut sweep => panic!("at once"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(world.index().entries(), left);
        }
        sweep.await;
        assert_eq!(world.index().entries(), 0);
    });
}

#[test]
fn a_full_disk_is_emptied_first() {
    run(async {
        let world = World::new(limits());
        world.make(1, 100_000).await;
        world.make(2, 100_000).await;
        world.disk.faults(|faults| faults.capacity = Some(250_000));
        world.make(3, 100_000).await;
        assert_eq!(evicted(&world.told()), [(1, EvictionCause::FreeSpace)]);
        world.hit(3).await;
        // Nothing left to evict helps here.
        world.disk.faults(|faults| faults.capacity = Some(0));
        tokio::join!(world.make(4, 500_000), world.disk.pass(Duration::from_secs(1)));
        assert_eq!(unstored(&world.told()), [(4, Unstored::DiskFull)]);
        world.lead(4).await;
    });
}

/// What was removed takes its space until it has been closed.
#[test]
fn no_second_stream_is_evicted_before_the_first_is_closed() {
    run(async {
        let world = World::new(limits());
        world.make(1, 100_000).await;
        world.make(2, 100_000).await;
        world.disk.faults(|faults| faults.full_writes = 2);
        tokio::join!(world.make(3, 100_000), world.disk.pass(Duration::from_secs(1)));
        assert_eq!(evicted(&world.told()), [(1, EvictionCause::FreeSpace)]);
        world.hit(2).await;
        world.hit(3).await;
    });
}

#[test]
fn the_file_system_keeps_its_free_space() {
    run(async {
        let world = World::new(Limits { free_bytes_min: 50_000, ..limits() });
        world.disk.faults(|faults| faults.capacity = Some(300_000));
        world.make(1, 100_000).await;
        world.make(2, 100_000).await;
        world.disk.pass(Duration::from_secs(1)).await;
        world.make(3, 100_000).await;
        assert_eq!(evicted(&world.told()), [(1, EvictionCause::FreeSpace)]);
        world.disk.faults(|faults| faults.capacity = Some(30_000));
        world.disk.pass(Duration::from_secs(1)).await;
        world.make(4, 500_000).await;
        assert_eq!(unstored(&world.told()), [(4, Unstored::FreeSpace)]);
    });
}

#[test]
fn a_bounded_number_of_idle_files_stays_open() {
    run(async {
        let world = World::new(limits());
        for number in 0..=255 {
            world.make(number, 1).await;
        }
        world.make_many(100).await;
        assert_eq!((world.index().entries(), world.disk.open_files()), (356, 256));
        assert_eq!(read_all(world.hit(0).await).await, Ok(payload(1)));
        assert_eq!(world.disk.open_files(), 256);
    });
}
