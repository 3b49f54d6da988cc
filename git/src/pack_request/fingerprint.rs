//! A key in one line of text, part by part, for logs and for people who ask why two fetches did
//! not share a pack.
//!
//! ```text
//! v1 store=fd00:12345:17a… wants=2:3f9a01c2 haves=0 shallow=- edges=0 filter=- thin=0 ofs=1 tags=0
//! ```
//!
//! Always true: a list is its length and 4 bytes of its digest; what is displayed parses to the
//! same value. Lines that are equal mean the same pack but for one chance in four billion a list:
//! for people, never for look-ups.
//! Never here: the key itself.

use std::fmt;
use std::str::FromStr;

use super::key::{self, FORMAT};
use super::{Draft, PackRequest};
use crate::ObjectId;
use crate::upload_pack::filter::Filter;

/// Longer filters are shown by their digest: the line stays under 600 bytes.
const FILTER_BYTES_MAX: usize = 200;

/// The names of the parts behind the version, and what is said where they differ.
const NAMES: [(&str, &str); 9] = [
    ("store", "the object stores differ"),
    ("wants", "the wants differ"),
    ("haves", "the common haves that matter differ"),
    ("shallow", "the shallow boundaries differ"),
    ("edges", "the unshallowed commits differ"),
    ("filter", "the filters differ"),
    ("thin", "the use of thin-pack differs"),
    ("ofs", "the use of ofs-delta differs"),
    ("tags", "the tags that may go along differ"),
];

/// The parts of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    version: String,
    /// In the order of [`NAMES`].
    values: [String; NAMES.len()],
}

/// The text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// It does not begin with `v` and a number.
    #[error("a fingerprint begins with its version, such as v{FORMAT}")]
    Version,
    /// A part is missing, or in another's place.
    #[error("the part '{0}=' is missing")]
    Missing(&'static str),
    /// Something follows the last part.
    #[error("more than a fingerprint")]
    Longer,
}

// === impl Parts ===

impl Parts {
    pub(super) fn of(draft: &Draft) -> Self {
        let digit = |on: bool| u8::from(on).to_string();
        let tags = key::tags_bytes(&draft.open_tags);
        Self {
            version: format!("v{FORMAT}"),
            values: [
                draft.store.id.to_string(),
                list(&draft.wants),
                list(&draft.haves),
                draft.shallow.as_ref().map_or_else(|| "-".to_owned(), |ids| list(ids)),
                list(&draft.edges),
                draft.filter.as_ref().map_or_else(|| "-".to_owned(), filter),
                digit(draft.thin),
                digit(draft.ofs_delta),
                counted(draft.open_tags.len(), &tags),
            ],
        }
    }

    /// The first part in which two keys differ, in words; `None` where they are the same.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        if self.version != other.version {
            return Some(format!(
                "the formats differ: {} and {}, from different versions of this program",
                self.version, other.version
            ));
        }
        let pairs = self.values.iter().zip(&other.values);
        let ((_, what), (one, two)) = NAMES.iter().zip(pairs).find(|(_, (one, two))| one != two)?;
        Some(format!("{what}: {} and {}", spoken(one), spoken(two)))
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)?;
        let mut parts = NAMES.iter().zip(&self.values);
        parts.try_for_each(|((name, _), value)| write!(f, " {name}={value}"))
    }
}

impl FromStr for Parts {
    type Err = PartsError;

    fn from_str(line: &str) -> Result<Self, PartsError> {
        let mut words = line.split_ascii_whitespace();
        let version = words.next().filter(|word| {
            word.strip_prefix('v').is_some_and(|number| number.parse::<u8>().is_ok())
        });
        let version = version.ok_or(PartsError::Version)?.to_owned();
        let mut values: [String; NAMES.len()] = Default::default();
        for (value, (name, _)) in values.iter_mut().zip(NAMES) {
            let word = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
            *value = word.ok_or(PartsError::Missing(name))?.to_owned();
        }
        if words.next().is_some() {
            return Err(PartsError::Longer);
        }
        Ok(Self { version, values })
    }
}

/// The first thing in which two requests differ, down to the object; `None` where they are for
/// the same pack.
pub fn first_difference(one: &PackRequest, two: &PackRequest) -> Option<String> {
    let (one, two) = (one.draft(), two.draft());
    let part = Parts::of(one).first_difference(&Parts::of(two))?;
    if one.store.id != two.store.id {
        return Some(part);
    }
    let (tags_one, tags_two) = (tag_ids(one), tag_ids(two));
    let none: &[ObjectId] = &[];
    let lists = [
        (&one.wants[..], &two.wants[..]),
        (&one.haves, &two.haves),
        (one.shallow.as_deref().unwrap_or(none), two.shallow.as_deref().unwrap_or(none)),
        (&one.edges, &two.edges),
        (&tags_one, &tags_two),
    ];
    let differing = lists.into_iter().find(|(one, two)| one != two);
    Some(match differing.and_then(|(one, two)| lone(one, two)) {
        Some((id, which)) => format!("{part}; {id} is in the {which} only"),
        None => part,
    })
}

/// The first object that is in one of two sorted lists.
fn lone(one: &[ObjectId], two: &[ObjectId]) -> Option<(ObjectId, &'static str)> {
    let at = one.iter().zip(two).position(|(one, two)| one != two);
    let at = at.unwrap_or(one.len().min(two.len()));
    match (one.get(at), two.get(at)) {
        (None, None) => None,
        (Some(id), None) => Some((*id, "first")),
        (Some(id), Some(other)) if id < other => Some((*id, "first")),
        (_, Some(id)) => Some((*id, "second")),
    }
}

fn tag_ids(draft: &Draft) -> Vec<ObjectId> {
    draft.open_tags.iter().map(|tag| tag.id).collect()
}

fn filter(filter: &Filter) -> String {
    let text = filter.to_string();
    if text.len() <= FILTER_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text;
    }
    counted(text.len(), text.as_bytes())
}

fn list(ids: &[ObjectId]) -> String {
    counted(ids.len(), &key::ids_bytes(ids))
}

fn counted(length: usize, bytes: &[u8]) -> String {
    if length == 0 {
        return "0".to_owned();
    }
    let digest = blake3::hash(bytes);
    format!("{length}:{}", &digest.to_hex()[..8])
}

fn spoken(value: &str) -> &str {
    match value {
        "-" | "0" => "none",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "v1 store=fd00:7:1a wants=2:3f9a01c2 haves=0 shallow=- edges=0 filter=- thin=0 ofs=1 tags=0";

    #[test]
    fn lines_are_parsed_or_refused() {
        let check = |line: &str, expected: Result<&str, PartsError>| {
            let parsed = line.parse::<Parts>().map(|parts| parts.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{line}");
        };
        check(LINE, Ok(LINE));
        check(&format!("  {LINE}\n"), Ok(LINE));
        check("", Err(PartsError::Version));
        check("vx store=1", Err(PartsError::Version));
        check("v1 wants=0", Err(PartsError::Missing("store")));
        check(LINE.trim_end_matches(" tags=0"), Err(PartsError::Missing("tags")));
        check(&format!("{LINE} more=1"), Err(PartsError::Longer));
    }

    #[test]
    fn the_first_difference_is_named_in_words() {
        let check = |from: &str, to: &str, expected: Option<&str>| {
            let [one, two] = [LINE, &LINE.replace(from, to)].map(|line| line.parse().unwrap());
            assert_eq!(Parts::first_difference(&one, &two).as_deref(), expected);
        };
        check("", "", None);
        check(
            "v1",
            "v2",
            Some("the formats differ: v1 and v2, from different versions of this program"),
        );
        check(
            "haves=0",
            "haves=1:00112233",
            Some("the common haves that matter differ: none and 1:00112233"),
        );
        check("filter=-", "filter=tree:1", Some("the filters differ: none and tree:1"));
        check("thin=0", "thin=1", Some("the use of thin-pack differs: none and 1"));
    }
}
