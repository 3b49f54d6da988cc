//! What lies in a cache's directory, for tools. No cache has to run, or a running one is not
//! disturbed.
//!
//! Always true:
//! - only headers are read, and nothing is locked or changed;
//! - a stream that goes while its directory is walked is left out.
//!
//! Never here: a [`crate::Disk`]; tools may wait for the disk as they like.

use crate::header::{HEADER_BYTES, Header};
use crate::instances;
use crate::{Key, Note};
use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A stored stream, as its header tells it. Its payload may be torn all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What it is found by.
    pub key: Key,
    /// Length of its payload.
    pub length_bytes: u64,
    /// When it was begun, since the Unix epoch.
    pub created: Duration,
    /// What its maker wrote beside it.
    pub note: Note,
    /// Its file.
    pub path: PathBuf,
    /// Name of the directory of the process that made it.
    pub instance: OsString,
}

/// Walks the streams of a directory: see [`list`].
#[derive(Debug)]
pub struct Listing {
    /// Directories of keys that are still to be looked into, with their instance's name.
    folders: Vec<(OsString, PathBuf)>,
    /// Files of the current one.
    files: Vec<PathBuf>,
    instance: OsString,
}

/// The streams stored below `directory`, in the order of instances and keys. An unreadable file is
/// an item that is an error; one that is not a stream of this version is left out.
///
/// # Errors
/// Where the directory or one of an instance cannot be read.
pub fn list(directory: &Path) -> io::Result<Listing> {
    let mut folders = Vec::new();
    for instance in sorted(directory)? {
        let name = instance.file_name();
        if instances::is_instance_name(&name) && instance.file_type()?.is_dir() {
            for folder in present(sorted(&instance.path()))? {
                if folder.file_type()?.is_dir() {
                    folders.push((name.clone(), folder.path()));
                }
            }
        }
    }
    folders.reverse();
    Ok(Listing { folders, files: Vec::new(), instance: OsString::new() })
}

// === impl Listing ===

impl Iterator for Listing {
    type Item = io::Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(path) = self.files.pop() {
                match self.read(path) {
                    Ok(None) => {}
                    Ok(Some(stored)) => return Some(Ok(stored)),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            }
            let (instance, folder) = self.folders.pop()?;
            self.instance = instance;
            match present(sorted(&folder)) {
                Ok(files) => self.files = files.iter().rev().map(DirEntry::path).collect(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Listing {
    fn read(&self, path: PathBuf) -> io::Result<Option<Stored>> {
        let Some(key) = path.file_name().and_then(instances::key_of) else { return Ok(None) };
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
        let header = Header::decode(&bytes).ok().filter(|header| header.key == key);
        Ok(header.map(|Header { length_bytes, created, note, .. }| {
            let instance = self.instance.clone();
            Stored { key, length_bytes, created, note, path, instance }
        }))
    }
}

/// What a directory holds, by name.
fn sorted(directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// A directory that has gone meanwhile holds nothing.
fn present(entries: io::Result<Vec<DirEntry>>) -> io::Result<Vec<DirEntry>> {
    match entries {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn lists_streams_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let header = |byte| Header {
            key: Key::new([byte; 32]),
            length_bytes: 5,
            digest: [0; 32],
            created: Duration::from_secs(9),
            note: Note::new(Bytes::from_static(b"a note")).unwrap(),
        };
        let put = |path: &str, bytes: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let name = |byte: u8| format!("{byte:02x}/{}.stream", Key::new([byte; 32]));
        let file = |byte| [&header(byte).encode()[..], b"hello"].concat();
        put(&format!("0000000000000001/{}", name(2)), &file(2));
        put(&format!("0000000000000001/{}", name(1)), &file(1));
        put(&format!("0000000000000000/{}", name(3)), &file(3));
        put("0000000000000000/lock", b"");
        put(&format!("0000000000000000/{}", name(4)), &file(5));
        put(&format!("0000000000000000/{}", name(6)), b"torn");
        put(&format!("0000000000000000/{}.part", name(7)), &file(7));
        put(&format!("elsewhere/{}", name(8)), &file(8));
        let listed: Vec<Stored> = list(dir.path()).unwrap().map(Result::unwrap).collect();
        let keys: Vec<u8> = listed.iter().map(|stored| stored.key.as_bytes()[0]).collect();
        assert_eq!(keys, [3, 1, 2]);
        assert_eq!(listed[1].path, dir.path().join("0000000000000001").join(name(1)));
        assert_eq!((listed[1].length_bytes, listed[1].note.as_bytes()), (5, &b"a note"[..]));
        assert_eq!(listed[0].instance, "0000000000000000");
    }
}
