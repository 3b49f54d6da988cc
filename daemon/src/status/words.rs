//! Values as people read them: on the page, and in a terminal.
//!
//! Never here: escaping for a document.

use super::Value;

/// A value as people read it.
pub fn words(value: &Value) -> String {
    match value {
        Value::Unknown => "–".to_owned(),
        Value::Text(text) | Value::State(text, _) => text.clone(),
        Value::Count(number) => grouped(*number),
        Value::Bytes(bytes) => scaled_bytes(*bytes),
        Value::Seconds(seconds) => scaled_seconds(*seconds),
        Value::Ratio(share) => format!("{:.1} %", share * 100.0),
        Value::Fill { used, max, is_bytes: false } => {
            format!("{} of {}", grouped(*used), grouped(*max))
        }
        Value::Fill { used, max, is_bytes: true } => {
            format!("{} of {}", scaled_bytes(*used), scaled_bytes(*max))
        }
    }
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn scaled_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = if amount < 100.0 { 1 } else { 0 };
    format!("{amount:.digits$} {}", UNITS[unit])
}

fn scaled_seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// `3 d 4 h`, `4 h 12 min`, `12 min 7 s`
pub fn uptime(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {rest} s"),
        (0, _) => format!("{hours} h {minutes} min"),
        (_, _) => format!("{days} d {hours} h"),
    }
}

/// Text without what would steer a terminal, or turn around what is read.
pub fn plain(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// The character, or a replacement for controls and marks of direction (Unicode Standard Annex 9).
pub(super) fn shown(char: char) -> char {
    let is_hidden = char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}');
    if is_hidden { '\u{fffd}' } else { char }
}
