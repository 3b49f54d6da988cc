//! Loose refs: the tree of directories below `refs/` (gitrepository-layout(5)).
//!
//! Git replaces a loose ref by renaming its lock file, which changes the directory. So a stamp
//! of each directory stands for all files in it, and one `stat` a directory finds every change
//! that git makes. (A file written in place, as no git does it, is noticed only when something
//! else changes its directory.)
//!
//! Always true: a directory's stamp was taken before it was read; a directory is read again
//! unless its stamp is as it was and was settled when it was read.
//! Never here: `packed-refs`, objects, following symbolic refs.

use std::collections::HashMap;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bstr::{BString, ByteSlice};
use rustix::fs::{Mode, OFlags};

use super::{REFS_MAX, RefsError, name};
use crate::ObjectId;
use crate::stamp::{Reach, Stamp};

/// Levels of directories: each is a component of a name and a frame of the stack.
const DEPTH_MAX: usize = 128;
/// Bytes of a ref's file that are looked at: a symbolic ref holds one path.
const FILE_BYTES_MAX: u64 = 8_192;

/// What one loose ref holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Direct(ObjectId),
    /// The name of another ref, as it stands there.
    Symbolic(BString),
    /// Anything else, or anything under a name that no ref can have.
    Broken,
}

/// A loose ref: its full name and what it holds.
pub(crate) type LooseRef = (BString, Value);

/// One directory as it was read. Unchanged ones are shared between readings.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The beginning of all names in it; ends with a slash.
    prefix: BString,
    stamp: Stamp,
    /// Whether the stamp finds every later change.
    is_settled: bool,
    refs: Vec<LooseRef>,
    /// Of the files of `refs`, one each; none where it says nothing.
    stamps: Vec<Option<Stamp>>,
    /// Sorted by prefix.
    children: Vec<Arc<Directory>>,
}

/// Reads a tree of loose refs, reusing what has not changed since the previous reading.
#[derive(Default)]
pub(crate) struct Walk<'a> {
    /// Full names, with a slash at the end, of directories that are not entered: those that
    /// belong to each worktree.
    pub(crate) skipped: &'a [&'a str],
    count: usize,
}

// === impl Walk ===

impl Walk<'_> {
    /// Reads the directory `path`, whose refs begin with `prefix` (which ends with a slash).
    pub(crate) fn read(
        &mut self,
        path: &Path,
        prefix: &str,
        previous: Option<&Arc<Directory>>,
    ) -> Result<Arc<Directory>, RefsError> {
        self.directory(path, prefix.as_bytes(), previous, 0)
    }

    fn directory(
        &mut self,
        path: &Path,
        prefix: &[u8],
        previous: Option<&Arc<Directory>>,
        depth: usize,
    ) -> Result<Arc<Directory>, RefsError> {
        if depth > DEPTH_MAX {
            return Err(too_many(path, DEPTH_MAX, "levels of directories"));
        }
        let failed = |source| RefsError::Io { path: path.to_path_buf(), source };
        let read_at = SystemTime::now();
        let stamp = Stamp::of(path).map_err(failed)?;
        match previous.filter(|previous| previous.stamp == stamp && previous.is_settled) {
            Some(previous) => self.unchanged(previous, depth),
            None => {
                let mut directory = Directory {
                    path: path.to_path_buf(),
                    prefix: prefix.into(),
                    stamp,
                    is_settled: stamp.is_settled_directory(read_at),
                    refs: Vec::new(),
                    stamps: Vec::new(),
                    children: Vec::new(),
                };
                self.fill(&mut directory, previous, depth)?;
                Ok(Arc::new(directory))
            }
        }
    }

    fn unchanged(
        &mut self,
        previous: &Arc<Directory>,
        depth: usize,
    ) -> Result<Arc<Directory>, RefsError> {
        self.counted(previous.refs.len(), &previous.path)?;
        let mut children = Vec::with_capacity(previous.children.len());
        let mut is_same = true;
        for child in &previous.children {
            let read = self.directory(&child.path, &child.prefix, Some(child), depth + 1)?;
            is_same &= Arc::ptr_eq(&read, child);
            children.push(read);
        }
        if is_same {
            return Ok(Arc::clone(previous));
        }
        Ok(Arc::new(Directory {
            path: previous.path.clone(),
            prefix: previous.prefix.clone(),
            stamp: previous.stamp,
            is_settled: previous.is_settled,
            refs: previous.refs.clone(),
            stamps: previous.stamps.clone(),
            children,
        }))
    }

    /// Reads the entries of a directory that is new or has changed.
    fn fill(
        &mut self,
        directory: &mut Directory,
        previous: Option<&Arc<Directory>>,
        depth: usize,
    ) -> Result<(), RefsError> {
        let path = directory.path.clone();
        let failed = |source| RefsError::Io { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => {
                // It went between its stamp and now.
                directory.is_settled &= directory.stamp.is_absent();
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        let files = Files::new(&path, previous.map(Arc::as_ref));
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let file_name = entry.file_name();
            let file_name = file_name.as_bytes();
            if file_name.starts_with(b".") || file_name.ends_with(b".lock") {
                continue;
            }
            let mut full_name = directory.prefix.clone();
            full_name.extend_from_slice(file_name);
            match kind(&entry, directory).map_err(failed)? {
                Kind::Directory => {
                    full_name.push(b'/');
                    if self.skipped.iter().any(|skipped| full_name == skipped.as_bytes()) {
                        continue;
                    }
                    let known = previous.and_then(|previous| previous.child(&full_name));
                    let child = self.directory(&entry.path(), &full_name, known, depth + 1)?;
                    directory.children.push(child);
                }
                Kind::File(read) => {
                    match files.value(&entry, &full_name, read).map_err(failed)? {
                        Some((value, stamp)) => {
                            directory.refs.push((full_name, value));
                            directory.stamps.push(stamp);
                        }
                        None => directory.is_settled = false,
                    }
                    self.counted(1, &path)?;
                }
                Kind::Other => {}
            }
        }
        directory.children.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix));
        Ok(())
    }

    fn counted(&mut self, more: usize, path: &Path) -> Result<(), RefsError> {
        self.count += more;
        if self.count > REFS_MAX {
            return Err(too_many(path, REFS_MAX, "refs"));
        }
        Ok(())
    }
}

// === impl Files ===

impl<'a> Files<'a> {
    fn new(path: &Path, previous: Option<&'a Directory>) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let known = previous.iter().flat_map(|previous| {
            let named = previous.refs.iter().zip(&previous.stamps);
            named.filter_map(|((name, value), stamp)| Some((name, (value, (*stamp)?))))
        });
        Self {
            // Without it every file is read.
            directory: rustix::fs::open(path, flags, Mode::empty()).ok(),
            known: known.collect(),
            read_at: SystemTime::now(),
        }
    }

    /// What a file holds, and its stamp if that finds every later change. None if it is gone.
    fn value(
        &self,
        entry: &DirEntry,
        full_name: &BString,
        read: ReadFile,
    ) -> io::Result<Option<(Value, Option<Stamp>)>> {
        // A link's stamp is that of what it leads to.
        let stamp = match &self.directory {
            Some(directory) if read == ReadFile::Plain => {
                Stamp::at(directory, &entry.file_name()).ok()
            }
            Some(_) | None => None,
        };
        let known = self.known.get(full_name).filter(|(_, known)| Some(*known) == stamp);
        if let Some((value, stamp)) = known {
            return Ok(Some(((*value).clone(), Some(*stamp))));
        }
        let value = match read {
            ReadFile::Plain => read_plain(&entry.path())?,
            ReadFile::Link => read_value(&entry.path())?,
        };
        let value =
            value.map(|value| if name::is_valid(full_name) { value } else { Value::Broken });
        let settled = stamp.filter(|stamp| stamp.is_settled(self.read_at));
        Ok(value.map(|value| (value, settled)))
    }
}

// === impl Directory ===

impl Directory {
    /// Whether no directory of the tree has changed since it was read, as far as `reach` tells: one
    /// `stat` for each. `name` leads here from the directory `above`, so that each looks up one name
    /// and not a whole path: `refs/merge-requests/` may well hold 5,000 directories.
    pub(crate) fn is_unchanged(&self, above: impl AsFd, name: &Path, reach: Reach) -> bool {
        if self.children.is_empty() {
            return reach.stamp(above, name).is_ok_and(|stamp| stamp == self.stamp);
        }
        let Ok(here) = reach.directory(above, name) else { return false };
        Stamp::of_open(&here).is_ok_and(|stamp| stamp == self.stamp)
            && self.children.iter().all(|child| {
                let name = Path::new(child.path.file_name().unwrap_or_default());
                child.is_unchanged(&here, name, reach)
            })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the tree has at most `left` directories, all on one of `devices`; takes their number
    /// off.
    pub(crate) fn fits(&self, left: &mut usize, devices: &[u64]) -> bool {
        let Some(rest) = left.checked_sub(1) else { return false };
        *left = rest;
        self.stamp.device().is_none_or(|device| devices.contains(&device))
            && self.children.iter().all(|child| child.fits(left, devices))
    }

    /// Whether [`Self::is_unchanged`] finds every change that git makes after the reading.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled && self.children.iter().all(|child| child.is_settled())
    }

    /// All refs of the tree, in no order.
    pub(crate) fn collect<'a>(&'a self, refs: &mut Vec<&'a LooseRef>) {
        refs.extend(&self.refs);
        for child in &self.children {
            child.collect(refs);
        }
    }

    fn child(&self, prefix: &BString) -> Option<&Arc<Directory>> {
        let found = self.children.binary_search_by(|child| child.prefix.cmp(prefix));
        found.ok().map(|at| &self.children[at])
    }
}

enum Kind {
    Directory,
    File(ReadFile),
    Other,
}

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadFile {
    Plain,
    /// It is, or may be, a symbolic link.
    Link,
}

/// The files of a directory that is read again, most of which are as they were: to stat one costs
/// a sixth of reading it.
struct Files<'a> {
    directory: Option<OwnedFd>,
    known: HashMap<&'a BString, (&'a Value, Stamp)>,
    read_at: SystemTime,
}

fn kind(entry: &DirEntry, directory: &mut Directory) -> io::Result<Kind> {
    let mut kind = entry.file_type()?;
    let is_link = kind.is_symlink();
    if is_link {
        // What a link leads to changes without this directory: read it again each time.
        directory.is_settled = false;
        match fs::metadata(entry.path()) {
            Ok(metadata) => kind = metadata.file_type(),
            Err(_) => return Ok(Kind::Other),
        }
    }
    Ok(match kind {
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_file() && is_link => Kind::File(ReadFile::Link),
        kind if kind.is_file() => Kind::File(ReadFile::Plain),
        _ => Kind::Other,
    })
}

/// What a ref's file holds; none if there is no such file. A symbolic link to a ref's name is a
/// symbolic ref, as old gits wrote HEAD; other links are followed.
pub(crate) fn read_value(path: &Path) -> io::Result<Option<Value>> {
    if let Ok(link) = fs::read_link(path) {
        let target = BString::from(link.into_os_string().into_vec());
        if target.starts_with(b"refs/") && name::is_valid(&target) {
            return Ok(Some(Value::Symbolic(target)));
        }
    }
    read_plain(path)
}

/// The same for a path that is no symbolic link.
pub(crate) fn read_plain(path: &Path) -> io::Result<Option<Value>> {
    let mut text = Vec::with_capacity(64);
    let opened = fs::File::open(path);
    match opened.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text)) {
        Ok(_) => Ok(Some(parse(&text))),
        Err(error) if is_absent(&error) || error.kind() == ErrorKind::IsADirectory => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Some(Value::Broken)),
        Err(error) => Err(error),
    }
}

fn parse(text: &[u8]) -> Value {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let text = text.trim_end_with(|byte| u8::try_from(byte).is_ok_and(is_blank));
    if let Some(target) = text.strip_prefix(b"ref:") {
        let target = target.trim_start_with(|byte| u8::try_from(byte).is_ok_and(is_blank));
        return Value::Symbolic(target.into());
    }
    let id = text.get(..40).and_then(|hex| ObjectId::from_hex(hex).ok());
    match id {
        Some(id) if !id.is_null() && text.get(40).is_none_or(|byte| is_blank(*byte)) => {
            Value::Direct(id)
        }
        _ => Value::Broken,
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn too_many(path: &Path, limit: usize, what: &'static str) -> RefsError {
    RefsError::TooMany { path: path.to_path_buf(), limit: limit as u64, what }
}
