//! An annotated tag as people are shown it: who, when, the message.
//!
//! Always true: every text is taken as a tag, as Gitaly takes it; what is missing or makes no sense
//! is left empty. Names and addresses come through the mailmap.
//! Never here: following tags to what they point at (`objects`), checking signatures.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bstr::ByteSlice;

use crate::ObjectId;
use crate::commit::{Person, Signature};
use crate::mailmap;
use crate::objects::{Kind, StoreError};
use crate::repository::Snapshot;
use crate::revision::Resolved;

/// What a tag says; borrowed from the content of the object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details<'a> {
    /// Whoever made the tag.
    pub tagger: Option<Person<'a>>,
    /// The whole message, with a signature at its end if there is one.
    pub message: &'a [u8],
    /// Of the signature in the message.
    pub signature: Signature,
}

/// The content of the tag `id`, its tagger renamed as the repository's mailmap says.
///
/// # Errors
/// A store that cannot be read.
pub fn find(snapshot: &Snapshot, id: &ObjectId) -> Result<Resolved<Vec<u8>>, StoreError> {
    let Some(object) = snapshot.store.read(id)?.filter(|object| object.kind == Kind::Tag) else {
        return Ok(Resolved::Missing);
    };
    Ok(match mailmap::of(snapshot)? {
        Resolved::Found(mailmap) => match mailmap.rename(&object.data) {
            Cow::Owned(renamed) => Resolved::Found(renamed),
            Cow::Borrowed(_) => Resolved::Found(object.data),
        },
        Resolved::Missing => Resolved::Found(object.data),
        Resolved::Unsupported => Resolved::Unsupported,
    })
}

// === impl Details ===

impl<'a> Details<'a> {
    /// Reads the content of a tag.
    pub fn parse(data: &'a [u8]) -> Self {
        let mut details = Self::default();
        let mut rest = data;
        while let Some((line, after)) = rest.split_once_str("\n") {
            if line.is_empty() {
                details.message = after;
                details.signature = signature(after);
                break;
            }
            if let Some(person) = line.strip_prefix(b"tagger ") {
                details.tagger = Some(Person::parse(person));
            }
            rest = after;
        }
        // The last line may lack its end.
        if let Some(person) = rest.strip_prefix(b"tagger ").filter(|_| !rest.contains(&b'\n')) {
            details.tagger = Some(Person::parse(person));
        }
        details
    }
}

/// How a message is signed: by what begins behind its text.
fn signature(message: &[u8]) -> Signature {
    match message.find("-----BEGIN") {
        None | Some(0) => Signature::None,
        Some(at) => {
            let signature = &message[at..];
            let line = signature.split_once_str("\n").map_or(&b""[..], |(line, _)| line);
            Signature::of_first_line(line)
        }
    }
}
