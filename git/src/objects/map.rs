//! One immutable file of the object store as bytes: a guarded map, or its content in memory.
//!
//! Always true: bytes that were read before [`FileMap::check`] succeeded are the file's.
//! Never here: the unsafe code of maps (`fault`), and the meaning of the bytes.

use super::StoreError;
use super::fault::GuardedMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of all files that are held in memory because the guard's table is full. Beyond it files are
/// refused: packs held in memory would cost the process more than the refusal.
const PLAIN_BYTES_MAX: u64 = 64 << 20;
/// How much of [`PLAIN_BYTES_MAX`] is taken.
static PLAIN_BYTES: AtomicU64 = AtomicU64::new(0);

/// A pack, index, multi-pack index or commit-graph, opened for reading.
#[derive(Debug)]
pub(super) struct FileMap {
    path: PathBuf,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    Guarded(GuardedMap),
    Plain(Plain),
}

/// A file's content in memory, and its share of [`PLAIN_BYTES_MAX`].
#[derive(Debug)]
struct Plain {
    bytes: Vec<u8>,
    share_bytes: u64,
}

// === impl FileMap ===

impl FileMap {
    /// Opens and maps `path`.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        // The kernel refuses empty maps; an empty file is nobody's valid format anyway.
        let guarded =
            if size_bytes == 0 { None } else { GuardedMap::new(&file).map_err(failed)? };
        let backing = match guarded {
            Some(map) => Backing::Guarded(map),
            None => Backing::Plain(match Plain::read(file, size_bytes).map_err(failed)? {
                Some(plain) => plain,
                None => {
                    let reason = "too many files are mapped at once".to_owned();
                    return Err(StoreError::Limit { path: path.to_owned(), reason });
                }
            }),
        };
        Ok(Self { path: path.to_owned(), backing })
    }

    /// The content; what is made of it counts only after a successful [`FileMap::check`].
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.backing {
            Backing::Guarded(map) => map.bytes(),
            Backing::Plain(plain) => &plain.bytes,
        }
    }

    /// Whether a page could not be read since the file was opened.
    pub(super) fn is_faulted(&self) -> bool {
        match &self.backing {
            Backing::Guarded(map) => map.is_faulted(),
            Backing::Plain(_) => false,
        }
    }

    /// [`StoreError::Faulted`] if anything read so far may have been zeroes in place of data.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.is_faulted() {
            true => Err(StoreError::Faulted { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// The error for content that makes no sense: a fault if that is the true cause.
    pub(super) fn corrupt(&self, reason: impl Into<String>) -> StoreError {
        let path = self.path.clone();
        match self.is_faulted() {
            true => StoreError::Faulted { path },
            false => StoreError::Corrupt { path, reason: reason.into() },
        }
    }

    /// The error for something larger or deeper than this store reads.
    pub(super) fn limit(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Limit { path: self.path.clone(), reason: reason.into() }
    }
}

// === impl Plain ===

impl Plain {
    /// Reads `size_bytes` of `file`. `None`: that would be too much in all.
    fn read(file: File, size_bytes: u64) -> std::io::Result<Option<Self>> {
        let taken = PLAIN_BYTES.fetch_add(size_bytes, Ordering::SeqCst);
        let mut plain = Self { bytes: Vec::new(), share_bytes: size_bytes };
        if taken.saturating_add(size_bytes) > PLAIN_BYTES_MAX {
            return Ok(None);
        }
        file.take(size_bytes).read_to_end(&mut plain.bytes)?;
        Ok(Some(plain))
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        PLAIN_BYTES.fetch_sub(self.share_bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_memory_have_a_budget() {
        let file = || File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(Plain::read(file(), PLAIN_BYTES_MAX + 1).unwrap().is_none());
        let plain = Plain::read(file(), 1000).unwrap().unwrap();
        assert_eq!((plain.bytes.len(), &plain.bytes[..4]), (1000, &b"\x7fELF"[..]));
        drop(plain);
        assert_eq!(PLAIN_BYTES.load(Ordering::SeqCst), 0);
    }
}
