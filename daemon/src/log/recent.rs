//! The last warnings and errors, for people who look at the node rather than at its log.
//!
//! Always true:
//! - at most `RECENT_MAX` are kept, each cut to a few hundred bytes; the same one again is counted,
//!   not kept twice;
//! - of fields only those in `SHOWN` are kept: who a user is and where they sit stays in the log;
//! - what stands between `://` and `@` of a URL is left out.
//!
//! Never here: levels below a warning.

use super::chain;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Kept: as many as a person reads.
const RECENT_MAX: usize = 50;
/// Of one message or field.
const TEXT_BYTES_MAX: usize = 240;
/// Fields that say what happened, and to what.
const SHOWN: &[&str] = &[
    "error",
    "reason",
    "cause",
    "grpc.code",
    "grpc.method",
    "grpc.request.repoPath",
    "http.operation",
    "correlation_id",
];

/// Those of this process: it has one log.
static RECENT: Recent = Recent { kept: Mutex::new(Vec::new()) };

/// A warning or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// When it was logged last.
    pub at: SystemTime,
    /// An error, not a warning.
    pub is_error: bool,
    /// The message.
    pub message: String,
    /// What else was said, as `key=value`.
    pub details: String,
    /// What joins it with other lines; of the last one.
    pub correlation_id: String,
    /// How often it was logged since it is kept.
    pub times: u64,
}

struct Recent {
    /// The newest is the last.
    kept: Mutex<Vec<Noted>>,
}

/// Reads an event's fields.
#[derive(Default)]
struct Reading {
    message: String,
    details: String,
    correlation_id: String,
}

/// The last warnings and errors of this process, the newest first.
pub fn recent() -> Vec<Noted> {
    RECENT.lock().iter().rev().cloned().collect()
}

/// Keeps an event if it is a warning or an error.
pub(super) fn note(event: &Event<'_>) {
    if *event.metadata().level() > Level::WARN {
        return;
    }
    let mut reading = Reading::default();
    event.record(&mut reading);
    let Reading { message, details, correlation_id } = reading;
    RECENT.keep(Noted {
        at: SystemTime::now(),
        is_error: *event.metadata().level() == Level::ERROR,
        message,
        details,
        correlation_id,
        times: 1,
    });
}

// === impl Recent ===

impl Recent {
    fn keep(&self, mut noted: Noted) {
        let mut kept = self.lock();
        let is_same = |old: &Noted| old.message == noted.message && old.details == noted.details;
        if let Some(at) = kept.iter().position(is_same) {
            noted.times += kept.remove(at).times;
        } else if kept.len() >= RECENT_MAX {
            kept.remove(0);
        }
        kept.push(noted);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Noted>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reading ===

impl Reading {
    fn put(&mut self, key: &str, value: &str) {
        let mut value = without_credentials(value);
        if value.len() > TEXT_BYTES_MAX {
            value.truncate(value.floor_char_boundary(TEXT_BYTES_MAX));
            value.push('…');
        }
        match key {
            "message" => self.message = value,
            "correlation_id" => self.correlation_id = value,
            key if SHOWN.contains(&key) => {
                let separator = if self.details.is_empty() { "" } else { " " };
                write!(self.details, "{separator}{key}={value}").expect("a String takes it");
            }
            _ => {}
        }
    }
}

impl Visit for Reading {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" || SHOWN.contains(&field.name()) {
            self.put(field.name(), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field.name(), &chain(value));
    }
}

/// The text, with names and passwords in its URLs left out (RFC 3986 §3.2.1).
fn without_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let end = behind.find(|char: char| matches!(char, '/' | '?' | '#') || char.is_whitespace());
        let authority = &behind[..end.unwrap_or(behind.len())];
        let host = authority.rfind('@').map_or(0, |at| at + 1);
        if host > 0 {
            out.push_str("…@");
        }
        rest = &behind[host..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(message: &str) -> Noted {
        let message = message.to_owned();
        let (details, correlation_id) = (String::new(), String::new());
        let at = SystemTime::UNIX_EPOCH;
        Noted { at, is_error: true, message, details, correlation_id, times: 1 }
    }

    #[test]
    fn the_last_ones_are_kept_and_repetitions_counted() {
        let recent = Recent { kept: Mutex::default() };
        for at in 0..2 * RECENT_MAX {
            recent.keep(noted(&format!("error {at}")));
            recent.keep(noted("again"));
        }
        let kept = recent.lock();
        assert_eq!(kept.len(), RECENT_MAX);
        assert_eq!((kept[RECENT_MAX - 1].message.as_str(), kept[0].times), ("again", 1));
        assert_eq!(kept[RECENT_MAX - 1].times, 2 * RECENT_MAX as u64);
    }

    #[test]
    fn credentials_are_left_out() {
        fn check(text: &str, expected: &str) {
            assert_eq!(without_credentials(text), expected);
        }
        check("no url at all", "no url at all");
        check("fetch https://oauth2:glpat-x@host/a.git: 403", "fetch https://…@host/a.git: 403");
        check("a://u@h b://p:q@r@s/c@d", "a://…@h b://…@s/c@d");
        check("https://host/a@b", "https://host/a@b");
        check("://", "://");
    }

    #[test]
    fn only_some_fields_are_shown() {
        let mut reading = Reading::default();
        for (key, value) in [
            ("message", "finished unary call"),
            ("username", "jane"),
            ("remote_ip", "192.0.2.1"),
            ("error", &"x".repeat(1_000)),
            ("grpc.code", "Internal"),
            ("correlation_id", "17"),
        ] {
            reading.put(key, value);
        }
        assert_eq!(reading.message, "finished unary call");
        let error = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(reading.details, format!("error={error}… grpc.code=Internal"));
        assert_eq!(reading.correlation_id, "17");
    }
}
