//! The header `grpc-timeout` (gRPC over HTTP2, "Requests").

use std::time::Duration;

/// The time that a client gives a call; `None` where the value means nothing.
///
/// One to eight digits and a unit: `H`, `M`, `S`, `m` (milliseconds), `u`, `n`.
pub(super) fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_refusals() {
        fn check(value: &str, expected_ns: Option<u128>) {
            assert_eq!(parse(value.as_bytes()).map(|time| time.as_nanos()), expected_ns, "{value}");
        }
        check("1H", Some(3_600_000_000_000));
        check("2M", Some(120_000_000_000));
        check("03S", Some(3_000_000_000));
        check("99999999m", Some(99_999_999_000_000));
        check("5u", Some(5_000));
        check("0n", Some(0));
        for wrong in ["", "S", "5", "5s", "-1S", "+1S", "123456789S", "1 S", "1.5S"] {
            check(wrong, None);
        }
    }
}
