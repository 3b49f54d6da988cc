//! The `filter` argument of a fetch: which objects a partial clone leaves out
//! (git-rev-list, `--filter`).
//!
//! Always true: what [`Filter`] displays parses to the same filter, and is what git calls the
//! expanded form: no unit suffixes.
//! Never here: applying a filter.

use std::collections::BTreeMap;
use std::fmt;

use gix_object::Kind;

use super::arguments::object_id;
use crate::ObjectId;

/// Filters that one `combine:` may hold, and how deep they may nest.
const COMBINED_MAX: usize = 100;
const NESTING_MAX: usize = 8;

/// Characters that a part of `combine:` must percent-encode, as git has them.
const RESERVED: &[u8] = b"~`!@#$^&*()[]{}\\;'\",<>?";

/// A filter, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// `blob:none`
    BlobNone,
    /// `blob:limit=<bytes>`
    BlobLimit(u64),
    /// `tree:<depth>`
    TreeDepth(u64),
    /// `sparse:oid=<blob-ish>`; the name is resolved by whoever applies the filter.
    SparseOid(String),
    /// `object:type=<type>`
    ObjectType(Kind),
    /// `combine:<filter>+<filter>…`: what every part lets through.
    Combine(Vec<Filter>),
}

/// The text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No filter is spelled like this.
    #[error("invalid filter-spec '{0}'")]
    Invalid(String),
    /// `sparse:path` lets a client read any file of the server.
    #[error("sparse:path filters support has been dropped")]
    SparsePath,
    /// More parts, or parts within parts, than a filter may have.
    #[error("filter-spec combines too many filters")]
    TooMany,
}

// === impl Filter ===

impl Filter {
    /// Parses what stands behind `filter ` in a request.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Self::parse_nested(text, NESTING_MAX)
    }

    /// The `<filter>` of `uploadpackfilter.<filter>.allow`.
    pub fn config_name(&self) -> &'static str {
        match self {
            Self::BlobNone => "blob:none",
            Self::BlobLimit(_) => "blob:limit",
            Self::TreeDepth(_) => "tree",
            Self::SparseOid(_) => "sparse:oid",
            Self::ObjectType(_) => "object:type",
            Self::Combine(_) => "combine",
        }
    }

    /// This filter and all that it combines.
    pub fn parts(&self) -> Vec<&Self> {
        let mut parts = vec![self];
        if let Self::Combine(filters) = self {
            parts.extend(filters.iter().flat_map(Self::parts));
        }
        parts
    }

    /// The same filter in one of its spellings: what is combined is flat, sorted, and there once,
    /// since an object must get through every part, in whatever order.
    pub fn canonical(&self) -> Self {
        let parts = self.parts().into_iter().filter(|part| !matches!(part, Self::Combine(_)));
        let sorted: BTreeMap<String, &Self> = parts.map(|part| (part.to_string(), part)).collect();
        let mut parts: Vec<Self> = sorted.into_values().cloned().collect();
        match parts.len() {
            1 => parts.remove(0),
            _ => Self::Combine(parts),
        }
    }

    /// The blobs that `sparse:oid` parts name by their full ids.
    pub fn sparse_ids(&self) -> impl Iterator<Item = ObjectId> {
        self.parts().into_iter().filter_map(|part| match part {
            Self::SparseOid(name) => object_id(name.as_bytes()),
            Self::BlobNone
            | Self::BlobLimit(_)
            | Self::TreeDepth(_)
            | Self::ObjectType(_)
            | Self::Combine(_) => None,
        })
    }

    fn parse_nested(text: &str, depth_left: usize) -> Result<Self, FilterError> {
        let invalid = || FilterError::Invalid(text.to_owned());
        if text == "blob:none" {
            return Ok(Self::BlobNone);
        }
        if let Some(limit) = text.strip_prefix("blob:limit=") {
            return magnitude(limit).map(Self::BlobLimit).ok_or_else(invalid);
        }
        if let Some(depth) = text.strip_prefix("tree:") {
            return magnitude(depth).map(Self::TreeDepth).ok_or_else(invalid);
        }
        if let Some(name) = text.strip_prefix("sparse:oid=") {
            return Ok(Self::SparseOid(name.to_owned()));
        }
        if text.starts_with("sparse:path=") {
            return Err(FilterError::SparsePath);
        }
        if let Some(kind) = text.strip_prefix("object:type=") {
            return Kind::from_bytes(kind.as_bytes()).map(Self::ObjectType).map_err(|_| invalid());
        }
        let Some(parts) = text.strip_prefix("combine:") else { return Err(invalid()) };
        let parts: Vec<&str> = parts.split('+').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Err(invalid());
        }
        if parts.len() > COMBINED_MAX || depth_left == 0 {
            return Err(FilterError::TooMany);
        }
        let decode = |part: &&str| percent_decoded(part).ok_or_else(invalid);
        let parse = |part: &&str| Self::parse_nested(&decode(part)?, depth_left - 1);
        parts.iter().map(parse).collect::<Result<_, _>>().map(Self::Combine)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlobNone => f.write_str("blob:none"),
            Self::BlobLimit(bytes) => write!(f, "blob:limit={bytes}"),
            Self::TreeDepth(depth) => write!(f, "tree:{depth}"),
            Self::SparseOid(name) => write!(f, "sparse:oid={name}"),
            Self::ObjectType(kind) => write!(f, "object:type={kind}"),
            Self::Combine(filters) => {
                f.write_str("combine:")?;
                for (index, filter) in filters.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "+" };
                    write!(f, "{separator}{}", percent_encoded(&filter.to_string()))?;
                }
                Ok(())
            }
        }
    }
}

/// git's unsigned number with `k`, `m` or `g`; decimal only, as no client sends another base.
fn magnitude(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte <= b' ' || RESERVED.contains(&byte) {
            return None;
        }
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).ok()
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte > b' ' && byte.is_ascii() && !b"%+".contains(&byte);
        if plain && !RESERVED.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let actual = match Filter::parse(text) {
            Ok(filter) => {
                assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()));
                format!("{} {filter}", filter.config_name())
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(actual, expected);
    }

    #[test]
    fn filters_display_in_expanded_form() {
        check("blob:none", "blob:none blob:none");
        check("blob:limit=1k", "blob:limit blob:limit=1024");
        check("blob:limit=2M", "blob:limit blob:limit=2097152");
        check("tree:0", "tree tree:0");
        check("object:type=tag", "object:type object:type=tag");
        check("sparse:oid=main:a b", "sparse:oid sparse:oid=main:a b");
        check("combine:blob:none+tree:3", "combine combine:blob:none+tree:3");
        check(
            "combine:sparse:oid=x%2by+combine:tree:1%2bblob:none",
            "combine combine:sparse:oid=x%2by+combine:tree:1%2bblob:none",
        );
    }

    #[test]
    fn one_filter_has_one_canonical_form() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Filter::parse(text).unwrap().canonical().to_string(), expected);
        };
        check("blob:limit=1k", "blob:limit=1024");
        check("combine:tree:3", "tree:3");
        check("combine:tree:3+tree:3", "tree:3");
        check("combine:tree:3+blob:none", "combine:blob:none+tree:3");
        check(
            "combine:tree:3+combine:blob:limit=1k%2btree:1",
            "combine:blob:limit=1024+tree:1+tree:3",
        );
    }

    #[test]
    fn what_git_refuses_is_refused() {
        check("", "error: invalid filter-spec ''");
        check("blob:limit=", "error: invalid filter-spec 'blob:limit='");
        check("blob:limit=-1", "error: invalid filter-spec 'blob:limit=-1'");
        check(
            "blob:limit=99999999999999999999",
            "error: invalid filter-spec 'blob:limit=99999999999999999999'",
        );
        check(
            "blob:limit=18446744073709551615k",
            "error: invalid filter-spec 'blob:limit=18446744073709551615k'",
        );
        check("object:type=bolb", "error: invalid filter-spec 'object:type=bolb'");
        check("combine:", "error: invalid filter-spec 'combine:'");
        check(
            "combine:tree:1+sparse:oid=a[b",
            "error: invalid filter-spec 'combine:tree:1+sparse:oid=a[b'",
        );
        check("combine:tree%3", "error: invalid filter-spec 'combine:tree%3'");
        check("sparse:path=/etc/passwd", "error: sparse:path filters support has been dropped");
    }
}
