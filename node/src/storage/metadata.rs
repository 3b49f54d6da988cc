//! The id of a storage's file system, in `.gitaly-metadata` as Gitaly keeps it:
//! `{"gitaly_filesystem_id":"<uuid>"}`.
//!
//! Always true: an id that was ever read is never replaced by us; the file appears whole.
//! Never here: other uses of the id than telling it.

use super::durable;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

const NAME: &str = ".gitaly-metadata";
const KEY: &str = "\"gitaly_filesystem_id\"";
/// A file of ours takes 64.
const BYTES_MAX: u64 = 4096;

/// Writes an id if the storage has none.
#[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
pub(super) fn create(root: &Path) -> io::Result<()> {
    if fs::symlink_metadata(root.join(NAME)).is_ok() {
        return Ok(());
    }
    // A version 4 UUID from the kernel.
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let mut file = tempfile::Builder::new().prefix(NAME).tempfile_in(root)?;
    writeln!(file, "{{{KEY}:\"{}\"}}", id.trim())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(root.join(NAME)) {
        Ok(_) => durable::sync(root),
        // Another process was quicker: then its id counts.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// The id.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
pub(super) fn read(root: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(root.join(NAME))?.take(BYTES_MAX).read_to_string(&mut text)?;
    let invalid = || io::Error::new(ErrorKind::InvalidData, "the file has no filesystem id");
    parse(&text).map(str::to_owned).ok_or_else(invalid)
}

/// The id in the JSON that Gitaly writes; ids have no characters that JSON escapes.
fn parse(text: &str) -> Option<&str> {
    let value = text.split_once(KEY)?.1.trim_start().strip_prefix(':')?.trim_start();
    let (id, _) = value.strip_prefix('"')?.split_once('"')?;
    (!id.contains('\\')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_created_once_and_read_as_gitaly_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap_err().kind(), ErrorKind::NotFound);
        create(dir.path()).unwrap();
        let id = read(dir.path()).unwrap();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
        create(dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), id);
        let check = |text, expected| assert_eq!(parse(text), expected, "{text}");
        check("{\"gitaly_filesystem_id\":\"a-b\"}\n", Some("a-b"));
        check("{ \"x\": 1, \"gitaly_filesystem_id\" : \"a\" }", Some("a"));
        check("{\"gitaly_filesystem_id\":\"a\\u0041\"}", None);
        check("{\"gitaly_filesystem_id\":7}", None);
        check("", None);
    }
}
