//! Reflogs (git-reflog(1)): what refs were, where a repository keeps them.
//!
//! Always true: a log is written after its ref, and never in the way of one.
//! Never here: reading and expiry.

use std::time::{SystemTime, UNIX_EPOCH};

use bstr::{BStr, ByteSlice};

use super::place::Logs;
use super::{RefFiles, commit, current, lock};
use crate::ObjectId;

/// Adds a line, if the ref has a log or should have one.
pub(super) fn append(files: &RefFiles, name: &BStr, old: Option<ObjectId>, new: Option<ObjectId>) {
    let path = files.log(name);
    if !path.is_file() {
        if !is_begun(files, name) {
            return;
        }
        let parent = path.parent().unwrap_or(&path);
        // Whether it worked shows when the file is opened.
        let _ = lock::make_directories(&*files.calls, parent, &mut Vec::new());
        if path.is_dir() {
            current::remove_empty(files, &path);
        }
    }
    let null = ObjectId::null(gix_hash::Kind::Sha1);
    let (old, new) = (old.unwrap_or(null), new.unwrap_or(null));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let entry = &files.log_entry;
    let mut line = format!("{old} {new} ").into_bytes();
    line.extend_from_slice(&entry.committer);
    line.extend_from_slice(format!(" {seconds} +0000").as_bytes());
    if !entry.message.is_empty() {
        line.push(b'\t');
        // A line feed would begin another entry.
        let words = entry.message.split(|byte| matches!(byte, b'\n' | b'\r'));
        line.extend(words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(&b' '));
    }
    line.push(b'\n');
    // As everywhere with logs: nobody was promised one.
    let _ = files.calls.append(&path, &line);
}

/// Removes the log of a ref that is gone.
pub(super) fn remove(files: &RefFiles, name: &BStr) {
    let path = files.log(name);
    if files.calls.remove(&path).is_ok() {
        commit::remove_parents(files, name, &path);
    }
}

fn is_begun(files: &RefFiles, name: &BStr) -> bool {
    const USUAL: [&[u8]; 3] = [b"refs/heads/", b"refs/remotes/", b"refs/notes/"];
    match files.logs {
        Logs::None => false,
        Logs::Usual => {
            name == "HEAD" || USUAL.iter().any(|prefix| name.as_bytes().starts_with(prefix))
        }
        Logs::Always => true,
    }
}
