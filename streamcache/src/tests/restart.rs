//! Directories of earlier and of other processes.

use super::*;

/// A process that made some streams and ended.
async fn earlier(numbers: &[u8]) -> MemoryDisk {
    let world = World::new(limits());
    for number in numbers {
        world.make(*number, 10_000).await;
    }
    let (mut lead, reader) = world.lead(200).await;
    lead.write(payload(100)).await.unwrap();
    // Killed: nothing is cleaned up, but locks go.
    std::mem::forget((lead, reader));
    world.disk.release_locks();
    world.disk.clone()
}

#[test]
fn streams_of_an_earlier_run_are_served_once_hashed() {
    run(async {
        let disk = earlier(&[1, 2]).await;
        assert_eq!(disk.names().len(), 3);
        let world = World::on(disk, limits());
        let house = world.keep_house();
        world.disk.pass(Duration::from_secs(2)).await;
        let mut told = world.told();
        told.sort_by_key(|event| format!("{event:?}"));
        let adopted = |number| Event::Adopted { key: key(number), bytes: 10_000 };
        assert_eq!(told, [adopted(1), adopted(2)]);
        assert_eq!(read_all(world.hit(1).await).await, Ok(payload(10_000)));
        assert_eq!(read_all(world.hit(2).await).await, Ok(payload(10_000)));
        assert_eq!(world.index().bytes(), 2 * (10_000 + 4_096));
        assert_eq!(world.disk.names().len(), 2);
        house.abort();
    });
}

#[test]
fn until_hashed_a_lead_replaces_it() {
    run(async {
        let disk = earlier(&[1]).await;
        let world = World::on(disk, limits());
        world.cache.claim_directories().await;
        assert_eq!(world.index().entries(), 1);
        world.make(1, 10_000).await;
        world.hit(1).await;
        world.index().remove_queued(&world.disk).await;
        assert_eq!((world.index().entries(), world.disk.names().len()), (1, 1));
    });
}

#[test]
fn what_is_not_as_it_was_written_goes() {
    fn check(tamper: fn(&mut Vec<u8>), told: EvictionCause) {
        run(async move {
            let disk = earlier(&[1]).await;
            let mut names = disk.names().into_iter();
            let path = names.find(|path| path.extension().unwrap() == "stream").unwrap();
            disk.tamper(&path, tamper);
            let world = World::on(disk, limits());
            let house = world.keep_house();
            world.disk.pass(Duration::from_secs(2)).await;
            assert_eq!(world.causes(), [told]);
            assert_eq!((world.index().bytes(), world.disk.names()), (0, vec![]));
            world.lead(1).await;
            house.abort();
        });
    }
    let corrupt = EvictionCause::Corrupt;
    check(|bytes| bytes[9_000] ^= 1, corrupt);
    check(|bytes| bytes[4_096..].fill(0), corrupt);
    check(|bytes| bytes[100] ^= 1, corrupt);
    check(|bytes| bytes.truncate(14_095), corrupt);
    check(|bytes| bytes.push(0), corrupt);
    check(|bytes| bytes[8] = 2, corrupt);
    check(Vec::clear, corrupt);
}

#[test]
fn two_processes_share_a_directory() {
    run(async {
        let disk = MemoryDisk::default();
        let (first, second) = (World::on(disk.clone(), limits()), World::on(disk, limits()));
        first.make(1, 10).await;
        second.make(1, 10).await;
        let houses = [first.keep_house(), second.keep_house()];
        first.disk.pass(Duration::from_secs(2)).await;
        assert_eq!((first.index().entries(), second.index().entries()), (1, 1));
        assert_eq!(first.disk.names().len(), 2);
        // One ends; within a minute the other has what it left.
        houses[1].abort();
        second.make(2, 10).await;
        drop(second);
        settle().await;
        first.disk.pass(Duration::from_secs(62)).await;
        first.hit(1).await;
        first.hit(2).await;
        houses[0].abort();
    });
}

#[test]
fn an_empty_directory_is_removed() {
    run(async {
        let disk = earlier(&[1]).await;
        let short = Limits { age_max: Duration::from_secs(5), ..limits() };
        let world = World::on(disk, short);
        let house = world.keep_house();
        world.disk.pass(Duration::from_secs(2)).await;
        world.hit(1).await;
        world.disk.pass(Duration::from_secs(124)).await;
        // The root and the cache's own are left.
        assert_eq!((world.disk.names(), world.disk.directories()), (vec![], 2));
        house.abort();
    });
}

#[test]
fn a_new_directory_is_never_one_with_something_in_it() {
    run(async {
        // The clock stands still, so the new process begins with the same name.
        let disk = earlier(&[1]).await;
        let world = World::on(disk, limits());
        world.make(2, 10).await;
        let house = world.keep_house();
        world.disk.pass(Duration::from_secs(2)).await;
        world.hit(1).await;
        world.hit(2).await;
        house.abort();
    });
}

#[test]
fn of_two_files_of_a_key_the_newer_stays() {
    run(async {
        for older_first in [true, false] {
            let disk = MemoryDisk::default();
            let worlds = [(); 2].map(|()| World::on(disk.clone(), limits()));
            // Directories are adopted by name, so each order of age and name comes up.
            for world in &worlds {
                world.make(9, 1).await;
            }
            let order = if older_first { [0, 1] } else { [1, 0] };
            worlds[order[0]].make(1, 10).await;
            disk.pass(Duration::from_secs(1)).await;
            let before = disk.names();
            worlds[order[1]].make(1, 10).await;
            let newer = disk.names().into_iter().find(|path| !before.contains(path)).unwrap();
            drop(worlds);
            let world = World::on(disk, limits());
            world.cache.claim_directories().await;
            assert_eq!(world.causes(), [EvictionCause::Replaced; 2]);
            assert_eq!((world.index().entries(), world.disk.names().len()), (2, 2));
            assert!(world.disk.names().contains(&newer));
        }
    });
}

#[test]
fn what_is_not_kept_replaces_nothing() {
    run(async {
        let disk = earlier(&[1]).await;
        let world = World::on(disk, Limits { min_occurrences: 9, ..limits() });
        world.cache.claim_directories().await;
        drop(world.lead(1).await);
        world.make(1, 10_000).await;
        let (lead, mut reader) = world.lead(1).await;
        let house = world.keep_house();
        // Served from now on, whatever becomes of the one that is being made.
        world.disk.pass(Duration::from_secs(1)).await;
        assert_eq!(read_all(world.hit(1).await).await, Ok(payload(10_000)));
        produce(lead, 100).await;
        assert_eq!(reader.read(100).await, Ok(Some(payload(100))));
        drop(reader);
        world.hit(1).await;
        assert_eq!((world.index().entries(), world.disk.names().len()), (1, 1));
        assert_eq!(world.index().bytes(), 10_000 + 4_096);
        house.abort();
    });
}

#[test]
fn a_lead_that_fails_replaces_nothing() {
    run(async {
        let disk = earlier(&[1]).await;
        let world = World::on(disk, limits());
        world.cache.claim_directories().await;
        let (lead, reader) = world.lead(1).await;
        let house = world.keep_house();
        world.disk.pass(Duration::from_secs(1)).await;
        drop(world.join(1).await);
        drop((lead, reader));
        world.disk.pass(Duration::from_secs(1)).await;
        assert_eq!(read_all(world.hit(1).await).await, Ok(payload(10_000)));
        house.abort();
    });
}

/// Goal: what a cache did not make stays, whatever it is called.
/// Method: trees of somebody else, and files of somebody else in a directory of ours.
#[test]
fn what_is_not_ours_is_left_alone() {
    fn check(foreign: &'static [(&'static str, &'static str)]) {
        run(async move {
            let disk = earlier(&[1]).await;
            let before = disk.names();
            let own = before[0].ancestors().nth(2).unwrap().display().to_string();
            let mut paths = Vec::new();
            for (path, text) in foreign {
                let path = path.replace("OWN", &own);
                let above = std::path::Path::new(&path).parent().unwrap();
                crate::Disk::create_directory(&disk, above).await.unwrap();
                disk.foreign_file(&path, text.as_bytes());
                paths.push(PathBuf::from(path));
            }
            let short = Limits { age_max: Duration::from_secs(5), ..limits() };
            let world = World::on(disk, short);
            let house = world.keep_house();
            world.disk.pass(Duration::from_secs(200)).await;
            for path in paths {
                assert!(crate::Disk::open(&world.disk, &path).await.is_ok(), "{}", path.display());
            }
            let left = world.disk.names();
            assert!(before.iter().all(|path| !left.contains(path)), "{left:?}");
            let locks = world.disk.locks_in("/cache/0123456789abcdef");
            let had = foreign.iter().filter(|(path, _)| path.ends_with("def/lock")).count();
            assert_eq!(locks, had);
            house.abort();
        });
    }
    check(&[("/cache/0123456789abcdef/photo.jpg", "x")]);
    check(&[("/cache/0123456789abcdef/ab/photo.jpg", "x")]);
    check(&[("/cache/0123456789abcdef/lock", "")]);
    check(&[("/cache/0123456789abcdef/lock", "4711\n"), ("/cache/0123456789abcdef/ab/x", "x")]);
    check(&[("/cache/0123456789abcdef/lock", ""), ("/cache/0123456789abcdef/photo.jpg", "x")]);
    check(&[("OWN/photo.jpg", "x"), ("OWN/ab/photo.jpg", "x"), ("OWN/ab/1.part", "x")]);
}

/// Goal: a stream does not outlive its use because power was lost before its lock was written.
#[test]
fn a_torn_lock_is_ours_where_streams_lie_beside_it() {
    fn check(text: &'static [u8], entries: usize) {
        run(async move {
            let disk = earlier(&[1]).await;
            let lock = disk.names()[0].ancestors().nth(2).unwrap().join("lock");
            disk.tamper(&lock, |bytes| *bytes = text.to_vec());
            let world = World::on(disk, limits());
            world.cache.claim_directories().await;
            assert_eq!(world.index().entries(), entries, "{text:?}");
        });
    }
    check(b"gitring streamcache 1\n", 1);
    check(b"", 1);
    check(b"gitring", 1);
    check(&[0; 22], 1);
    check(&[0; 23], 0);
    check(b"gitring streamcache 2\n", 0);
    check(b"12345\n", 0);
}
