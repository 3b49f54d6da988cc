//! Single refs of `packed-refs`, without reading all of it.
//!
//! Always true: git replaces the file and never changes it, so one that is open stays as it is.
//! Never here: many refs at once; for those the file is parsed.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};

use crate::ObjectId;
use crate::refs::RefsError;
use crate::refs::packed::PackedRefs;

/// Bytes looked at for the next line: four times the longest name.
const WINDOW_BYTES: u64 = 16 << 10;
const HEX_LEN: usize = 40;

/// `packed-refs` as it was when it was opened.
#[derive(Debug)]
pub(super) enum Packed {
    /// Sorted, as its header says: looked up on disk.
    Open {
        file: File,
        path: PathBuf,
        /// Where the first line that is no header begins.
        start: u64,
        end: u64,
    },
    Parsed(PackedRefs),
}

/// `packed-refs`, opened when it is first asked.
#[derive(Debug)]
pub(super) struct PackedLater {
    path: PathBuf,
    is_for_many: bool,
    opened: OnceCell<Packed>,
}

// === impl PackedLater ===

impl PackedLater {
    pub(super) fn new(path: PathBuf, is_for_many: bool) -> Self {
        Self { path, is_for_many, opened: OnceCell::new() }
    }

    pub(super) fn opened(&self) -> Result<&Packed, RefsError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = Packed::open(&self.path, self.is_for_many)?;
        Ok(self.opened.get_or_init(|| opened))
    }
}

// === impl Packed ===

impl Packed {
    /// Opens the file, and reads it whole if it is wanted for many refs, or not sorted.
    pub(super) fn open(path: &Path, is_for_many: bool) -> Result<Self, RefsError> {
        let failed = |source| RefsError::Io { path: path.to_path_buf(), source };
        if is_for_many {
            return PackedRefs::read(path).map(Self::Parsed);
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::Parsed(PackedRefs::default()));
            }
            Err(error) => return Err(failed(error)),
        };
        let end = file.metadata().map_err(failed)?.len();
        let head = read(&file, 0, WINDOW_BYTES.min(end)).map_err(failed)?;
        let line = head.find_byte(b'\n').map(|at| &head[..at]);
        let is_sorted = line.is_some_and(|line| {
            line.starts_with(b"# pack-refs with:")
                && line.split(|byte| *byte == b' ').any(|word| word == b"sorted")
        });
        match line.filter(|_| is_sorted) {
            Some(line) => {
                let start = line.len() as u64 + 1;
                Ok(Self::Open { file, path: path.to_path_buf(), start, end })
            }
            None => PackedRefs::read(path).map(Self::Parsed),
        }
    }

    /// What it has for a ref.
    pub(super) fn get(&self, name: &BStr) -> Result<Option<ObjectId>, RefsError> {
        match self {
            Self::Parsed(refs) => Ok(refs.get(name).map(|found| found.target)),
            Self::Open { .. } => {
                Ok(self.at_or_after(name)?.filter(|(found, _)| found == name).map(|found| found.1))
            }
        }
    }

    /// The first ref whose name begins with `prefix`.
    pub(super) fn first_below(&self, prefix: &BStr) -> Result<Option<BString>, RefsError> {
        let is_below = |name: &BString| name.starts_with(prefix);
        match self {
            Self::Parsed(refs) => Ok(refs.at_or_after(prefix).map(BString::from).filter(is_below)),
            Self::Open { .. } => {
                Ok(self.at_or_after(prefix)?.map(|found| found.0).filter(is_below))
            }
        }
    }

    /// The first ref that is `name` or sorts behind it.
    fn at_or_after(&self, name: &BStr) -> Result<Option<(BString, ObjectId)>, RefsError> {
        let Self::Open { file, path, start, end } = self else { return Ok(None) };
        let failed = |source| RefsError::Io { path: path.clone(), source };
        // `low` begins a line, and all lines from `high` on sort behind `name` or are it.
        let (mut low, mut high) = (*start, *end);
        while high - low > 2 * WINDOW_BYTES {
            let middle = low + (high - low) / 2;
            let window = read(file, middle, WINDOW_BYTES).map_err(failed)?;
            let Some(line) = next_line(&window) else { break };
            let at = middle + line as u64;
            let found = self.line(&window[line..])?;
            if *found.0 < *name { low = at } else { high = at }
        }
        // The line at `high` is a candidate as well.
        let mut at = low;
        loop {
            let window = read(file, at, 4 * WINDOW_BYTES).map_err(failed)?;
            if window.is_empty() {
                return Ok(None);
            }
            let mut rest = window.as_slice();
            while let Some(length) = rest.find_byte(b'\n') {
                if rest[0] != b'^' {
                    let (found, id) = self.line(rest)?;
                    if *found >= *name {
                        return Ok(Some((found.to_owned(), id)));
                    }
                }
                rest = &rest[length + 1..];
            }
            let taken = window.len() - rest.len();
            if taken == 0 {
                return Err(self.bad());
            }
            at += taken as u64;
        }
    }

    /// Name and id of the line at the beginning of `text`.
    fn line<'a>(&self, text: &'a [u8]) -> Result<(&'a BStr, ObjectId), RefsError> {
        let end = text.find_byte(b'\n').ok_or_else(|| self.bad())?;
        let line = &text[..end];
        let id = line.get(..HEX_LEN).and_then(|hex| ObjectId::from_hex(hex).ok());
        match (id, line.get(HEX_LEN), line.get(HEX_LEN + 1..)) {
            (Some(id), Some(b' '), Some(name)) => Ok((name.as_bstr(), id)),
            _ => Err(self.bad()),
        }
    }

    fn bad(&self) -> RefsError {
        let path = match self {
            Self::Open { path, .. } => path.clone(),
            Self::Parsed(_) => PathBuf::new(),
        };
        // The number of a line is not known without those before it.
        RefsError::Packed { path, line: 0, reason: "no object id and name" }
    }
}

/// Where in a window the first whole line begins that is no peeled value.
fn next_line(window: &[u8]) -> Option<usize> {
    let mut at = window.find_byte(b'\n')? + 1;
    while window.get(at) == Some(&b'^') {
        at += window[at..].find_byte(b'\n')? + 1;
    }
    window.get(at..)?.find_byte(b'\n').map(|_| at)
}

fn read(file: &File, at: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut window = vec![0; usize::try_from(bytes_max).unwrap_or(0)];
    let mut filled = 0;
    while filled < window.len() {
        match file.read_at(&mut window[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    window.truncate(filled);
    Ok(window)
}
