//! What lies at a path of a revision.
//!
//! Always true: one tree is kept, that in which was looked last.

use super::entry::{Entries, Entry};
use crate::rpc::gitaly::ask::cat_file::CatFile;
use bytes::Bytes;
use gitring_git::objects::Kind;
use tonic::Status;

/// A tree that is held in memory as a whole: about a million entries.
pub(super) const TREE_BYTES_MAX: u64 = 64 << 20;

/// Looks for entries, many of which may lie in the same tree.
#[derive(Debug, Default)]
pub(in crate::rpc::gitaly) struct Finder {
    last: Option<Tree>,
}

/// A tree that was read.
#[derive(Debug)]
struct Tree {
    /// `<revision>:<path>`
    name: Vec<u8>,
    id: String,
    content: Bytes,
}

// === impl Finder ===

impl Finder {
    /// The entry at `path`, which Gitaly only finds if it is written as git writes it. `None` also
    /// where there is no such revision.
    pub(in crate::rpc::gitaly) async fn find(
        &mut self,
        cat_file: &mut CatFile,
        revision: &[u8],
        path: &[u8],
    ) -> Result<Option<Entry>, Status> {
        let is_plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
        if path.contains(&0) || !path.split(|byte| *byte == b'/').all(is_plain) {
            return Ok(None);
        }
        let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let tree = [revision, b":", folder].concat();
        if self.last.as_ref().is_none_or(|last| last.name != tree) {
            self.last = read(cat_file, tree).await?;
        }
        let Some(Tree { id, content, .. }) = &self.last else { return Ok(None) };
        for entry in Entries::of(content.clone(), id) {
            let entry = entry?;
            if entry.name == name {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

async fn read(cat_file: &mut CatFile, name: Vec<u8>) -> Result<Option<Tree>, Status> {
    let Some(header) = cat_file.open(&name).await? else { return Ok(None) };
    if header.kind != Kind::Tree {
        cat_file.skip(header.size).await?;
        return Ok(None);
    }
    let content = cat_file.whole(&header, TREE_BYTES_MAX).await?;
    Ok(Some(Tree { name, id: header.id, content }))
}

/// A path without the slashes at its end, unless it is nothing else.
pub(in crate::rpc::gitaly) fn trimmed(mut path: Bytes) -> Bytes {
    if path.len() > 1 {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        path.truncate(end);
    }
    path
}
