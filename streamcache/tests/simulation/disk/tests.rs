//! The disk by itself.

use super::faults::{ENOSPC, Faults};
use super::{SimDisk, Volume};
use crate::executor::{Executor, Spawn, race};
use crate::rng::Rng;
use bytes::Bytes;
use gitring_streamcache::Disk;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// Runs one task on an empty disk; what was left and used afterwards.
fn on_disk<W: Future<Output = ()> + 'static>(
    seed: u64,
    work: impl FnOnce(SimDisk, Executor, Volume) -> W,
) -> Volume {
    let executor = Executor::new(Rng::new(seed));
    let volume = Volume::new(Rng::new(seed));
    let disk = SimDisk::new(executor.clone(), volume.clone(), 1);
    let who = Spawn { name: "test".to_owned(), process: 1, background: false };
    executor.spawn(who, work(disk, executor.clone(), volume.clone()));
    executor.run(&mut || ());
    volume
}

/// Goal: bytes count until the last name and the last holder have gone.
#[test]
fn unlinked_files_count_until_they_are_closed() {
    let volume = on_disk(1, |disk, _, volume| async move {
        disk.create_directory(Path::new("/a/b")).await.unwrap();
        let file = disk.create(Path::new("/a/b/c")).await.unwrap();
        disk.write(&file, 0, Bytes::from_static(b"12345")).await.unwrap();
        disk.rename(Path::new("/a/b/c"), Path::new("/a/d")).await.unwrap();
        disk.remove(Path::new("/a/d")).await.unwrap();
        assert_eq!(disk.linked_bytes(&file), None);
        assert_eq!(volume.used_bytes(), 5);
        assert_eq!(disk.read(&file, 1, 3).await.unwrap(), "234");
        assert!(disk.read(&file, 3, 3).await.is_err());
    });
    assert_eq!(volume.used_bytes(), 0);
}

/// Goal: a full disk says so, and never holds more than its capacity.
#[test]
fn capacity_is_a_limit() {
    on_disk(2, |disk, _, volume| async move {
        volume.set_capacity(10);
        let file = disk.create_unnamed(Path::new("/")).await.unwrap();
        disk.write(&file, 0, Bytes::from_static(b"12345678")).await.unwrap();
        let full = disk.write(&file, 8, Bytes::from_static(b"9012")).await.unwrap_err();
        assert_eq!(full.raw_os_error(), Some(ENOSPC));
        assert!(volume.used_bytes() <= 10);
    });
}

/// Goal: locks are of files, end with their process, and keep others out.
#[test]
fn locks_end_with_their_process() {
    on_disk(3, |disk, executor, volume| async move {
        let other = SimDisk::new(executor, volume.clone(), 2);
        let path = Path::new("/lock");
        let held = disk.lock(path).await.unwrap().expect("nobody has it");
        assert!(other.lock(path).await.unwrap().is_none());
        std::mem::forget(held);
        volume.release_locks(1);
        assert!(other.lock(path).await.unwrap().is_some());
        assert!(disk.lock(path).await.unwrap().is_some());
    });
}

/// Goal: a dropped operation happens once or never, now or later: each of these in some seed.
#[test]
fn dropped_operations_happen_or_not() {
    let (mut never, mut now, mut later) = (0, 0, 0);
    for seed in 0..60 {
        let at_once = Rc::new(Cell::new(false));
        let seen = Rc::clone(&at_once);
        let volume = on_disk(seed, |disk, executor, volume| async move {
            let second = Duration::from_secs(1);
            volume.set_faults(Faults { slow: 1000, slow_max: second, ..Faults::default() });
            let path = Path::new("/file");
            let dropped = race(disk.create(path), std::future::ready(())).await.is_err();
            seen.set(volume.files().contains_key(path));
            assert!(dropped || seen.get());
            executor.sleep(2 * second).await;
        });
        match (at_once.get(), volume.files().len()) {
            (true, _) => now += 1,
            (false, 0) => never += 1,
            (false, _) => later += 1,
        }
    }
    assert!(never > 5 && now > 5 && later > 5, "{never} {now} {later}");
}

/// Goal: power loss tears what was written since the last one, and nothing else.
#[test]
fn power_loss_tears_unsynced_files_only() {
    let mut torn = 0;
    for seed in 0..100 {
        let volume = Volume::new(Rng::new(seed));
        let old = vec![7; 5_000];
        drop(volume.place(Path::new("/old"), &old));
        volume.state().undo.clear();
        let new = volume.create(Path::new("/new")).unwrap();
        volume.write(&new, 0, &old, 0).unwrap();
        drop(new);
        volume.lose_power();
        let files = volume.files();
        assert_eq!(files[Path::new("/old")].bytes(), old, "seed {seed}");
        torn += u32::from(files.get(Path::new("/new")).is_none_or(|file| file.bytes() != old));
    }
    assert!((20..90).contains(&torn), "{torn} of 100");
}
