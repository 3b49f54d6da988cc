//! Drops runtimes under their reads and looks whether memory that was freed is written to.
//!
//! Always true: the process ends with 0 where nothing was spoiled, with [`SPOILED`] where something
//! was; it may die before it knows.

use gitring_runtimes::candidate::{Aligned, Candidate, READ_BYTES};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// The exit code of a process that found foreign bytes in its memory.
pub const SPOILED: i32 = 3;

const ROUNDS: usize = 60;
const READS: u64 = 64;
/// Turns after which every runtime has polled all tasks.
const TURNS: usize = 8;

/// The test of one candidate.
pub fn run<C: Candidate>() {
    // Freed memory stays the allocator's: what was given back to the system cannot be spoiled, and
    // would hide that it was written to.
    // SAFETY: no other thread runs yet.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX) };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(&vec![7; READS as usize * READ_BYTES]).expect("write");
    file.sync_all().expect("fsync");
    let warm = std::fs::File::open(&path).expect("the file");
    let mut spoiled = 0;
    for _ in 0..ROUNDS {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_DIRECT).open(&path).expect("O_DIRECT");
        let warm = warm.try_clone().expect("a descriptor");
        C::run(async move {
            let (file, warm) = (C::file(file), C::file(warm));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let mut tasks = Vec::new();
            for read in 0..READS {
                let file = file.clone();
                tasks.push(Box::pin(C::spawn(async move {
                    let at = read * READ_BYTES as u64;
                    C::read(&file, at, C::buffer()).await;
                })));
            }
            for task in &mut tasks {
                let _ = task.as_mut().poll(&mut context);
            }
            for _ in 0..TURNS {
                turn().await;
            }
            // What is in memory is read at once; with it the others are submitted.
            C::read(&warm, 0, C::buffer()).await;
        });
        // Zeroes, which the file does not hold.
        let blocks: Vec<Aligned> =
            std::iter::repeat_with(Aligned::default).take(READS as usize).collect();
        std::thread::sleep(Duration::from_millis(10));
        spoiled += blocks.iter().filter(|block| block.iter().any(|&byte| byte != 0)).count();
    }
    drop(directory);
    if spoiled > 0 {
        std::process::exit(SPOILED);
    }
}

/// Lets the runtime do something else.
async fn turn() {
    let mut turned = false;
    std::future::poll_fn(|context| {
        if turned {
            return std::task::Poll::Ready(());
        }
        turned = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
