//! Both ways to files give the same answers, and memory is nobody's before the kernel is done.

use super::*;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

const PAGE_BYTES: usize = 4096;
const BLOCK_BYTES: usize = 64 << 10;

fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap()
}

/// Runs `test` with a ring, if the system allows one, then with threads alone.
fn both(test: impl AsyncFn(Ring)) {
    for mode in [IoUring::Auto, IoUring::Off] {
        runtime().block_on(async {
            let ring = Rings::start(mode, &Registry::new()).unwrap().ring();
            let is_expected = mode == IoUring::Auto && probe().is_ok();
            assert_eq!(ring.shared.kernel.is_some(), is_expected);
            if mode == IoUring::Auto && !is_expected {
                println!("skipped with a ring: no io_uring here");
                return;
            }
            test(ring).await;
        });
    }
}

/// A file of `blocks` blocks, each filled with its number, out of the page cache if `direct`.
fn file(blocks: u8, direct: bool) -> (tempfile::TempDir, Arc<OwnedFd>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let bytes: Vec<u8> = (0..blocks).flat_map(|block| [block; BLOCK_BYTES]).collect();
    #[expect(clippy::disallowed_methods, reason = "a test prepares files")]
    let open = |flags| {
        std::fs::write(&path, &bytes).unwrap();
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)
    };
    let flags = if direct { libc::O_DIRECT } else { 0 };
    // Some file systems know no O_DIRECT; the test says a little less there.
    let file = open(flags).or_else(|_| open(0)).unwrap();
    (directory, Arc::new(file.into()))
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn every_operation_does_what_its_system_call_does() {
    both(async |ring| {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        let new = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = Arc::new(ring.open(&a, new, mode).await.unwrap());
        assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(kind(ring.open(&a, new, mode).await), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(ring.open(&b, OFlags::RDONLY, mode).await), io::ErrorKind::NotFound);
        let nul = Path::new("a\0b");
        assert_eq!(kind(ring.open(nul, OFlags::RDONLY, mode).await), io::ErrorKind::InvalidInput);

        ring.write(&file, 3, Bytes::from_static(b"defgh")).await.unwrap();
        ring.write(&file, 0, Bytes::from_static(b"abc")).await.unwrap();
        ring.write(&file, 99, Bytes::new()).await.unwrap();
        ring.sync(&file).await.unwrap();
        let (read, buffer) = ring.read(&file, 2, Buffer::new(10), 1..10).await;
        assert_eq!((read.unwrap(), buffer.bytes()), (6, &b"\0cdefgh\0\0\0"[..]));
        let (read, buffer) = ring.read(&file, 8, buffer, 0..10).await;
        assert_eq!(read.unwrap(), 0, "at the end");
        let stat = ring.stat(&a).await.unwrap();
        assert_eq!((stat.stx_size, stat.stx_nlink, stat.stx_mode), (8, 1, 0o100_600));

        let readable = Arc::new(ring.open(&a, OFlags::RDONLY, mode).await.unwrap());
        let refused = ring.write(&readable, 0, Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
        let here = Arc::new(ring.open(directory.path(), OFlags::RDONLY, mode).await.unwrap());
        assert_eq!(kind(ring.read(&here, 0, buffer, 0..1).await.0), io::ErrorKind::IsADirectory);

        ring.rename(&a, &b).await.unwrap();
        assert_eq!(kind(ring.rename(&a, &b).await), io::ErrorKind::NotFound);
        assert_eq!(kind(ring.stat(&a).await), io::ErrorKind::NotFound);
        ring.unlink(&b).await.unwrap();
        assert_eq!(kind(ring.unlink(&b).await), io::ErrorKind::NotFound);
        assert_eq!(ring.blocking(|| 7).await.unwrap(), 7);
    });
}

#[test]
fn more_operations_than_places_are_all_done() {
    both(async |ring| {
        let (_directory, file) = file(200, true);
        let mut reads = tokio::task::JoinSet::new();
        for round in 0..1000 {
            let (ring, file) = (ring.clone(), Arc::clone(&file));
            reads.spawn_local(async move {
                let block = round % 200;
                let buffer = Buffer::new(BLOCK_BYTES);
                let offset_bytes = (block * BLOCK_BYTES) as u64;
                let (read, buffer) = ring.read(&file, offset_bytes, buffer, 0..BLOCK_BYTES).await;
                assert_eq!(read.unwrap(), BLOCK_BYTES);
                assert!(buffer.bytes().iter().all(|&byte| usize::from(byte) == block));
            });
        }
        while let Some(read) = reads.join_next().await {
            read.unwrap();
        }
    });
}

#[test]
fn registered_buffers_come_back() {
    both(async |ring| {
        let (_directory, file) = file(8, true);
        let Some(first) = ring.registered_buffer() else {
            return println!("skipped: no ring, or no registered buffers here");
        };
        let mut all = vec![first];
        all.extend(std::iter::from_fn(|| ring.registered_buffer()));
        assert_eq!(all.len(), 8);
        for (block, buffer) in all.into_iter().enumerate() {
            let offset_bytes = (block * BLOCK_BYTES) as u64;
            let range = PAGE_BYTES..PAGE_BYTES + BLOCK_BYTES;
            let (read, buffer) = ring.read(&file, offset_bytes, buffer, range.clone()).await;
            assert_eq!(read.unwrap(), BLOCK_BYTES);
            assert!(buffer.bytes()[range].iter().all(|&byte| usize::from(byte) == block));
        }
        assert!(ring.registered_buffer().is_some());
    });
}

/// Polls once and drops, so that the operation is in flight without anybody who waits.
async fn begin(operation: impl Future) {
    let mut operation = std::pin::pin!(operation);
    std::future::poll_fn(|context| {
        let _ = operation.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// Blocks as the allocator gives them again after reads have freed theirs.
struct Reused(Vec<Vec<u8>>);

// === impl Reused ===

impl Reused {
    fn new() -> Self {
        let memory = || vec![0xab; BLOCK_BYTES + PAGE_BYTES - 1];
        Self(std::iter::repeat_with(memory).take(64).collect())
    }

    /// Reads that were still under way would have ended within this time.
    fn check(&self) {
        #[expect(clippy::disallowed_methods, reason = "the time of a disk, with no runtime")]
        std::thread::sleep(Duration::from_millis(20));
        let spoiled = self.0.iter().filter(|block| block.iter().any(|&byte| byte != 0xab));
        assert_eq!(spoiled.count(), 0);
    }
}

#[test]
fn dropped_futures_leave_their_memory_to_the_operation() {
    both(async |ring| {
        let (_directory, file) = file(64, true);
        for _ in 0..20 {
            for block in 0..32 {
                let offset_bytes = block * BLOCK_BYTES as u64;
                let buffer = Buffer::new(BLOCK_BYTES);
                begin(ring.read(&file, offset_bytes, buffer, 0..BLOCK_BYTES)).await;
            }
            Reused::new().check();
            // Every place was given back, or this would wait for ever.
            for _ in 0..2 * IN_FLIGHT_MAX {
                let (read, _) = ring.read(&file, 0, Buffer::new(PAGE_BYTES), 0..PAGE_BYTES).await;
                assert_eq!(read.unwrap(), PAGE_BYTES);
            }
        }
    });
}

#[test]
fn a_dropped_runtime_waits_for_its_reads() {
    for mode in [IoUring::Auto, IoUring::Off] {
        let (_directory, file) = file(64, true);
        for _ in 0..30 {
            let runtime = runtime();
            runtime.block_on(async {
                let ring = Rings::start(mode, &Registry::new()).unwrap().ring();
                for block in 0..64 {
                    let (ring, file) = (ring.clone(), Arc::clone(&file));
                    tokio::task::spawn_local(async move {
                        let offset_bytes = block * BLOCK_BYTES as u64;
                        let buffer = Buffer::new(BLOCK_BYTES);
                        ring.read(&file, offset_bytes, buffer, 0..BLOCK_BYTES).await.0.unwrap();
                    });
                }
                tokio::task::yield_now().await;
            });
            drop(runtime);
            Reused::new().check();
        }
    }
}

#[test]
fn a_dropped_open_leaves_no_descriptor() {
    both(async |ring| {
        let (directory, _) = file(1, false);
        let path = directory.path().join("new");
        let descriptors = || {
            #[expect(clippy::disallowed_methods, reason = "a test looks at its process")]
            let all = std::fs::read_dir("/proc/self/fd").unwrap();
            #[expect(clippy::disallowed_methods, reason = "a test looks at its process")]
            let of_file = all.filter(|entry| {
                let link = std::fs::read_link(entry.as_ref().unwrap().path());
                link.is_ok_and(|link| link == path)
            });
            of_file.count()
        };
        let flags = OFlags::RDWR | OFlags::CREATE;
        for _ in 0..50 {
            begin(ring.open(&path, flags, Mode::RUSR | Mode::WUSR)).await;
        }
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if descriptors() == 0 {
                return;
            }
        }
        panic!("{} descriptors are open", descriptors());
    });
}

/// What is in memory is read without a trip through the event loop.
#[test]
fn cached_reads_end_at_their_first_poll() {
    runtime().block_on(async {
        let ring = Rings::start(IoUring::Auto, &Registry::new()).unwrap().ring();
        if ring.shared.kernel.is_none() {
            return println!("skipped: no io_uring here");
        }
        let (_directory, file) = file(1, false);
        assert_eq!(rustix::fs::fstat(file.as_fd()).unwrap().st_size, BLOCK_BYTES as i64);
        let mut read = Box::pin(ring.read(&file, 0, Buffer::new(BLOCK_BYTES), 0..BLOCK_BYTES));
        let first = std::future::poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await;
        assert!(matches!(first, Poll::Ready((Ok(BLOCK_BYTES), _))));
    });
}

#[test]
fn an_idle_ring_refuses_and_drops() {
    runtime().block_on(async {
        let ring = Rings::idle().ring();
        let open = ring.open(Path::new("/"), OFlags::RDONLY, Mode::empty()).await;
        assert_eq!(kind(open), io::ErrorKind::Unsupported);
        assert_eq!(kind(ring.blocking(|| ()).await), io::ErrorKind::Unsupported);
        let held = Arc::new(());
        ring.dropper().drop(Arc::clone(&held));
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

/// Goal: what a dropper is given is dropped elsewhere, and here once too many jobs wait.
/// Method: all threads are held until the queue has refused.
#[test]
fn a_dropper_never_waits() {
    struct Told(std::sync::mpsc::Sender<std::thread::ThreadId>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }
    let here = std::thread::current().id();
    let (sender, dropped) = std::sync::mpsc::channel();
    runtime().block_on(async {
        let ring = Rings::start(IoUring::Off, &Registry::new()).unwrap().ring();
        let dropper = ring.dropper();
        let gate = Arc::new(std::sync::Barrier::new(THREADS_ALONE + 1));
        for _ in 0..THREADS_ALONE {
            let (ring, gate) = (ring.clone(), Arc::clone(&gate));
            tokio::task::spawn_local(async move { ring.blocking(move || gate.wait()).await });
        }
        tokio::task::yield_now().await;
        dropper.drop(Told(sender.clone()));
        assert!(dropped.try_recv().is_err(), "the threads are held");
        while dropped.try_recv().is_err() {
            dropper.drop(Told(sender.clone()));
        }
        gate.wait();
        assert_ne!(dropped.recv().unwrap(), here);
    });
}
