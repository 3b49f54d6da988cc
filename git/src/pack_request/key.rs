//! The key of a pack: the canonical bytes of its request, hashed.
//!
//! ```text
//! "gitring pack" ‖ field ‖ field ‖ …      field: tag, 1 byte ‖ length, 8 bytes LE ‖ content
//! ```
//!
//! Always true: each field stands once, in the order of its tag, with its length, so that two
//! requests have the same bytes only if they are equal in everything that decides about the pack;
//! a change of meaning raises [`FORMAT`].
//! Never here: protocol, transport, framing, progress, agent; paths and names of refs.

use std::fmt;

use super::fingerprint::Parts;
use super::{Draft, Tag};
use crate::ObjectId;

/// Raised whenever the same bytes would mean another pack.
pub const FORMAT: u8 = 1;

const PREFIX: &[u8] = b"gitring pack";
const HASH: &[u8] = b"sha1";

/// What requests for the same pack have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackKey {
    digest: [u8; 32],
    parts: Parts,
}

/// The fields in the order of their tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Field {
    Format = 1,
    Hash,
    Store,
    Wants,
    Haves,
    Shallow,
    Edges,
    Filter,
    Thin,
    OfsDelta,
    OpenTags,
}

// === impl PackKey ===

impl PackKey {
    pub(super) fn of(draft: &Draft) -> Self {
        let digest = *blake3::hash(&canonical(draft)).as_bytes();
        Self { digest, parts: Parts::of(draft) }
    }

    /// BLAKE3 of the canonical bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// A line about what the key was made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }
}

impl fmt::Display for PackKey {
    /// The digest in 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The canonical bytes of a canonical draft.
pub(super) fn canonical(draft: &Draft) -> Vec<u8> {
    let ids = draft.wants.len() + draft.haves.len() + draft.edges.len();
    let mut bytes = Vec::with_capacity(ids * 20 + draft.open_tags.len() * 40 + 256);
    bytes.extend_from_slice(PREFIX);
    let mut put = |field: Field, content: &[u8]| {
        bytes.push(field as u8);
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(content);
    };
    let id = draft.store.id;
    put(Field::Format, &[FORMAT]);
    put(Field::Hash, HASH);
    put(Field::Store, &[id.device, id.inode, id.born_nanos].map(u64::to_le_bytes).concat());
    put(Field::Wants, &ids_bytes(&draft.wants));
    put(Field::Haves, &ids_bytes(&draft.haves));
    let shallow = draft.shallow.as_ref().map(|ids| ids_bytes(ids));
    put(Field::Shallow, &optional(shallow.as_deref()));
    put(Field::Edges, &ids_bytes(&draft.edges));
    let filter = draft.filter.as_ref().map(ToString::to_string);
    put(Field::Filter, &optional(filter.as_deref().map(str::as_bytes)));
    put(Field::Thin, &[u8::from(draft.thin)]);
    put(Field::OfsDelta, &[u8::from(draft.ofs_delta)]);
    put(Field::OpenTags, &tags_bytes(&draft.open_tags));
    bytes
}

pub(super) fn ids_bytes(ids: &[ObjectId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ids.len() * 20);
    ids.iter().for_each(|id| bytes.extend_from_slice(id.as_slice()));
    bytes
}

/// Tags and their targets, 40 bytes each.
pub(crate) fn tags_bytes(tags: &[Tag]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tags.len() * 40);
    for tag in tags {
        bytes.extend_from_slice(tag.id.as_slice());
        bytes.extend_from_slice(tag.peeled.as_slice());
    }
    bytes
}

/// Nothing, or one byte and what there is: an empty list is not the same as none.
fn optional(content: Option<&[u8]>) -> Vec<u8> {
    content.map_or_else(Vec::new, |content| [&[1], content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack_request::PackRequest;
    use crate::upload_pack::filter::Filter;

    /// A cache on disk outlives the program: if this fails, raise [`FORMAT`].
    #[test]
    fn the_format_stays_as_it_is() {
        let id = |digit: u8| ObjectId::from_hex(&[b'0' + digit; 40]).unwrap();
        let request = PackRequest::new(Draft {
            wants: vec![id(2), id(1), id(2)],
            haves: vec![id(3)],
            edges: vec![id(4)],
            shallow: Some(vec![id(5)]),
            filter: Some(Filter::Combine(vec![Filter::TreeDepth(3), Filter::BlobNone])),
            thin: true,
            ofs_delta: true,
            open_tags: vec![Tag { id: id(2), peeled: id(7) }, Tag { id: id(6), peeled: id(7) }],
            ..Draft::default()
        });
        let key = request.key().unwrap();
        assert_eq!(
            key.to_string(),
            "93eda0f8d6fca19e4fc79869913864c4a16de28d802dc24200d7433a7b1150f5"
        );
        let expected = "v1 store=0:0:0 wants=2:c6fc2dd5 haves=1:e16679b8 shallow=1:f51f60f5 \
                        edges=1:8b7c31c3 filter=combine:blob:none+tree:3 thin=1 ofs=1 \
                        tags=1:7fe54c08";
        assert_eq!(key.parts().to_string(), expected);
    }

    #[test]
    fn an_empty_list_is_not_the_same_as_none() {
        let with = |shallow| canonical(&Draft { shallow, ..Draft::default() });
        assert_ne!(with(None), with(Some(Vec::new())));
    }
}
