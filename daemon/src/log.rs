//! Log lines: one per event, with the field names that Gitaly's readers know.
//!
//! `text` is logfmt (`time="…" level=info msg="…" key=value`), `json` one object a line. Times are
//! UTC with milliseconds.
//!
//! Always true:
//! - one thread writes, so lines never mix, and a reader of standard error that stalls stalls
//!   nobody else;
//! - at most `QUEUE_LINES_MAX` lines wait for it; further ones are lost, and their number logged.
//!
//! Never here: what is logged.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub use tracing_subscriber::filter::LevelFilter;

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

/// A busy node's lines are put out in batches: a thread that is woken for each of them costs as
/// much as a small request.
const GATHER: Duration = Duration::from_millis(5);
/// Lines that wait to be written: about 4 MiB.
const QUEUE_LINES_MAX: usize = 8192;
/// How long the end of the process waits for a reader of standard error.
const FLUSH_MAX: Duration = Duration::from_secs(2);

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
    queue: SyncSender<Message>,
}

enum Message {
    Line(String),
    /// Answered when everything before it was written.
    Flush(SyncSender<()>),
}

/// Writes every event of this process to standard error from now on.
pub fn start(config: LogConfig) -> Result<Log, LogError> {
    let (queue, messages) = sync_channel(QUEUE_LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let lines = Lines { format: config.format, queue: queue.clone(), lost: Arc::clone(&lost) };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(&messages, &lost, config.format))?;
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(config.level));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
    Ok(Log { queue })
}

fn write(messages: &Receiver<Message>, lost: &AtomicU64, format: Format) {
    let mut stderr = std::io::stderr();
    // Nobody is left to be told if standard error is gone.
    while let Ok(message) = messages.recv() {
        put_out(&mut stderr, message, lost, format);
        while let Ok(message) = messages.try_recv() {
            put_out(&mut stderr, message, lost, format);
        }
        std::thread::sleep(GATHER);
    }
}

fn put_out(stderr: &mut std::io::Stderr, message: Message, lost: &AtomicU64, format: Format) {
    let lost = lost.swap(0, Ordering::Relaxed);
    if lost > 0 {
        let mut line = Line::begin(format, Level::WARN);
        line.put("msg", "log lines were lost: standard error is read too slowly");
        line.put_bare("lines", lost);
        let _ = stderr.write_all(line.end().as_bytes());
    }
    match message {
        Message::Line(line) => drop(stderr.write_all(line.as_bytes())),
        Message::Flush(done) => drop(done.send(())),
    }
}

/// A time as it stands in a line: `2026-11-21T09:40:48.123Z`.
pub fn timestamp(at: SystemTime) -> String {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since_epoch.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a number of days after 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + 719_468; // from 0000-03-01 to 1970-01-01
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

struct Lines {
    format: Format,
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// The line that is being written.
struct Line {
    format: Format,
    text: String,
}

// === impl Log ===

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        // A full queue means that nobody reads: then there is nothing to wait for.
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_MAX);
        }
    }
}

// === impl Lines ===

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::begin(self.format, *event.metadata().level());
        event.record(&mut line);
        if self.queue.try_send(Message::Line(line.end())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

// === impl Line ===

impl Line {
    fn begin(format: Format, severity: Level) -> Self {
        let mut line = Self { format, text: String::with_capacity(512) };
        line.put("time", &timestamp(SystemTime::now()));
        line.put("level", level(severity));
        line
    }

    fn put(&mut self, key: &str, value: &str) {
        self.key(key);
        match self.format {
            Format::Json => quote(&mut self.text, value),
            Format::Text if value.bytes().all(is_plain) && !value.is_empty() => {
                self.text.push_str(value);
            }
            Format::Text => quote(&mut self.text, value),
        }
    }

    /// A number, `true` or `false`: written alike in both formats.
    fn put_bare(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        write!(self.text, "{value}").expect("a String takes every write");
    }

    fn key(&mut self, key: &str) {
        let key = if key == "message" { "msg" } else { key };
        match self.format {
            Format::Json => {
                self.text.push(if self.text.is_empty() { '{' } else { ',' });
                quote(&mut self.text, key);
                self.text.push(':');
            }
            Format::Text => {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text.push_str(key);
                self.text.push('=');
            }
        }
    }

    fn end(mut self) -> String {
        self.text.push_str(match self.format {
            Format::Json => "}\n",
            Format::Text => "\n",
        });
        self.text
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field.name(), &chain(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_bare(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_bare(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_bare(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no words for infinity and NaN.
        if value.is_finite() {
            self.put_bare(field.name(), value);
        }
    }
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

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._/@^+:".contains(&byte)
}

/// Writes a JSON string (RFC 8259 §7); logfmt readers take the same escapes.
fn quote(out: &mut String, value: &str) {
    out.push('"');
    let is_plain = |byte: u8| byte >= 0x20 && byte != 0x7f && byte != b'"' && byte != b'\\';
    // Nearly every value.
    if value.bytes().all(is_plain) {
        out.push_str(value);
        out.push('"');
        return;
    }
    for char in value.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
