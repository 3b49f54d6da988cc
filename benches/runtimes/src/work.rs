//! The work that is timed.
//!
//! Always true: every candidate reads the same offsets of a file of the same length.

use gitring_runtimes::candidate::{Candidate, READ_BYTES};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What the figures are, in their order.
pub const NAMES: [&str; 7] = [
    "warm 64 KiB reads, 1 at a time, µs each",
    "the same, CPU µs",
    "cold 64 KiB reads, 16 at a time, MiB/s",
    "the same, CPU s/GiB",
    "64 KiB writes, 1 at a time, µs each",
    "the same, CPU µs",
    "4 KiB write + fsync, µs",
];

const FILE_BYTES: u64 = 256 << 20;
const READS: u64 = FILE_BYTES / READ_BYTES as u64;
const SYNCS: u64 = 200;
static DATA: [u8; READ_BYTES] = [7; READ_BYTES];

/// Prints the figures of one candidate.
pub fn print<C: Candidate>() {
    let mut file = tempfile::tempfile().expect("a file");
    for _ in 0..READS {
        file.write_all(&DATA).expect("write");
    }
    file.sync_all().expect("fsync");
    let again = || file.try_clone().expect("a descriptor");
    let (warm, warm_cpu) = reads::<C>(again(), 1);
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("fadvise");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).expect("fadvise");
    let (cold, cold_cpu) = reads::<C>(again(), 16);
    let (write, write_cpu) = timed::<C, _>(again(), |file| async move {
        for at in offsets() {
            C::write(&file, at, &DATA).await;
        }
    });
    let (sync, _) = timed::<C, _>(tempfile::tempfile().expect("a file"), |file| async move {
        for at in 0..SYNCS {
            C::write(&file, at * 4096, &DATA[..4096]).await;
            C::sync(&file).await;
        }
    });
    let each = |time: Duration, count: u64| time.as_secs_f64() * 1e6 / count as f64;
    let gib = FILE_BYTES as f64 / f64::from(1 << 30);
    println!(
        "{} {} {} {} {} {} {}",
        each(warm, READS),
        each(warm_cpu, READS),
        gib * 1024.0 / cold.as_secs_f64(),
        cold_cpu.as_secs_f64() / gib,
        each(write, READS),
        each(write_cpu, READS),
        each(sync, SYNCS),
    );
}

/// Every block of the file once, in an order without neighbours.
fn offsets() -> impl Iterator<Item = u64> {
    (0..READS).map(|read| read * 2_654_435_761 % READS * READ_BYTES as u64)
}

fn reads<C: Candidate>(file: File, depth: usize) -> (Duration, Duration) {
    timed::<C, _>(file, move |file| async move {
        let offsets = Rc::new(RefCell::new(offsets()));
        let mut tasks = Vec::new();
        let left = Rc::new(Cell::new(depth));
        for _ in 1..depth {
            let (file, offsets, left) = (file.clone(), Rc::clone(&offsets), Rc::clone(&left));
            tasks.push(Box::pin(C::spawn(async move {
                read_all::<C>(&file, &offsets).await;
                left.set(left.get() - 1);
            })));
        }
        // A task begins when it is polled first, in some of the runtimes.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for task in &mut tasks {
            let _ = task.as_mut().poll(&mut context);
        }
        read_all::<C>(&file, &offsets).await;
        for task in tasks {
            task.await;
        }
        assert_eq!(left.get(), 1);
    })
}

async fn read_all<C: Candidate>(file: &C::File, offsets: &RefCell<impl Iterator<Item = u64>>) {
    let mut buffer = C::buffer();
    loop {
        let Some(at) = offsets.borrow_mut().next() else { return };
        buffer = C::read(file, at, buffer).await;
    }
}

/// Time and CPU time of `work`, start of the runtime not included.
fn timed<C: Candidate, F: Future<Output = ()> + 'static>(
    file: File,
    work: impl FnOnce(C::File) -> F + 'static,
) -> (Duration, Duration) {
    let took = Rc::new(Cell::new((Duration::ZERO, Duration::ZERO)));
    let result = Rc::clone(&took);
    C::run(async move {
        let file = C::file(file);
        let (started, cpu) = (Instant::now(), cpu());
        work(file).await;
        took.set((started.elapsed(), self::cpu() - cpu));
    });
    result.get()
}

/// CPU time of the process, the kernel's threads for its rings included.
fn cpu() -> Duration {
    // SAFETY: rusage is a C struct of integers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live local of the type that getrusage writes.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let of = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}
