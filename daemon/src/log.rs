//! Log lines: one per event, with the field names that Gitaly's readers know.
//!
//! ```text
//!   event ──► line (on the caller's thread) ──► queue ──► standard error (the log's thread)
//! ```
//!
//! `text` is logfmt (`time="…" level=info msg="…" key=value`), `json` one object a line. Times are
//! UTC with milliseconds.
//!
//! Always true: a reader of standard error that stalls stalls nobody else.
//! Never here: what is logged; spans, which nobody would read.

mod line;
mod queue;
mod recent;
mod time;

pub use self::recent::{Noted, recent};
pub use self::time::{Timestamp, timestamp};
pub use tracing::level_filters::LevelFilter;

use self::line::Line;
use self::queue::Queue;
use arc_swap::ArcSwap;
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// `[logging]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// How a line is written.
    pub format: Format,
    /// Events below it are not written.
    pub level: LevelFilter,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// logfmt
    Text,
    /// One JSON object a line.
    Json,
}

/// What a thread keeps to write its next line in. Nearly every line is shorter.
const KEPT_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another subscriber is installed in this process already.
    #[error("logging was started twice")]
    AlreadyStarted,
    /// The thread that writes.
    #[error("start the log's thread")]
    Thread(#[from] std::io::Error),
}

/// The log of this process. Dropping it writes what still waits.
#[derive(Debug)]
pub struct Log {
    queue: Arc<Queue>,
    level: Arc<ArcSwap<LevelFilter>>,
}

/// Makes lines of events.
struct Lines {
    format: Format,
    level: Arc<ArcSwap<LevelFilter>>,
    queue: Arc<Queue>,
}

/// Writes every event of this process to standard error from now on.
pub fn start(config: LogConfig) -> Result<Log, LogError> {
    let queue = Arc::new(Queue::new(config.format));
    let writing = Arc::clone(&queue);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writing.write_to(&mut std::io::stderr()))?;
    let level = Arc::new(ArcSwap::from_pointee(config.level));
    let (format, queue_of_lines) = (config.format, Arc::clone(&queue));
    let lines = Lines { format, level: Arc::clone(&level), queue: queue_of_lines };
    tracing::subscriber::set_global_default(lines).map_err(|_| LogError::AlreadyStarted)?;
    Ok(Log { queue, level })
}

/// An error and everything that caused it, as one sentence.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

// === impl Log ===

impl Log {
    /// Events below this level are not written from now on.
    pub fn set_level(&self, level: LevelFilter) {
        self.level.store(Arc::new(level));
        // Whoever logs remembers whether anybody listens.
        tracing::callsite::rebuild_interest_cache();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.flush();
    }
}

// === impl Lines ===

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= **self.level.load()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(**self.level.load())
    }

    fn event(&self, event: &Event<'_>) {
        recent::note(event);
        // What is formatted may log in turn: then it finds no buffer here, and makes one.
        let text = TEXT.try_with(Cell::take).unwrap_or_default();
        let mut line = Line::begin(self.format, *event.metadata().level(), text);
        event.record(&mut line);
        let mut text = line.end();
        self.queue.push(&text);
        if text.capacity() <= KEPT_BYTES_MAX {
            text.clear();
            // A thread that ends needs none any more.
            let _ = TEXT.try_with(|kept| kept.set(text));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
