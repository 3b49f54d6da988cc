//! The few header lines of commits and tags that finding one's way through history needs.
//!
//! Always true: as tolerant as git's own parser (`commit.c`, `parse_commit_buffer`): an author or
//! committer line that makes no sense gives time zero, never an error.
//! Never here: messages, names, signatures.

use super::{Commit, Kind};
use crate::ObjectId;

const HEX_BYTES: usize = 40;

/// Tree, parents and committer's time of a commit. `None` if the tree or a parent is malformed.
pub(crate) fn commit(data: &[u8]) -> Option<Commit> {
    let (tree, mut rest) = id_line(data, b"tree ")?;
    let mut parents = Vec::new();
    while rest.starts_with(b"parent ") {
        let (parent, after) = id_line(rest, b"parent ")?;
        parents.push(parent);
        rest = after;
    }
    let committed_at = committed_at(rest).unwrap_or(0);
    Some(Commit { tree, parents, committed_at, generation: None })
}

/// What a tag points to.
pub(super) fn tag_target(data: &[u8]) -> Option<ObjectId> {
    id_line(data, b"object ").map(|(target, _)| target)
}

/// What a tag points to, and of which kind it says that is. `None` if git could not read the tag.
pub(crate) fn tag_link(data: &[u8]) -> Option<(ObjectId, Kind)> {
    let (target, rest) = id_line(data, b"object ")?;
    let line = rest.strip_prefix(b"type ")?;
    let (kind, rest) = line.split_at_checked(line.iter().position(|byte| *byte == b'\n')?)?;
    rest.starts_with(b"\ntag ").then_some((target, Kind::from_bytes(kind).ok()?))
}

/// The id of a line `<name><hex>`, and what follows the line.
fn id_line<'a>(data: &'a [u8], name: &[u8]) -> Option<(ObjectId, &'a [u8])> {
    let (hex, rest) = data.strip_prefix(name)?.split_at_checked(HEX_BYTES)?;
    let id = ObjectId::from_hex(hex).ok()?;
    Some((id, rest.strip_prefix(b"\n")?))
}

/// Seconds since 1970 after the last `>` of the committer line, which follows the author's.
fn committed_at(rest: &[u8]) -> Option<i64> {
    let mut lines = rest.split(|byte| *byte == b'\n');
    lines.next().filter(|line| line.starts_with(b"author"))?;
    let line = lines.next().filter(|line| line.starts_with(b"committer"))?;
    let after_mail = &line[line.iter().rposition(|byte| *byte == b'>')? + 1..];
    let mut digits = after_mail.trim_ascii_start().iter().take_while(|b| b.is_ascii_digit());
    let first = i64::from(digits.next()? - b'0');
    Some(digits.fold(first, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";

    fn check(lines: &str, expected: i64) {
        let data = format!("{TREE}{lines}\n\nmessage\n");
        assert_eq!(commit(data.as_bytes()).map(|c| c.committed_at), Some(expected), "{lines}");
    }

    #[test]
    fn committer_lines() {
        check("author A <a@b> 1 +0000\ncommitter A <a@b> 1700000000 +0100", 1_700_000_000);
        check("author\ncommitter A <a@b> 12", 12);
        check("author A\ncommitter A <a> <b> 13 +0000", 13);
        check("author A\ncommitter A <a@b> never", 0);
        check("author A\ncommitter A 14 +0000", 0);
        check("author A\ncommitter A <a@b> -5 +0000", 0);
        check("author A\ncommitter A <a@b> 99999999999999999999 +0000", i64::MAX);
        check("committer A <a@b> 15 +0000", 0);
        check("", 0);
    }

    #[test]
    fn malformed_ids_are_no_commit() {
        for data in ["", "tree", "tree 4b825d\n", "blob", &format!("{TREE}parent 12\n")] {
            assert_eq!(commit(data.as_bytes()), None, "{data}");
        }
    }
}
