//! From when until when a certificate holds: of X.509 (RFC 5280, 4.1) no more than leads there.
//!
//! Always true: any bytes have dates or none; nothing is read outside of them.
//! Never here: signatures, names, trust.

/// Seconds since 1970, first and last; `None` where the dates cannot be found.
pub(super) fn of(certificate: &[u8]) -> Option<(i64, i64)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, signed, _) = element(certificate)?;
    let mut rest = signed;
    if let (VERSION, _, behind) = element(rest)? {
        rest = behind;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (from_kind, from, rest) = element(validity)?;
    let (until_kind, until, _) = element(rest)?;
    Some((seconds(from_kind, from)?, seconds(until_kind, until)?))
}

/// Tag, content and what lies behind of a DER element (X.690, 8.1); tags of one byte only.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = bytes else { return None };
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDhhmmssZ` (tag 23, years 1950 to 2049) or `YYYYMMDDhhmmssZ` (tag 24).
fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let (century, digits) = match (tag, digits.len()) {
        (23, 12) if digits[0] >= b'5' => (1900, digits),
        (23, 12) => (2000, digits),
        (24, 14) => (i64::from(number(&digits[..2])?) * 100, &digits[2..]),
        _ => return None,
    };
    let mut pairs = digits.chunks(2).map(|pair| number(pair).map(i64::from));
    let mut next = || pairs.next().flatten();
    let (year, month, day) = (century + next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    (1..=12).contains(&month).then_some(())?;
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// From 1970-01-01, in the Gregorian calendar: years begin in March, so that leap days end them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_date_has_them() {
        let check = |tag, text: &str, expected| {
            assert_eq!(seconds(tag, text.as_bytes()), expected, "{text}");
        };
        // `date -ud … +%s`
        check(23, "700101000000Z", Some(0));
        check(23, "491231235959Z", Some(2_524_607_999));
        check(23, "500101000000Z", Some(-631_152_000));
        check(24, "20240229120000Z", Some(1_709_208_000));
        check(24, "99991231235959Z", Some(253_402_300_799));
        check(23, "701301000000Z", None);
        check(23, "70010100000Z", None);
        check(24, "2024022912000\u{e9}Z", None);
    }

    #[test]
    fn damaged_certificates_have_no_dates_and_do_no_harm() {
        let good = include_bytes!("tests/good.der");
        assert!(of(good).is_some());
        for cut in 0..200 {
            assert_eq!(of(&good[..cut]), None);
        }
        for at in 0..200 {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = good.to_vec();
                damaged[at] = value;
                let _ = of(&damaged);
            }
        }
    }
}
