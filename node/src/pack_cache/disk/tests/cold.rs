//! What files that are on disk alone cost others.

use super::*;

/// How long a task that wants to run every millisecond had to wait at the worst.
async fn watch_latency(worst: Rc<RefCell<Duration>>) {
    loop {
        let due = Instant::now() + Duration::from_millis(1);
        tokio::time::sleep_until(due.into()).await;
        let late = due.elapsed();
        worst.replace_with(|worst| late.max(*worst));
    }
}

/// Page faults of this thread that waited for a disk; proc(5), `majflt` of stat.
fn major_faults() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test looks at its thread")]
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit(')').next().unwrap().split(' ').nth(10).unwrap().parse().unwrap()
}

/// Reads all of a file in windows and touches every page, while another task wants to run: how
/// long it took, how late the other was at the worst, the longest touching of a window.
async fn walk(disk: &CacheDisk, file: &Arc<File>, file_bytes: usize) -> [Duration; 3] {
    const WINDOW_BYTES: usize = 256 << 10;
    let worst = Rc::new(RefCell::new(Duration::ZERO));
    let watching = tokio::task::spawn_local(watch_latency(Rc::clone(&worst)));
    let (started, mut touching) = (Instant::now(), Duration::ZERO);
    for at in (0..file_bytes as u64).step_by(WINDOW_BYTES) {
        let bytes = disk.read(file, at, WINDOW_BYTES).await.unwrap();
        let touched = Instant::now();
        for page in (0..bytes.len()).step_by(4096) {
            assert_eq!(bytes[page], byte(at + page as u64));
        }
        touching = touching.max(touched.elapsed());
        tokio::task::yield_now().await;
    }
    watching.abort();
    let worst = *worst.borrow();
    [started.elapsed(), worst, touching]
}

/// The MiBs of a file whose first page is not in memory.
fn cold_steps(file: &Arc<File>, file_bytes: usize) -> usize {
    let is_cold = |&at: &u64| {
        let part = file.part(at..at + MIB as u64, file_bytes as u64).unwrap();
        part.first_absent() == Some(at)
    };
    (0..file_bytes as u64).step_by(MIB).filter(is_cold).count()
}

/// Goal: a file that is on disk alone holds up nobody else on the reactor, neither while it is
/// brought into memory nor when what was read is touched.
/// Method: what is cold goes through the ring. How much that is can be told where the kernel does
/// not read ahead on its own.
#[test]
fn cold_files_do_not_block_the_reactor() {
    for mode in [IoUring::Auto, IoUring::Off] {
        let (directory, registry) = (tempfile::tempdir().unwrap(), Registry::new());
        runtime().block_on(async {
            let disk = CacheDisk::new(Rings::start(mode, &registry).unwrap().ring());
            let (path, file_bytes) = (directory.path().join("cold"), 128 * MIB);
            let written = write_pattern(&disk, &path, file_bytes).await;
            for (warmth, is_cool, is_read_ahead) in
                [("cold", true, true), ("cold, step by step", true, false), ("warm", false, true)]
            {
                let (file, _) = disk.open(&path).await.unwrap();
                if is_cool {
                    cool(&written);
                }
                if !is_read_ahead {
                    let advice = rustix::fs::Advice::Random;
                    rustix::fs::fadvise(&**file.descriptor(), 0, None, advice).unwrap();
                }
                let cold = cold_steps(&file, file_bytes);
                let (faults, before) = (major_faults(), reads(&registry));
                let [took, worst, touching] = walk(&disk, &file, file_bytes).await;
                let (faults, reads) = (major_faults() - faults, reads(&registry) - before);
                let speed = 128.0 / took.as_secs_f64();
                println!(
                    "{mode:?}, {warmth}: {speed:.0} MiB/s, {reads} reads for {cold} cold MiB, \
                     others at most {worst:?} late, touching {touching:?} at most, {faults} faults \
                     waited for the disk"
                );
                if is_cool && cold == 0 {
                    println!("skipped: files do not leave memory here");
                }
                let expected = if is_read_ahead { cold.min(1) } else { cold };
                assert!(reads >= expected, "{reads} reads for {cold} MiB");
                // Without reading ahead of the touch there are thousands; a few come back from what
                // the kernel took away in between.
                assert!(faults < 100, "{faults}");
                // How late depends on the machine: 0.1 s were seen where all others compute.
                assert!(worst < Duration::from_secs(1));
            }
        });
    }
}
