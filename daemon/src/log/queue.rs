//! Lines on their way to standard error.
//!
//! Always true:
//! - lines stand one after the other as they came, and are written whole: they never mix;
//! - at most `QUEUE_BYTES_MAX` wait, and as many are being written; further lines are lost, and
//!   their number logged;
//! - whoever has a line waits for no system call but, at most once a batch, a wake-up.

use super::Format;
use super::line::Line;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::Level;

/// Lines that wait to be written: some thousands.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// A busy node's lines are put out in batches: a thread that is woken for each of them, and a
/// write each, cost as much as a small request.
const GATHER: Duration = Duration::from_millis(5);
/// Memory that is kept for the next batch.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// How long the end of the process waits for a reader of standard error.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Between those who log and the thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    format: Format,
    state: Mutex<State>,
    /// The first line of a batch has come.
    filled: Condvar,
    /// A batch was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: String,
    lost: u64,
    /// The thread waits for a line, and must be woken.
    is_asleep: bool,
    is_writing: bool,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(format: Format) -> Self {
        let (filled, written) = (Condvar::new(), Condvar::new());
        Self { format, state: Mutex::default(), filled, written }
    }

    /// Takes a line, or counts it as lost.
    pub(super) fn push(&self, line: &str) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > QUEUE_BYTES_MAX {
            state.lost += 1;
            return;
        }
        state.lines.push_str(line);
        if std::mem::take(&mut state.is_asleep) {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Writes lines as they come, for as long as the process lives.
    pub(super) fn write_to(&self, out: &mut impl Write) {
        let mut batch = String::new();
        loop {
            let lost = self.take(&mut batch);
            // Nobody is left to be told if standard error is gone.
            if lost > 0 {
                let _ = out.write_all(self.lost(lost).as_bytes());
            }
            let _ = out.write_all(batch.as_bytes());
            batch.clear();
            batch.shrink_to(KEPT_BYTES_MAX);
            self.lock().is_writing = false;
            self.written.notify_all();
            std::thread::sleep(GATHER);
        }
    }

    /// Returns once nothing waits, or standard error is read too slowly.
    pub(super) fn flush(&self) {
        let waits = |state: &mut State| !state.lines.is_empty() || state.is_writing;
        let _ = self.written.wait_timeout_while(self.lock(), FLUSH_MAX, waits);
    }

    /// Waits for lines; returns how many were lost before them.
    fn take(&self, batch: &mut String) -> u64 {
        let mut state = self.lock();
        while state.lines.is_empty() {
            state.is_asleep = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_asleep = false;
        state.is_writing = true;
        std::mem::swap(&mut state.lines, batch);
        std::mem::take(&mut state.lost)
    }

    fn lost(&self, lines: u64) -> String {
        let mut line = Line::begin(self.format, Level::WARN, String::new());
        line.put("msg", "log lines were lost: standard error is read too slowly");
        line.put_bare("lines", lines);
        line.end()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Arc, Barrier};

    /// Takes a write when it is let, and hands it on.
    struct Reader {
        lets: Receiver<()>,
        took: SyncSender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.lets.recv();
            let _ = self.took.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Arc<Queue>, SyncSender<()>, Receiver<String>) {
        let queue = Arc::new(Queue::new(Format::Text));
        let ((let_go, lets), (took, taken)) = (sync_channel(16), sync_channel(16));
        let writing = Arc::clone(&queue);
        std::thread::spawn(move || writing.write_to(&mut Reader { lets, took }));
        (queue, let_go, taken)
    }

    #[test]
    fn lines_of_all_threads_come_whole_in_few_writes() {
        let (queue, let_go, taken) = start();
        queue.push("first\n");
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let (queue, barrier) = (&queue, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for at in 0..100 {
                        queue.push(&format!("{name} {at}\n"));
                    }
                });
            }
        });
        let mut written = String::new();
        let mut writes = 0;
        while written.lines().count() < 401 {
            let_go.send(()).unwrap();
            written.push_str(&taken.recv().unwrap());
            writes += 1;
        }
        queue.flush();
        assert!(writes <= 2, "{writes}");
        assert!(written.starts_with("first\n"));
        for name in ["a", "b", "c", "d"] {
            let of_one: Vec<_> = written.lines().filter(|line| line.starts_with(name)).collect();
            let expected: Vec<_> = (0..100).map(|at| format!("{name} {at}")).collect();
            assert_eq!(of_one, expected);
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_is_told_how_many() {
        let (queue, let_go, taken) = start();
        queue.push("first\n");
        while !queue.lock().is_writing {
            std::thread::yield_now();
        }
        let line = "x".repeat((1 << 20) - 1) + "\n";
        for _ in 0..20 {
            queue.push(&line);
        }
        for _ in 0..3 {
            let_go.send(()).unwrap();
        }
        assert_eq!(taken.recv().unwrap(), "first\n");
        let told = taken.recv().unwrap();
        assert!(told.contains("level=warning pid="), "{told}");
        assert!(told.ends_with(" is read too slowly\" lines=12\n"), "{told}");
        assert_eq!(taken.recv().unwrap(), line.repeat(8));
    }
}
