//! Alternates: which directories objects are looked up in besides the repository's own
//! (gitrepository-layout, `objects/info/alternates`).
//!
//! Always true: depth first in the files' order, each directory once, at most [`NESTING_MAX`]
//! levels of files, directories that do not exist left out, as git does.
//! Never here: what the directories contain.

use super::{StoreError, StoreOptions};
use crate::stamp::Stamp;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// git's own: files nested deeper are ignored.
const NESTING_MAX: usize = 5;
/// Directories of one store. Each costs a look-up for every object not found before it.
const DIRECTORIES_MAX: usize = 256;
/// An alternates file; more than 256 paths of the longest kind do not matter.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The directories of a store, its own first, and the stamps of what named them.
#[derive(Debug)]
pub(super) struct Directories {
    pub(super) paths: Vec<PathBuf>,
    pub(super) depends_on: Vec<(PathBuf, Stamp)>,
}

/// Follows the alternates of `objects` and of the directories in `options`.
pub(super) fn resolve(objects: &Path, options: &StoreOptions) -> Result<Directories, StoreError> {
    let own = std::fs::canonicalize(objects).map_err(|source| io(objects, source))?;
    let mut found = Directories { paths: vec![own.clone()], depends_on: Vec::new() };
    for alternate in &options.alternates {
        found.link(alternate, 0)?;
    }
    found.follow(&own, 0)?;
    Ok(found)
}

// === impl Directories ===

impl Directories {
    /// Links every line of the alternates file of `objects`.
    fn follow(&mut self, objects: &Path, nesting: usize) -> Result<(), StoreError> {
        let path = objects.join("info/alternates");
        let stamp = Stamp::of(&path).map_err(|source| io(&path, source))?;
        self.depends_on.push((path.clone(), stamp));
        if stamp.is_absent() || nesting > NESTING_MAX {
            return Ok(());
        }
        let mut content = Vec::new();
        match std::fs::File::open(&path) {
            Ok(file) => file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content),
            // Gone since the stamp was taken, which then differs from the next one.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|source| io(&path, source))?;
        if content.len() as u64 > FILE_BYTES_MAX {
            let reason = format!("more than {FILE_BYTES_MAX} bytes");
            return Err(StoreError::Limit { path, reason });
        }
        for line in content.split(|byte| *byte == b'\n') {
            if let Some(entry) = parse_line(line) {
                self.link(&objects.join(entry), nesting)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, alternate: &Path, nesting: usize) -> Result<(), StoreError> {
        let Ok(path) = std::fs::canonicalize(alternate) else {
            // It may come into being later.
            self.depends_on.push((alternate.to_owned(), Stamp::absent()));
            return Ok(());
        };
        if !path.is_dir() || self.paths.contains(&path) {
            return Ok(());
        }
        if self.paths.len() == DIRECTORIES_MAX {
            let reason = format!("more than {DIRECTORIES_MAX} alternates");
            return Err(StoreError::Limit { path, reason });
        }
        self.paths.push(path.clone());
        self.follow(&path, nesting + 1)
    }
}

/// The path of one line: nothing for empty lines and comments; a line in double quotes holds
/// C-style escapes, and is taken as it is if they are malformed.
fn parse_line(line: &[u8]) -> Option<PathBuf> {
    match line {
        [] | [b'#', ..] => None,
        [b'"', quoted @ ..] => Some(match unquote(quoted) {
            Some(path) => PathBuf::from(std::ffi::OsString::from_vec(path)),
            None => PathBuf::from(OsStr::from_bytes(line)),
        }),
        plain => Some(PathBuf::from(OsStr::from_bytes(plain))),
    }
}

/// Undoes git's C-style quoting, up to the closing quote.
fn unquote(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    let mut bytes = quoted.iter().copied();
    loop {
        match bytes.next()? {
            b'"' => return Some(path),
            b'\\' => path.push(match bytes.next()? {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                same @ (b'\\' | b'"') => same,
                high @ b'0'..=b'3' => {
                    let [middle, low] = [bytes.next()?, bytes.next()?];
                    let octal = |digit: u8| (b'0'..=b'7').contains(&digit).then(|| digit - b'0');
                    (high - b'0') << 6 | octal(middle)? << 3 | octal(low)?
                }
                _ => return None,
            }),
            plain => path.push(plain),
        }
    }
}

fn io(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), source }
}

/// A path as git reads it in a list parted by colons: quoted in the style of C where need be
/// (`GIT_ALTERNATE_OBJECT_DIRECTORIES` in git(1)).
pub fn listed(path: &OsStr) -> OsString {
    let bytes = path.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b':' | b'"' | b'#' | b'\\')) {
        return path.to_owned();
    }
    let mut quoted = vec![b'"'];
    for byte in bytes {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&str>) {
        assert_eq!(parse_line(line.as_bytes()), expected.map(PathBuf::from), "{line}");
    }

    #[test]
    fn lines() {
        check("", None);
        check("# /comment", None);
        check("/a b/objects", Some("/a b/objects"));
        check("../../pool/objects", Some("../../pool/objects"));
        check(r#""/with\nnewline""#, Some("/with\nnewline"));
        check(r#""/quote\"back\\slash\303\244""#, Some("/quote\"back\\slash\u{e4}"));
        check(r#""/never closed"#, Some("\"/never closed"));
        check(r#""/bad\q""#, Some(r#""/bad\q""#));
    }
}
