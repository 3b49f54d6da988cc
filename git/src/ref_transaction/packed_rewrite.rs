//! The text of a new `packed-refs` (git-pack-refs(1)).
//!
//! Always true: sorted, with the peeled value of every tag whose object is there.
//! Never here: files.

use std::collections::BTreeMap;

use bstr::{BStr, BString, ByteSlice};

use crate::ObjectId;
use crate::objects::Store;
use crate::refs::packed::{PackedRefs, Peeled};

const HEADER: &[u8] = b"# pack-refs with: peeled fully-peeled sorted \n";

/// `old` with `changes`: a new object, or none for a ref that goes.
pub(super) fn text(
    old: &PackedRefs,
    changes: &BTreeMap<BString, Option<ObjectId>>,
    objects: &Store,
) -> Vec<u8> {
    let mut text = HEADER.to_vec();
    let mut changes = changes.iter().peekable();
    for kept in old.iter() {
        while let Some((name, id)) = changes.next_if(|(name, _)| **name < *kept.name) {
            add(&mut text, name.as_bstr(), *id, objects);
        }
        if let Some((name, id)) = changes.next_if(|(name, _)| **name == *kept.name) {
            add(&mut text, name.as_bstr(), *id, objects);
            continue;
        }
        let peeled = match kept.peeled {
            Peeled::Known(peeled) => peeled,
            // As in git: one whose object is missing has no peeled value.
            Peeled::Unknown => objects.peel(&kept.target).unwrap_or(None),
        };
        line(&mut text, kept.name, &kept.target, peeled);
    }
    for (name, id) in changes {
        add(&mut text, name.as_bstr(), *id, objects);
    }
    text
}

fn add(text: &mut Vec<u8>, name: &BStr, id: Option<ObjectId>, objects: &Store) {
    if let Some(id) = id {
        line(text, name, &id, objects.peel(&id).unwrap_or(None));
    }
}

fn line(text: &mut Vec<u8>, name: &BStr, id: &ObjectId, peeled: Option<ObjectId>) {
    text.extend_from_slice(id.to_string().as_bytes());
    text.push(b' ');
    text.extend_from_slice(name);
    text.push(b'\n');
    if let Some(peeled) = peeled {
        text.push(b'^');
        text.extend_from_slice(peeled.to_string().as_bytes());
        text.push(b'\n');
    }
}
