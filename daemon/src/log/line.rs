//! One line, as it is written.
//!
//! Always true: whatever a value holds, a line is one line, and its fields are what they say.

use super::{Format, chain, timestamp};
use std::fmt::{self, Write as _};
use std::sync::LazyLock;
use std::time::SystemTime;
use tracing::Level;
use tracing::field::{Field, Visit};

/// Asked once: it would be a system call a line.
static PID: LazyLock<u32> = LazyLock::new(std::process::id);

/// The line that is being written.
pub(super) struct Line {
    format: Format,
    text: String,
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
    /// `text` is empty; its memory is used.
    pub(super) fn begin(format: Format, severity: Level, text: String) -> Self {
        let mut line = Self { format, text };
        line.put("time", &timestamp(SystemTime::now()));
        line.put("level", level(severity));
        line.put_bare("pid", *PID);
        line
    }

    pub(super) fn put(&mut self, key: &str, value: &str) {
        self.key(key);
        match self.format {
            Format::Text if !value.is_empty() && all(value, is_bare) => self.text.push_str(value),
            Format::Json | Format::Text => quote(&mut self.text, value),
        }
    }

    /// A number, `true` or `false`: written alike in both formats.
    pub(super) fn put_bare(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        write!(self.text, "{value}").expect("a String takes every write");
    }

    pub(super) fn end(mut self) -> String {
        self.text.push_str(match self.format {
            Format::Json => "}\n",
            Format::Text => "\n",
        });
        self.text
    }

    /// What is formatted goes into the line at once; it is quoted there if it has to be.
    fn put_formatted(&mut self, key: &str, value: &dyn fmt::Debug) {
        self.key(key);
        let start = self.text.len();
        write!(self.text, "{value:?}").expect("a String takes every write");
        let value = &self.text[start..];
        if self.format == Format::Text && !value.is_empty() && all(value, is_bare) {
            return;
        }
        if all(value, is_literal) {
            self.text.insert(start, '"');
            self.text.push('"');
        } else {
            let value = self.text.split_off(start);
            quote(&mut self.text, &value);
        }
    }

    /// Keys are names in the source: nothing in them needs quoting.
    fn key(&mut self, key: &str) {
        let key = if key == "message" { "msg" } else { key };
        match self.format {
            Format::Json => {
                self.text.push_str(if self.text.is_empty() { "{\"" } else { ",\"" });
                self.text.push_str(key);
                self.text.push_str("\":");
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
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_formatted(field.name(), value);
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

/// Looks at every byte, whatever it has found, so that it takes many at once.
fn all(value: &str, is_right: impl Fn(u8) -> bool) -> bool {
    value.bytes().fold(true, |so_far, byte| so_far & is_right(byte))
}

/// Needs no quotes in logfmt.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        | matches!(byte, b'-' | b'.' | b'_' | b'/' | b'@' | b'^' | b'+' | b':')
}

/// Stands for itself in a JSON string (RFC 8259 §7).
fn is_literal(byte: u8) -> bool {
    (byte >= 0x20) & (byte != 0x7f) & (byte != b'"') & (byte != b'\\')
}

/// Writes a JSON string; logfmt readers take the same escapes.
fn quote(out: &mut String, value: &str) {
    out.push('"');
    // Nearly every value.
    if all(value, is_literal) {
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
mod tests {
    use super::*;

    fn check_line(format: Format, expected: &str) {
        let mut line = Line { format, text: String::new() };
        line.put("message", "two\nlines \"quoted\"");
        line.put("grpc.request.repoPath", "@hashed/a b.git");
        line.put("plain", "a/b-c.git");
        line.put("empty", "");
        line.put("control", "\u{1b}[31m");
        line.put_bare("http.status", 200_u64);
        for (key, value) in [("f.bare", "127.0.0.1:9"), ("f.none", ""), ("f.two", "a b")] {
            line.put_formatted(key, &format_args!("{value}"));
        }
        line.put_formatted("f.wild", &format_args!("\"\n"));
        assert_eq!(line.end(), expected);
    }

    #[test]
    fn a_value_never_breaks_out_of_its_line() {
        check_line(
            Format::Text,
            "msg=\"two\\nlines \\\"quoted\\\"\" grpc.request.repoPath=\"@hashed/a b.git\" \
             plain=a/b-c.git empty=\"\" control=\"\\u001b[31m\" http.status=200 \
             f.bare=127.0.0.1:9 f.none=\"\" f.two=\"a b\" f.wild=\"\\\"\\n\"\n",
        );
        check_line(
            Format::Json,
            "{\"msg\":\"two\\nlines \\\"quoted\\\"\",\"grpc.request.repoPath\":\
             \"@hashed/a b.git\",\"plain\":\"a/b-c.git\",\"empty\":\"\",\
             \"control\":\"\\u001b[31m\",\"http.status\":200,\"f.bare\":\"127.0.0.1:9\",\
             \"f.none\":\"\",\"f.two\":\"a b\",\"f.wild\":\"\\\"\\n\"}\n",
        );
    }
}
