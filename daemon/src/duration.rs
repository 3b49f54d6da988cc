//! Durations as Go writes them: a sequence of decimal numbers with units, such as `1m30s`.
//!
//! Source: `time.ParseDuration` of Go. Negative durations are refused: no setting has a use for
//! one.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is no duration, allowed: numbers with a unit (h, m, s, ms, us, ns) as in 1m30s")]
pub struct BadDuration {
    text: String,
}

/// Reads a duration. `0` needs no unit.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    sum(text).ok_or_else(|| BadDuration { text: text.to_owned() })
}

fn sum(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        total = total.checked_add(part(number, nanos_per(unit)?)?)?;
        rest = tail;
    }
    Some(total)
}

fn part(number: &str, unit_nanos: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(unit_nanos)?;
    let mut place = unit_nanos;
    for digit in fraction.bytes() {
        place /= 10;
        nanos =
            nanos.checked_add(place * u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?))?;
    }
    Some(Duration::from_nanos(nanos))
}

fn nanos_per(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected_millis: Option<u64>) {
        assert_eq!(sum(text), expected_millis.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn reads_what_go_reads_except_negative_ones() {
        check("1m", Some(60_000));
        check("1m30s", Some(90_000));
        check("1.5h", Some(5_400_000));
        check(".5s", Some(500));
        check("1.s", Some(1_000));
        check("100ms2s", Some(2_100));
        check("+3s", Some(3_000));
        check("0", Some(0));
        check("", None);
        check("+", None);
        check("10", None);
        check(".s", None);
        check("1..5s", None);
        check("-1s", None);
        check("1 s", None);
        check("1d", None);
        check("1m30", None);
        check("99999999999999999999s", None);
        check("9999999h", None);
    }
}
