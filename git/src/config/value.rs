//! Values: git's booleans and integers (git-config(1), Values).
//!
//! Always true: pure; what git's own parser refuses is `None`.
//! Never here: which key has which type.

/// A boolean: absent is true, empty is false, then the words in any case, then any integer of
/// 32 bits, of which only 0 is false.
pub(super) fn boolean(value: Option<&[u8]>) -> Option<bool> {
    let Some(value) = value else { return Some(true) };
    let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
    if is(&["true", "yes", "on"]) {
        return Some(true);
    }
    if is(&["", "false", "no", "off"]) {
        return Some(false);
    }
    let number = integer(value)?;
    i32::try_from(number).ok().map(|number| number != 0)
}

/// An integer as C's `strtoimax` reads it with base 0, and one unit letter.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    // isspace of C: strtoimax skips vertical tab and form feed as well.
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = value.iter().position(|byte| !blank(byte))?;
    let (negative, digits) = match value.get(start..)? {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, rest)
        }
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let mut number: i128 = 0;
    let mut length = 0;
    while let Some(digit) = digits.get(length).and_then(|byte| (*byte as char).to_digit(radix)) {
        number = number.saturating_mul(i128::from(radix)).saturating_add(i128::from(digit));
        length += 1;
    }
    if length == 0 {
        return None;
    }
    let factor = match digits.get(length..)? {
        [] => 1,
        [b'k' | b'K'] => 1 << 10,
        [b'm' | b'M'] => 1 << 20,
        [b'g' | b'G'] => 1 << 30,
        _ => return None,
    };
    // The smallest number of 64 bits is refused, as in git, which compares magnitudes.
    let number = i64::try_from(number.saturating_mul(factor)).ok()?;
    Some(if negative { -number } else { number })
}
