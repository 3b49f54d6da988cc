//! Persons in the headers of commits: `<name> <<email>> <seconds> <timezone>`.
//!
//! Always true: whatever cannot be read is left out, as Gitaly does it.
//! Never here: mailmaps.

use bstr::ByteSlice;

/// Beyond this a time is nonsense (2^53).
const SECONDS_MAX: i64 = 1 << 53;
/// What stands for a time that is nonsense: the last second that Go's clock knows, by which
/// clients of Gitaly know it.
const NONSENSE: i64 = i64::MAX - 62_135_596_800;

/// An author or a committer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Person<'a> {
    /// May be empty.
    pub name: &'a [u8],
    /// May be empty.
    pub email: &'a [u8],
    /// Seconds since 1970, if any time is there.
    pub seconds: Option<i64>,
    /// As it stands there, such as `+0100`; may be empty.
    pub timezone: &'a [u8],
}

// === impl Person ===

impl<'a> Person<'a> {
    /// Reads a header without its key.
    pub fn parse(line: &'a [u8]) -> Self {
        let (name, rest) = line.split_once_str("<").map_or((line, None), |(a, b)| (a, Some(b)));
        let mut person = Self { name: name.strip_suffix(b" ").unwrap_or(name), ..Self::default() };
        let Some((email, rest)) = rest.and_then(|rest| rest.split_once_str(">")) else {
            return person;
        };
        person.email = email;
        let mut fields = rest.fields_with(char::is_whitespace);
        let Some(seconds) = fields.next() else { return person };
        person.seconds = Some(self::seconds(seconds));
        if let (Some(timezone), None) = (fields.next(), fields.next()) {
            person.timezone = timezone;
        }
        person
    }
}

fn seconds(field: &[u8]) -> i64 {
    let value: Option<i64> = field.to_str().ok().and_then(|text| text.parse().ok());
    value.filter(|value| (0..=SECONDS_MAX).contains(value)).unwrap_or(NONSENSE)
}
