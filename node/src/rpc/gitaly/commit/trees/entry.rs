//! Entries of trees: `<mode> SP <name> NUL <id>` one after the other in the object, and lines of
//! git-ls-tree(1).
//!
//! Never here: reading objects.

use bytes::Bytes;
use gitring_proto::gitaly::TreeEntry;
use gitring_proto::gitaly::tree_entry::EntryType;
use std::fmt::Write;
use tonic::Status;

/// What an entry names, as its mode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::rpc::gitaly) enum EntryKind {
    Tree,
    Blob,
    /// A commit of another repository.
    Commit,
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rpc::gitaly) struct Entry {
    pub(in crate::rpc::gitaly) mode: i32,
    pub(in crate::rpc::gitaly) kind: EntryKind,
    /// In hexadecimal.
    pub(in crate::rpc::gitaly) id: String,
    /// In its tree, or below the tree that was listed.
    pub(in crate::rpc::gitaly) name: Bytes,
}

/// The entries of a tree's content.
#[derive(Debug)]
pub(super) struct Entries {
    rest: Bytes,
    /// Of an id.
    id_bytes: usize,
}

// === impl EntryKind ===

impl EntryKind {
    pub(super) fn of(mode: i32) -> Self {
        match mode & 0o170_000 {
            0o160_000 => Self::Commit,
            0o040_000 => Self::Tree,
            _ => Self::Blob,
        }
    }
}

// === impl Entry ===

impl Entry {
    /// A line of ls-tree: `<mode> SP <type> SP <id> TAB <path>`.
    pub(super) fn of_line(line: &Bytes) -> Option<Self> {
        let at = line.iter().position(|byte| *byte == b'\t')?;
        let words = std::str::from_utf8(&line[..at]).ok()?;
        let [mode, _, id] = words.split(' ').collect::<Vec<_>>()[..] else { return None };
        let mode = i32::from_str_radix(mode, 8).ok()?;
        let (kind, id) = (EntryKind::of(mode), id.to_owned());
        Some(Self { mode, kind, id, name: line.slice(at + 1..) })
    }

    /// The entry as a message; it lies below `root` in `revision`.
    pub(super) fn message(self, revision: &str, root: &[u8]) -> TreeEntry {
        let kind = match self.kind {
            EntryKind::Tree => EntryType::Tree,
            EntryKind::Blob => EntryType::Blob,
            EntryKind::Commit => EntryType::Commit,
        };
        TreeEntry {
            oid: self.id,
            path: joined(root, &self.name),
            r#type: kind.into(),
            mode: self.mode,
            commit_oid: revision.to_owned(),
            flat_path: Bytes::new(),
        }
    }
}

/// A path below a directory that git took, perhaps with slashes at its end.
pub(super) fn joined(root: &[u8], name: &Bytes) -> Bytes {
    let end = root.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    if end == 0 {
        return name.clone();
    }
    Bytes::from([&root[..end], b"/", name].concat())
}

// === impl Entries ===

impl Entries {
    /// Those of a tree of which `id` is the name.
    pub(super) fn of(content: Bytes, id: &str) -> Self {
        Self { rest: content, id_bytes: id.len() / 2 }
    }

    fn take(&mut self) -> Option<Entry> {
        let space = self.rest.iter().position(|byte| *byte == b' ')?;
        let nul = space + 1 + self.rest[space + 1..].iter().position(|byte| *byte == 0)?;
        let end = nul + 1 + self.id_bytes;
        let id = self.rest.get(nul + 1..end)?;
        let mode = std::str::from_utf8(&self.rest[..space]).ok()?;
        let mode = i32::from_str_radix(mode, 8).ok()?;
        let id = id.iter().fold(String::with_capacity(64), |mut id, byte| {
            // Writing to a string does not fail.
            let _ = write!(id, "{byte:02x}");
            id
        });
        let name = self.rest.slice(space + 1..nul);
        self.rest = self.rest.split_off(end);
        Some(Entry { mode, kind: EntryKind::of(mode), id, name })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.take();
        if entry.is_none() {
            self.rest.clear();
        }
        Some(entry.ok_or_else(|| Status::internal("read entry: the tree is malformed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8], expected: Result<&[(i32, &str, &str)], &str>) {
        let entries = Entries::of(Bytes::copy_from_slice(content), &"0".repeat(40));
        let found: Result<Vec<_>, _> = entries.collect();
        let found = found.map_err(|status| status.message().to_owned());
        let entry = |(mode, name, id): &(i32, &str, &str)| {
            let name = Bytes::from((*name).to_owned());
            Entry { mode: *mode, kind: EntryKind::of(*mode), id: id.repeat(20), name }
        };
        let expected = expected.map(|entries| entries.iter().map(entry).collect());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn trees_and_what_looks_like_one() {
        let entry = |head: &str, byte: u8| [head.as_bytes(), &[0], &[byte; 20]].concat();
        check(b"", Ok(&[]));
        let (file, tree) = (entry("100644 a b", 0xab), entry("40000 c", 0));
        let both = [(0o100_644, "a b", "ab"), (0o040_000, "c", "00")];
        check(&[&file[..], &tree].concat(), Ok(&both));
        let malformed = Err("read entry: the tree is malformed");
        check(&file[..file.len() - 1], malformed);
        check(b"100644", malformed);
        check(b"100644 a", malformed);
        check(&entry("1x a", 0), malformed);
    }

    #[test]
    fn lines_of_ls_tree() {
        let check = |line: &str, expected: Option<(i32, EntryKind, &str)>| {
            let found = Entry::of_line(&Bytes::from(line.to_owned()));
            let found = found.map(|entry| (entry.mode, entry.kind, entry.name));
            let expected = expected.map(|(mode, kind, name)| (mode, kind, name.to_owned().into()));
            assert_eq!(found, expected, "{line:?}");
        };
        check("100755 blob 0a\ta\tb", Some((0o100_755, EntryKind::Blob, "a\tb")));
        check("160000 commit 0a\ts", Some((0o160_000, EntryKind::Commit, "s")));
        check("040000 tree 0a\td/e", Some((0o040_000, EntryKind::Tree, "d/e")));
        check("040000 tree 0a", None);
        check("040000 0a\tx", None);
    }

    #[test]
    fn paths_are_joined_as_gitaly_joins_them() {
        let check = |root: &str, expected: &str| {
            let name = Bytes::from_static(b"x/y");
            assert_eq!(joined(root.as_bytes(), &name), expected.as_bytes(), "{root:?}");
        };
        check("", "x/y");
        check("a/b", "a/b/x/y");
        check("a/b//", "a/b/x/y");
        check("/", "x/y");
    }
}
