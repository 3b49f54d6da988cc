//! Mailmaps: names and addresses by which people want to be known (gitmailmap(5)).
//!
//! Always true: bytes are compared without regard to the case of ASCII letters; the last line
//! about somebody counts.
//! Never here: mailmaps from elsewhere than `HEAD:.mailmap`; those are left to git.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use bstr::ByteSlice;

use crate::objects::{Kind, StoreError};
use crate::repository::Snapshot;
use crate::revision::{Resolved, Revision, Target};

/// A larger mailmap is left to git: each snapshot keeps its own.
const BYTES_MAX: usize = 256 << 10;

/// A mailmap.
#[derive(Debug, Default)]
pub struct Mailmap {
    /// By address, in lower case.
    entries: HashMap<Vec<u8>, Entry>,
}

/// What is known of an address.
#[derive(Debug, Default)]
struct Entry {
    any: Identity,
    /// By name, in lower case.
    by_name: HashMap<Vec<u8>, Identity>,
}

/// What takes the place of a name and an address.
#[derive(Debug, Default)]
struct Identity {
    name: Option<Vec<u8>>,
    email: Option<Vec<u8>>,
}

/// A mailmap that was looked for.
#[derive(Debug)]
pub(crate) enum Loaded {
    None,
    Map(Mailmap),
    Unsupported,
}

/// The mailmap that git heeds in a bare repository.
///
/// # Errors
/// A store that cannot be read.
pub fn of(snapshot: &Snapshot) -> Result<Resolved<&Mailmap>, StoreError> {
    let loaded = match snapshot.mailmap.get() {
        Some(loaded) => loaded,
        None => {
            let loaded = load(snapshot)?;
            snapshot.mailmap.get_or_init(|| loaded)
        }
    };
    Ok(match loaded {
        Loaded::None => Resolved::Missing,
        Loaded::Map(mailmap) => Resolved::Found(mailmap),
        Loaded::Unsupported => Resolved::Unsupported,
    })
}

fn load(snapshot: &Snapshot) -> Result<Loaded, StoreError> {
    let config = &snapshot.config;
    let is_elsewhere =
        config.entries().any(|(key, _)| key == "mailmap.file" || key == "mailmap.blob");
    if is_elsewhere || config.boolean("core.bare") != Ok(Some(true)) {
        return Ok(Loaded::Unsupported);
    }
    let tree = match Revision::parse("HEAD".into()).resolve_to(snapshot, Target::Tree)? {
        Resolved::Found(tree) => tree,
        Resolved::Missing => return Ok(Loaded::None),
        Resolved::Unsupported => return Ok(Loaded::Unsupported),
    };
    let Some(tree) = snapshot.store.read(&tree)? else { return Ok(Loaded::None) };
    let mut entries = gix_object::TreeRefIter::from_bytes(&tree.data, gix_hash::Kind::Sha1);
    let Some(entry) = entries.find_map(|e| e.ok().filter(|entry| entry.filename == ".mailmap"))
    else {
        return Ok(Loaded::None);
    };
    let id = entry.oid.to_owned();
    match snapshot.store.header(&id)? {
        Some(header) if header.kind == Kind::Blob && header.size_bytes > BYTES_MAX as u64 => {
            return Ok(Loaded::Unsupported);
        }
        Some(header) if header.kind == Kind::Blob => {}
        // git complains and does without.
        Some(_) | None => return Ok(Loaded::None),
    }
    let blob = snapshot.store.read(&id)?;
    Ok(blob.map_or(Loaded::None, |blob| Loaded::Map(Mailmap::parse(&blob.data))))
}

// === impl Mailmap ===

impl Mailmap {
    /// Reads a mailmap. Lines that make no sense are passed over.
    pub fn parse(text: &[u8]) -> Self {
        let mut mailmap = Self::default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")) {
            mailmap.add(line);
        }
        mailmap
    }

    /// `[<name>] <<email>> [[<old name>] <<old email>>]`
    fn add(&mut self, line: &[u8]) {
        let Some((name, email, rest)) = name_and_email(line) else { return };
        if email.is_empty() {
            return;
        }
        let (new_email, old_name, old_email) = match name_and_email(rest) {
            Some((old_name, old_email, _)) => (Some(email), old_name, old_email),
            None => (None, &b""[..], email),
        };
        let entry = self.entries.entry(old_email.to_ascii_lowercase()).or_default();
        let name = (!name.is_empty()).then(|| name.to_vec());
        let email = new_email.map(<[u8]>::to_vec);
        if old_name.is_empty() {
            entry.any.name = name.or(entry.any.name.take());
            entry.any.email = email.or(entry.any.email.take());
        } else {
            entry.by_name.insert(old_name.to_ascii_lowercase(), Identity { name, email });
        }
    }

    fn find(&self, name: &[u8], email: &[u8]) -> Option<&Identity> {
        let entry = self.entries.get(&email.to_ascii_lowercase())?;
        let named = match entry.by_name.is_empty() {
            true => None,
            false => entry.by_name.get(&name.to_ascii_lowercase()),
        };
        let identity = named.unwrap_or(&entry.any);
        (identity.name.is_some() || identity.email.is_some()).then_some(identity)
    }

    /// The content of a commit or a tag with its persons renamed (`git cat-file --use-mailmap`
    /// since git 2.51; older ones pass over committers where the author stays).
    pub fn rename<'a>(&self, data: &'a [u8]) -> Cow<'a, [u8]> {
        let (mut at, mut copied) = (0, 0);
        let mut out = Vec::new();
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            if matches!(line[0], b'\n' | 0) {
                break;
            }
            if let Some((from, to, identity)) = self.in_header(line) {
                out.extend_from_slice(&data[copied..at + from]);
                out.extend_from_slice(&identity);
                copied = at + to;
            }
            at += line.len();
        }
        if copied == 0 {
            return Cow::Borrowed(data);
        }
        out.extend_from_slice(&data[copied..]);
        Cow::Owned(out)
    }

    /// What stands in the place of which bytes of a header.
    fn in_header(&self, line: &[u8]) -> Option<(usize, usize, Vec<u8>)> {
        let keys = [&b"author "[..], b"committer ", b"tagger "];
        let start = keys.into_iter().find(|key| line.starts_with(key))?.len();
        let person = &line[start..];
        let left = person.find_byte(b'<')?;
        let email = person[left + 1..].split(|byte| *byte == b'>').next()?;
        let right = left + 1 + email.len();
        if right >= person.trim_end_with(|c| c == '\n').len() {
            return None;
        }
        let name = person[..left].trim_end_with(is_space);
        let found = self.find(name, email)?;
        let mut identity = found.name.as_deref().unwrap_or(name).to_vec();
        identity.extend_from_slice(b" <");
        identity.extend_from_slice(found.email.as_deref().unwrap_or(email));
        identity.push(b'>');
        Some((start, start + right + 1, identity))
    }
}

/// A name, which may be empty, the address behind it, and the rest of the line.
fn name_and_email(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = text.split_once_str("<")?;
    let (email, rest) = rest.split_once_str(">")?;
    Some((name.trim_with(is_space), email, rest))
}

/// git's `isspace`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
