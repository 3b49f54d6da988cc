//! Journals: what a transaction of several changes is about to do.
//!
//! ```text
//! gitring refs 1
//! packed <file name in the room>        the new packed-refs
//! set <name> <content, no line feed>    the file of a ref
//! drop <name>                           it has none
//! end <number of lines above>
//! ```
//!
//! Always true: a journal is complete and on disk before it is decided, and gone from there before
//! the first of its refs is unlocked.
//! Never here: carrying it out.

use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};

use super::Ready;

const HEADER: &[u8] = b"gitring refs 1";

/// A change that a journal holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// This file of the room becomes `packed-refs`.
    Packed(PathBuf),
    /// The file of this ref has this content.
    Set(BString, Vec<u8>),
    /// This ref has no file.
    Drop(BString),
}

/// The journal's name before the decision.
pub(super) fn prepared(path: &Path) -> PathBuf {
    path.with_added_extension("prepared")
}

/// Its name afterwards.
pub(super) fn decided(prepared: &Path) -> PathBuf {
    prepared.with_extension("decided")
}

/// The journal of these changes.
pub(super) fn text(refs: &[Ready], packed: Option<&Path>) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = vec![HEADER.to_vec()];
    if let Some(name) = packed.and_then(Path::file_name) {
        lines.push([b"packed ", name.as_encoded_bytes()].concat());
    }
    for ready in refs {
        if let Some(content) = &ready.content {
            let content = content.trim_end();
            lines.push([b"set ", ready.name.as_slice(), b" ", content].concat());
        } else if ready.removes_loose {
            lines.push([b"drop ", ready.name.as_slice()].concat());
        }
    }
    lines.push(format!("end {}", lines.len()).into_bytes());
    lines.iter().flat_map(|line| [line.as_slice(), b"\n"]).flatten().copied().collect()
}

/// What a journal says; none if it is damaged.
pub(super) fn parse(text: &[u8], room: &Path) -> Option<Vec<Entry>> {
    let lines: Vec<&[u8]> = text.strip_suffix(b"\n")?.split(|byte| *byte == b'\n').collect();
    let (last, lines) = lines.split_last()?;
    let (first, entries) = lines.split_first()?;
    if *first != HEADER || *last != format!("end {}", lines.len()).as_bytes() {
        return None;
    }
    let entry = |line: &&[u8]| {
        let (word, rest) = line.split_once_str(" ")?;
        Some(match word {
            b"packed" if !rest.contains(&b'/') => Entry::Packed(room.join(rest.to_path().ok()?)),
            b"drop" => Entry::Drop(rest.into()),
            b"set" => {
                let (name, content) = rest.split_once_str(" ")?;
                Entry::Set(name.into(), [content, b"\n"].concat())
            }
            _ => return None,
        })
    };
    entries.iter().map(entry).collect()
}
