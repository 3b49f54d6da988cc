//! A status as lines of text.
//!
//! Always true: no line is longer than the terminal is wide; characters that would steer a terminal
//! are replaced.

use gitring_daemon::status::Value as Figure;
use gitring_daemon::status::words::{plain, uptime, words};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Sections that are shown, in this order; others, of later versions, follow them.
const ORDER: &[&str] = &["builds", "queues", "limits", "top_minute", "top_hour", "errors"];
/// Shown in the line at the top, or of little use here.
const LEFT_OUT: &[&str] = &["overview", "pack_cache", "reactors", "process"];
/// Rows of one table.
const ROWS_MAX: usize = 10;
/// Of one cell; what is longer is cut in the middle, so that both ends of a path show.
const CELL_CHARS_MAX: usize = 48;
/// Between columns.
const GAP: &str = "  ";

/// Everything, each line with its end.
pub(super) fn picture(status: &Value, columns: usize) -> String {
    let mut lines = vec![head(status), String::new()];
    let nothing = Map::new();
    let sections = status["sections"].as_object().unwrap_or(&nothing);
    lines.extend(overview(&sections.get("overview").cloned().unwrap_or_default(), columns));
    let known = ORDER.iter().filter_map(|key| sections.get_key_value(*key));
    let is_new =
        |key: &&String| !ORDER.contains(&key.as_str()) && !LEFT_OUT.contains(&key.as_str());
    let new = sections.iter().filter(|(key, _)| is_new(key));
    for (key, section) in known.chain(new) {
        lines.push(String::new());
        lines.push(format!("{}:", plain(&key.replace('_', " "))));
        lines.extend(rows(section));
    }
    let mut out = String::new();
    for line in lines {
        let cut: String = line.chars().take(columns).collect();
        writeln!(out, "{}", cut.trim_end()).expect("a String takes every write");
    }
    out
}

fn head(status: &Value) -> String {
    let text = |key: &str| plain(status[key].as_str().unwrap_or("?"));
    let up = uptime(status["uptime_seconds"].as_u64().unwrap_or(0));
    format!("{} {}  up {up}  {}", text("service"), text("version"), text("time"))
}

/// Figures one after the other, as many a line as fit.
fn overview(figures: &Value, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (key, value) in figures.as_object().into_iter().flatten() {
        let label = label(key);
        let figure = format!("{label} {}", words(&figure(key, value)));
        let line = lines.last_mut().expect("there is one from the start");
        let is_first = line.is_empty();
        if !is_first && line.chars().count() + figure.chars().count() + 5 > columns {
            lines.push(figure);
        } else {
            let separator = if is_first { "" } else { "  |  " };
            write!(line, "{separator}{figure}").expect("a String takes every write");
        }
    }
    lines
}

/// The key without its unit, which the value shows.
fn label(key: &str) -> String {
    let key = ["_cpu_seconds", "_seconds", "_bytes"]
        .iter()
        .find_map(|unit| key.strip_suffix(unit))
        .unwrap_or(key);
    plain(&key.replace('_', " "))
}

/// Figures one a line, tables in columns.
fn rows(section: &Value) -> Vec<String> {
    let Some(table) = section.as_array() else {
        let figures = section.as_object().into_iter().flatten();
        let line = |(key, value): (&String, &Value)| {
            format!("{GAP}{} {}", label(key), words(&figure(key, value)))
        };
        return figures.map(line).collect();
    };
    let Some(first) = table.first().and_then(Value::as_object) else {
        return vec![format!("{GAP}none")];
    };
    let keys: Vec<&String> = ordered(first);
    let mut cells: Vec<Vec<String>> = vec![keys.iter().map(|key| label(key)).collect()];
    for row in table.iter().take(ROWS_MAX) {
        let cell = |key: &&String| cut(&words(&figure(key, &row[key.as_str()])));
        cells.push(keys.iter().map(cell).collect());
    }
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..keys.len()).map(width).collect();
    let is_text = |at: usize| table.iter().any(|row| row[keys[at].as_str()].is_string());
    let sides: Vec<bool> = (0..keys.len()).map(is_text).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let (width, is_left) = (widths[at], sides[at]);
            let padded =
                if is_left { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            write!(line, "{GAP}{padded}").expect("a String takes every write");
        }
        line
    };
    cells.iter().map(line).collect()
}

/// Names first: JSON objects come sorted by their keys.
fn ordered(row: &Map<String, Value>) -> Vec<&String> {
    let rank = |key: &str| match key {
        "repository" | "of" | "ago_seconds" | "limit" => 0,
        "cost_cpu_seconds" | "clients" | "busy" | "level" => 1,
        "message" => 2,
        "key" | "share" | "state" | "correlation_id" => 9,
        _ => 5,
    };
    let mut keys: Vec<&String> = row.keys().collect();
    keys.sort_by_key(|key| rank(key));
    keys
}

/// A value with the unit that its key names.
fn figure(key: &str, value: &Value) -> Figure {
    let is_bytes = key == "bytes" || key.ends_with("_bytes");
    if let (Some(used), Some(max)) = (value["used"].as_u64(), value["max"].as_u64()) {
        return Figure::Fill { used, max, is_bytes };
    }
    match value {
        Value::String(text) => Figure::Text(plain(text)),
        Value::Number(number) if key.ends_with("seconds") => {
            Figure::Seconds(number.as_f64().unwrap_or(0.0))
        }
        Value::Number(number) if key.ends_with("ratio") || key == "share" => {
            Figure::Ratio(number.as_f64().unwrap_or(0.0))
        }
        Value::Number(number) if is_bytes => Figure::Bytes(number.as_u64().unwrap_or(0)),
        Value::Number(number) => Figure::Count(number.as_u64().unwrap_or(0)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Figure::Unknown,
    }
}

fn cut(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    let half = (CELL_CHARS_MAX - 1) / 2;
    let (begin, end) = (&chars[..half], &chars[chars.len() - half..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_drawn_and_steers_nothing() {
        let hostile = format!("default: \u{1b}[2J\u{202e}{}.git", "x".repeat(60));
        let status = json!({
            "service": "gitring-node", "version": "1", "time": "now", "uptime_seconds": 61,
            "sections": {
                "overview": { "hit_ratio": 0.5, "children": { "used": 1, "max": 128 } },
                "builds": [],
                "top_minute": [
                    { "repository": hostile, "cost_cpu_seconds": 1.5, "bytes": 2048, "share": 1.0 },
                    { "repository": "default: b", "cost_cpu_seconds": 0.01, "bytes": 0, "share": null },
                ],
                "of_tomorrow": { "some_bytes": 1024 },
            },
        });
        let picture = picture(&status, 100);
        let x = |count| "x".repeat(count);
        let expected = format!(
            "gitring-node 1  up 1 min 1 s  now\n\nchildren 1 of 128  |  hit ratio 50.0 %\n\n\
             builds:\n  none\n\n\
             top minute:\n  \
             repository                                        cost    bytes    share\n  \
             default: \u{fffd}[2J\u{fffd}{}…{}.git  1.5 s  2.0 KiB  100.0 %\n  \
             default: b                                       10 ms      0 B        –\n\n\
             of tomorrow:\n  some 1.0 KiB\n",
            x(9),
            x(19),
        );
        assert_eq!(picture, expected, "{picture}");
        let narrow = super::picture(&status, 20);
        assert!(narrow.lines().all(|line| line.chars().count() <= 20), "{narrow}");
    }
}
