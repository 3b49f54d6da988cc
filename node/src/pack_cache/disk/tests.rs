//! The disk as the stream cache uses it, with a ring and with threads alone.

mod cold;

use super::*;
use crate::reactor::ring::{IoUring, Rings};
use gitring_daemon::mux;
use prometheus::Registry;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::sync::LazyLock;
use std::time::Instant;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

const MIB: usize = 1 << 20;

fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap()
}

fn disk(mode: IoUring) -> CacheDisk {
    CacheDisk::new(Rings::start(mode, &Registry::new()).unwrap().ring())
}

/// Runs `test` in an empty directory, with a ring, then with threads alone.
fn both(test: impl AsyncFn(CacheDisk, &Path)) {
    for mode in [IoUring::Auto, IoUring::Off] {
        let directory = tempfile::tempdir().unwrap();
        runtime().block_on(async { test(disk(mode), directory.path()).await });
    }
}

/// Length of what the pattern repeats: a prime, so that no border of pages or maps meets it.
const PERIOD_BYTES: usize = 1_000_003;
static PERIOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |at: u32| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0];
    (0..PERIOD_BYTES as u32).map(byte).collect()
});

/// The byte of the pattern at `offset_bytes`.
fn byte(offset_bytes: u64) -> u8 {
    PERIOD[(offset_bytes % PERIOD_BYTES as u64) as usize]
}

/// Bytes that tell from where they are.
fn pattern(offset_bytes: u64, length_bytes: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length_bytes);
    while bytes.len() < length_bytes {
        let start = ((offset_bytes + bytes.len() as u64) % PERIOD_BYTES as u64) as usize;
        let end = PERIOD_BYTES.min(start + length_bytes - bytes.len());
        bytes.extend_from_slice(&PERIOD[start..end]);
    }
    bytes.into()
}

async fn write_pattern(disk: &CacheDisk, path: &Path, length_bytes: usize) -> Arc<File> {
    let file = disk.create(path).await.unwrap();
    for at in (0..length_bytes).step_by(MIB) {
        let data = pattern(at as u64, MIB.min(length_bytes - at));
        disk.write(&file, at as u64, data).await.unwrap();
    }
    file
}

async fn check(disk: &CacheDisk, file: &Arc<File>, offset_bytes: u64, length_bytes: usize) {
    let read = disk.read(file, offset_bytes, length_bytes).await.unwrap();
    assert!(read == pattern(offset_bytes, length_bytes), "{length_bytes} at {offset_bytes}");
}

/// Writes the file to disk and takes it out of memory.
fn cool(file: &File) {
    rustix::fs::fsync(&**file.descriptor()).unwrap();
    let advice = rustix::fs::Advice::DontNeed;
    rustix::fs::fadvise(&**file.descriptor(), 0, None, advice).unwrap();
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn files_are_made_found_and_removed() {
    both(async |disk, root| {
        let below = root.join("a/b");
        disk.create_directory(&below).await.unwrap();
        disk.create_directory(&below).await.unwrap();
        let (part, stream) = (below.join("x.part"), below.join("x.stream"));
        let file = write_pattern(&disk, &part, 10_000).await;
        assert_eq!(kind(disk.create(&part).await), ErrorKind::AlreadyExists);
        disk.rename(&part, &stream).await.unwrap();
        assert_eq!(kind(disk.open(&part).await), ErrorKind::NotFound);
        let (opened, length_bytes) = disk.open(&stream).await.unwrap();
        assert_eq!(length_bytes, 10_000);
        check(&disk, &opened, 9_000, 1_000).await;
        assert!(disk.read(&opened, 10_000, 0).await.unwrap().is_empty());
        for (offset_bytes, length_bytes) in [(9_000, 1_001), (10_001, 0), (u64::MAX, 1), (0, MIB)] {
            let read = disk.read(&opened, offset_bytes, length_bytes).await;
            assert_eq!(kind(read), ErrorKind::UnexpectedEof, "{length_bytes} at {offset_bytes}");
        }

        let mut listed = disk.list(&root.join("a")).await.unwrap();
        listed.extend(disk.list(&below).await.unwrap());
        let found: Vec<_> = listed.iter().map(|entry| (&*entry.name, entry.is_directory)).collect();
        assert_eq!(found, [(OsStr::new("b"), true), (OsStr::new("x.stream"), false)]);
        assert_eq!(kind(disk.remove_directory(&below).await), ErrorKind::DirectoryNotEmpty);

        assert!(disk.linked_bytes(&file).is_some());
        disk.remove(&stream).await.unwrap();
        assert!([&file, &opened].iter().all(|file| disk.linked_bytes(file).is_none()));
        check(&disk, &opened, 0, 10_000).await;
        disk.remove_directory(&below).await.unwrap();
        assert_eq!(kind(disk.list(&below).await), ErrorKind::NotFound);
        assert!(disk.free_bytes(root).await.unwrap() > 0);
    });
}

#[test]
fn unnamed_files_are_nowhere_to_be_found() {
    both(async |disk, root| {
        let plain = disk.create_and_unlink(root).await.unwrap();
        for file in [disk.create_unnamed(root).await.unwrap(), plain] {
            disk.write(&file, 0, pattern(0, 3 * MIB)).await.unwrap();
            check(&disk, &file, 1, 2 * MIB).await;
            assert_eq!(disk.linked_bytes(&file), None);
        }
        assert!(disk.list(root).await.unwrap().is_empty());
        let missing = disk.create_unnamed(&root.join("missing")).await;
        assert_eq!(kind(missing), ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_has_one_holder() {
    both(async |disk, root| {
        let path = root.join("lock");
        let lock = disk.lock(&path).await.unwrap().unwrap();
        assert!(disk.lock(&path).await.unwrap().is_none());
        drop(lock);
        assert!(disk.lock(&path).await.unwrap().is_some());
        assert_eq!(kind(disk.lock(&root.join("missing/lock")).await), ErrorKind::NotFound);
    });
}

/// Goal: what is appended shows in maps that were made before, across their borders.
/// Method: a reader close behind a writer that writes more than one segment holds.
#[test]
fn a_file_grows_under_its_maps() {
    both(async |disk, root| {
        let file = disk.create(&root.join("growing")).await.unwrap();
        let mut held = Vec::new();
        for at in (0..70 * MIB as u64).step_by(MIB) {
            disk.write(&file, at, pattern(at, MIB)).await.unwrap();
            let start = at.saturating_sub(100_000);
            let length_bytes = usize::try_from(at - start).unwrap() + MIB;
            held.push((start, disk.read(&file, start, length_bytes).await.unwrap()));
        }
        for (start, bytes) in &held {
            assert!(*bytes == pattern(*start, bytes.len()), "at {start}");
        }
        // Longer than segments overlap: no map holds it.
        check(&disk, &file, 62 * MIB as u64, 8 * MIB).await;
        drop(file);
        assert!(held[3].1 == pattern(held[3].0, held[3].1.len()), "bytes keep their map");
    });
}

#[test]
fn truncation_under_a_reader_is_an_error() {
    both(async |disk, root| {
        let path = root.join("shrinking");
        let file = write_pattern(&disk, &path, 2 * MIB).await;
        let held = disk.read(&file, 0, 2 * MIB).await.unwrap();
        let resize = |length| rustix::fs::ftruncate(&**file.descriptor(), length).unwrap();
        resize(MIB as u64);
        assert_eq!(kind(disk.read(&file, 0, 2 * MIB).await), ErrorKind::UnexpectedEof);
        check(&disk, &file, 0, MIB).await;
        assert_eq!(held[2 * MIB - 1], 0, "no signal, but no data either");
        // From here on the map is worth nothing, even where the file is long enough.
        resize(2 * MIB as u64);
        assert!(file.is_faulted());
        assert_eq!(kind(disk.read(&file, 0, MIB).await), ErrorKind::Other);
        assert_eq!(kind(disk.read(&file, 2 * MIB as u64, 0).await), ErrorKind::Other, "at the end");
        let (again, _) = disk.open(&path).await.unwrap();
        check(&disk, &again, 0, MIB).await;
        assert!(!again.is_faulted());
    });
}

/// Goal: a zero that went out where a page was gone is known at the end, whichever map it was in.
#[test]
fn a_fault_in_one_map_is_a_fault_of_the_file() {
    both(async |disk, root| {
        let file = write_pattern(&disk, &root.join("long"), 65 * MIB).await;
        let held = disk.read(&file, 64 * MIB as u64, MIB).await.unwrap();
        rustix::fs::ftruncate(&**file.descriptor(), 64 * MIB as u64).unwrap();
        check(&disk, &file, 0, MIB).await;
        assert_eq!(held[0], 0);
        assert_eq!(kind(disk.read(&file, 0, MIB).await), ErrorKind::Other);
    });
}

/// Goal: a page that goes while bytes of it wait for a socket ends no connection.
/// Method: the kernel that writes to the socket meets the page first.
#[test]
fn a_fault_on_the_way_to_a_socket_is_a_fault_of_the_file_alone() {
    both(async |disk, root| {
        let file = write_pattern(&disk, &root.join("shrinking"), MIB).await;
        let bytes = disk.read(&file, 0, MIB).await.unwrap();
        rustix::fs::ftruncate(&**file.descriptor(), 100_000).unwrap();
        let (a, b) = tokio::net::UnixStream::pair().unwrap();
        let (client, _none, client_driver) = mux::start(a, mux::Role::Client, mux::CLIENT);
        let (_server, mut incoming, server_driver) = mux::start(b, mux::Role::Server, mux::NODE);
        let drivers =
            [tokio::task::spawn_local(client_driver), tokio::task::spawn_local(server_driver)];
        tokio::task::spawn_local(async move {
            let mut stream = client.open().await.unwrap();
            stream.send(bytes).await.unwrap();
            stream.finish().await.unwrap();
            std::future::pending::<()>().await;
        });
        let (mut stream, mut got) = (incoming.accept().await.unwrap(), Vec::new());
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut got).await.unwrap();
        assert_eq!((got.len(), got[MIB - 1]), (MIB, 0));
        assert!(got[..100_000] == pattern(0, 100_000));
        assert!(drivers.iter().all(|driver| !driver.is_finished()));
        assert!(file.is_faulted());
    });
}

/// How often the process has a file open or mapped.
fn holds(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test looks at its process")]
    let (open, maps) =
        (std::fs::read_dir("/proc/self/fd").unwrap(), std::fs::read_to_string("/proc/self/maps"));
    #[expect(clippy::disallowed_methods, reason = "a test looks at its process")]
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let open = links.filter(|link| link.to_string_lossy().contains(path)).count();
    open + maps.unwrap().lines().filter(|line| line.contains(path)).count()
}

/// Goal: the end of a file, which may be long work, is none of the thread that drops it.
/// Method: while all threads for it are held, file and map stay; afterwards they go.
#[test]
fn a_long_file_is_closed_on_a_thread() {
    both(async |disk, root| {
        let path = root.join("long");
        let file = write_pattern(&disk, &path, 2 * MIB).await;
        let bytes = disk.read(&file, 0, MIB).await.unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..64 {
            let (ring, held) = (disk.ring.clone(), Arc::clone(&held));
            let hold = move || held.lock().unwrap().recv().is_ok();
            tokio::task::spawn_local(async move { ring.blocking(hold).await });
        }
        tokio::task::yield_now().await;
        drop(file);
        assert_eq!(holds(&path), 2, "the bytes keep both");
        // From a thread without a runtime.
        std::thread::spawn(move || drop(bytes)).join().unwrap();
        assert_eq!(holds(&path), 2);
        drop(release);
        while holds(&path) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// File operations that were begun to read, of all reactors.
fn reads(registry: &Registry) -> usize {
    let families = registry.gather();
    let counters =
        families.iter().filter(|family| family.name() == "gitring_file_operations_total");
    let of_read = counters.flat_map(|family| family.get_metric()).filter(|metric| {
        metric
            .get_label()
            .iter()
            .any(|label| (label.name(), label.value()) == ("operation", "read"))
    });
    of_read.map(|metric| metric.get_counter().get_value() as usize).sum()
}

#[test]
fn a_long_file_that_is_read_in_small_steps_is_mapped() {
    const STEP_BYTES: usize = 3980;
    for mode in [IoUring::Auto, IoUring::Off] {
        for (steps, expected) in [(16, 16), (400, 4)] {
            let (directory, registry) = (tempfile::tempdir().unwrap(), Registry::new());
            runtime().block_on(async {
                let disk = CacheDisk::new(Rings::start(mode, &registry).unwrap().ring());
                let path = directory.path().join("file");
                let file = write_pattern(&disk, &path, steps * STEP_BYTES).await;
                for at in (0..steps * STEP_BYTES).step_by(STEP_BYTES) {
                    check(&disk, &file, at as u64, STEP_BYTES).await;
                }
            });
            assert_eq!(reads(&registry), expected, "{steps} steps");
        }
    }
}

#[test]
fn a_reactor_that_ends_leaves_its_reads_alone() {
    for mode in [IoUring::Auto, IoUring::Off] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = runtime().block_on(async {
            let file = write_pattern(&disk(mode), &path, 16 * MIB).await;
            cool(&file);
            file
        });
        for _ in 0..10 {
            cool(&file);
            runtime().block_on(async {
                let disk = disk(mode);
                for reader in 0..2 * SCRATCH_MAX as u64 {
                    let (disk, file) = (disk.clone(), Arc::clone(&file));
                    tokio::task::spawn_local(async move {
                        check(&disk, &file, reader * MIB as u64, MIB).await;
                    });
                }
                tokio::task::yield_now().await;
            });
        }
        runtime().block_on(async { check(&disk(mode), &file, 0, 4 * MIB).await });
    }
}
