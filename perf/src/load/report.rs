//! What a run of the load program says at its end.
//!
//! Always true: both forms hold the same numbers, and the seed.
//!
//! Never here: judgements.

use std::fmt::Write;
use std::time::Duration;

use super::Outcome;
use super::figures::Figures;

/// Columns of the table.
const HEAD: &str = "kind                        count    rate/s      p50      p90      p99      max \
                    first p50/p99        bytes";

/// A table for people; times in milliseconds.
pub fn text(outcome: &Outcome) -> String {
    let seconds = outcome.elapsed.as_secs_f64();
    let mut text = format!("seed {}, {seconds:.2} s; times in ms\n{HEAD}\n", outcome.seed);
    for (name, figures) in &outcome.rows {
        let rate = figures.count as f64 / seconds;
        let (times, first) = (&figures.times, &figures.first_bytes);
        let ms = |share| milliseconds(times.quantile(share));
        text.push_str(&format!(
            "{name:<24} {:>8} {rate:>9.1} {:>8} {:>8} {:>8} {:>8} {:>13} {:>12}\n",
            figures.count,
            ms(0.5),
            ms(0.9),
            ms(0.99),
            milliseconds(times.longest()),
            format!("{}/{}", milliseconds(first.quantile(0.5)), milliseconds(first.quantile(0.99))),
            figures.bytes,
        ));
        text.push_str(&complaints(figures));
    }
    text
}

/// One JSON object; times in milliseconds.
pub fn json(outcome: &Outcome) -> String {
    let rows: Vec<String> = outcome.rows.iter().map(|(name, figures)| row(name, figures)).collect();
    let rows = rows.join(",");
    let seconds = outcome.elapsed.as_secs_f64();
    format!("{{\"seed\":{},\"seconds\":{seconds:.3},\"rows\":[{rows}]}}", outcome.seed)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}

fn complaints(figures: &Figures) -> String {
    let mut text = String::new();
    if figures.empty > 0 {
        text.push_str(&format!("  {} answers were empty\n", figures.empty));
    }
    for failures in figures.errors.values() {
        let (count, code) = (failures.count, failures.code);
        text.push_str(&format!("  {count} failed: {code:?}: {}\n", failures.message));
    }
    text
}

fn row(name: &str, figures: &Figures) -> String {
    let (times, first) = (&figures.times, &figures.first_bytes);
    let mut text = format!("{{\"kind\":\"{name}\",\"count\":{}", figures.count);
    text.push_str(&format!(",\"empty\":{},\"bytes\":{}", figures.empty, figures.bytes));
    for (key, histogram) in [("times_ms", times), ("first_byte_ms", first)] {
        let quantile = |share| milliseconds(histogram.quantile(share));
        let (p50, p90, p99) = (quantile(0.5), quantile(0.9), quantile(0.99));
        let longest = milliseconds(histogram.longest());
        text.push_str(&format!(
            ",\"{key}\":{{\"p50\":{p50},\"p90\":{p90},\"p99\":{p99},\"max\":{longest}}}"
        ));
    }
    let failures = figures.errors.values().map(|failures| {
        let message = quoted(&failures.message);
        let code = failures.code;
        format!("{{\"code\":\"{code:?}\",\"count\":{},\"message\":{message}}}", failures.count)
    });
    text.push_str(&format!(",\"errors\":[{}]}}", failures.collect::<Vec<_>>().join(",")));
    text
}

/// A string of JSON (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if u32::from(control) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
