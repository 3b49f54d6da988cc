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
use crate::refs::name;

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

/// What a journal says; none if it is damaged. A name that leads out of the repository is none of
/// ours.
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
            b"packed" if !rest.contains(&b'/') && rest != b".." => {
                Entry::Packed(room.join(rest.to_path().ok()?))
            }
            b"drop" if name::is_safe(rest) => Entry::Drop(rest.into()),
            b"set" => {
                let (name, content) = rest.split_once_str(" ")?;
                name::is_safe(name).then_some(())?;
                Entry::Set(name.into(), [content, b"\n"].concat())
            }
            _ => return None,
        })
    };
    entries.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_leads_elsewhere_is_none_of_ours() {
        let check = |line: &str, is_ours: bool| {
            let text = format!("gitring refs 1\n{line}\nend 2\n");
            assert_eq!(parse(text.as_bytes(), Path::new("/room")).is_some(), is_ours, "{line}");
        };
        check("set refs/heads/main 0123", true);
        check("set HEAD ref: refs/heads/main", true);
        check("drop refs/heads/main", true);
        check("packed 12.3", true);
        check("set ../../elsewhere/authorized_keys key", false);
        check("set refs/heads/../../config [core]", false);
        check("set config [core]", false);
        check("set /etc/passwd root", false);
        check("drop refs/../objects/pack/a.pack", false);
        check("drop config", false);
        check("packed ..", false);
        check("packed ../a", false);
    }
}
