//! Dates by which refs are sorted.
//!
//! Always true: what git reads as no date is zero.
//! Never here: time zones; git sorts by seconds alone.

use bstr::ByteSlice;

use super::ListError;
use crate::objects::{Kind, Store};
use crate::refs::Ref;

/// Whose date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOf {
    /// A commit's author.
    Author,
    /// A commit's committer.
    Committer,
    /// A commit's committer or a tag's tagger.
    Creator,
}

// === impl DateOf ===

impl DateOf {
    /// The date of the object of a ref.
    pub(super) fn read(self, store: &Store, one: &Ref) -> Result<u64, ListError> {
        let missing = || ListError::MissingObject { id: one.target, name: one.name.clone() };
        let key = match (self, store.kind(&one.target)?.ok_or_else(missing)?) {
            (Self::Author, Kind::Commit) => b"author ",
            (Self::Committer | Self::Creator, Kind::Commit) => &b"committer "[..],
            (Self::Creator, Kind::Tag) => b"tagger ",
            (Self::Author | Self::Committer, Kind::Tag) | (_, Kind::Tree | Kind::Blob) => {
                return Ok(0);
            }
        };
        let object = store.read(&one.target)?.ok_or_else(missing)?;
        Ok(date(&object.data, key).unwrap_or(0))
    }
}

/// The seconds in the header `key`.
pub(super) fn date(data: &[u8], key: &[u8]) -> Option<u64> {
    let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
    let person = header(text, key)?;
    // As git reads it: in what follows, not only in this line.
    let at = person.find(b"> ")?;
    let (is_negative, seconds, rest) = leading_integer(&person[at + 2..])?;
    // A zone beyond all numbers spoils the date.
    leading_integer(rest).filter(|(_, zone, _)| i64::try_from(*zone).is_ok())?;
    let seconds = if is_negative { seconds.wrapping_neg() } else { seconds };
    (seconds != u64::MAX).then_some(seconds)
}

/// What stands behind `key` in the headers, and all that follows.
fn header<'a>(mut text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    while !text.is_empty() {
        if let Some(found) = text.strip_prefix(key) {
            return Some(found);
        }
        let end = text.find_byte(b'\n')?;
        text = &text[end + 1..];
        if text.starts_with(b"\n") {
            return None;
        }
    }
    None
}

/// C's `strtoumax`, with the sign by itself: space, sign and digits; zero without digits, none if
/// it is too large.
fn leading_integer(text: &[u8]) -> Option<(bool, u64, &[u8])> {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let trimmed = &text[text.iter().take_while(is_space).count()..];
    let (is_negative, digits) = match trimmed.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, trimmed),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = digits[..length].iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    Some((is_negative, value, &digits[length..]))
}
