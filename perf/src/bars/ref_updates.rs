//! A git that changes refs while something else is measured.
//!
//! Always true: one process, one ref at a time, the next one only after git has said that the last
//! one is written; dropping the value ends it.
//!
//! Never here: what is measured meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gitring_tests::git;
use gitring_tests::random::Random;
use gitring_tests::repository::Repository;

/// Between two updates.
const PAUSE: Duration = Duration::from_millis(10);

/// `git update-ref --stdin`, fed by a thread.
#[derive(Debug)]
pub struct RefUpdates {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

// === impl RefUpdates ===

impl RefUpdates {
    /// Begins: each of `refs` gets any of `ids`, in random order.
    pub fn start(repository: &Repository, refs: &[String], ids: &[String]) -> Self {
        let mut command = git::command(&repository.path);
        command.args(["update-ref", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("git can be started");
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, counter) = (Arc::clone(&stop), Arc::clone(&count));
        let (refs, ids) = (refs.to_owned(), ids.to_owned());
        let thread = std::thread::spawn(move || {
            let mut random = Random::new(5);
            while !until.load(Ordering::SeqCst) {
                let name = &refs[random.below(refs.len())];
                let id = &ids[random.below(ids.len())];
                update(&mut child, name, id);
                counter.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(PAUSE);
            }
            drop(child.stdin.take());
            assert!(child.wait().is_ok_and(|status| status.success()), "git update-ref");
        });
        Self { stop, count, thread: Some(thread) }
    }

    /// Refs updated so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for RefUpdates {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Whatever went wrong there has said so.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// One transaction (git-update-ref, `--stdin`).
fn update(child: &mut Child, name: &str, id: &str) {
    let stdin = child.stdin.as_mut().expect("stdin is a pipe");
    write!(stdin, "start\nupdate {name} {id}\ncommit\n").expect("git reads its commands");
    let stdout = child.stdout.as_mut().expect("stdout is a pipe");
    // Nothing follows what is read here, so nothing is lost with the buffer.
    let mut answers = BufReader::new(stdout).lines();
    for expected in ["start: ok", "commit: ok"] {
        let answer = answers.next().and_then(Result::ok).unwrap_or_default();
        assert_eq!(answer, expected, "git update-ref: {name}");
    }
}
