//! An open file with the maps through which it is read.
//!
//! ```text
//!   segment 0 |======== 64 MiB ========|= 4 =|
//!   segment 1                          |======== 64 MiB ========|= 4 =|
//! ```
//!
//! Always true: a map is made once for a file, whoever reads; maps and descriptor live until the
//! last holder of the file and the last bytes out of it are gone; segments overlap, so that a read
//! of up to `OVERLAP_BYTES` lies in one.
//! Never here: reading ahead, waiting.

use crate::reactor::ring::Dropper;
use bytes::Bytes;
use gitring_git::objects::GuardedMap;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Distance of segments: few maps for a long file, and address space only for what is read.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Longest read that is served from a map wherever it begins.
const OVERLAP_BYTES: u64 = 4 << 20;
/// Reads below this length do without a map at first: a new map costs 16 µs, most of it page
/// faults, and reading 64 KiB from memory 5 µs.
const MAPPED_BYTES_MIN: u64 = 64 << 10;
/// Short reads of a file longer than that until it is mapped: whoever reads it in small steps goes
/// on doing so, and a step costs a few µs.
const SHORT_READS_MAX: u32 = 4;
/// A file without maps up to this length is closed at once; of longer ones, closing may be the
/// truncation.
const CLOSED_HERE_BYTES_MAX: u64 = 1 << 20;

/// A file of the cache, or one that the cache adopted.
#[derive(Debug)]
pub struct File {
    /// `None` once it is being dropped.
    descriptor: Option<Arc<OwnedFd>>,
    /// By their number.
    segments: Mutex<Segments>,
    short_reads: AtomicU32,
    dropper: Dropper,
}

type Segments = BTreeMap<u64, Arc<GuardedMap>>;

/// Where bytes of a file lie in one of its maps.
#[derive(Debug)]
pub(super) struct Part {
    // Dropped before the file, which is to be the last holder of its maps.
    map: Arc<GuardedMap>,
    _file: Arc<File>,
    map_offset_bytes: u64,
    range: Range<usize>,
}

// === impl File ===

impl File {
    /// A file open for reading, at the least; `dropper` closes it.
    pub fn new(descriptor: OwnedFd, dropper: Dropper) -> Self {
        let (segments, short_reads) = (Mutex::default(), AtomicU32::new(0));
        Self { descriptor: Some(Arc::new(descriptor)), segments, short_reads, dropper }
    }

    /// Whether a page of its maps could not be read: then bytes that were given out may be zeroes
    /// in place of what was written. To be asked once they have been sent; it stays so.
    pub fn is_faulted(&self) -> bool {
        self.segments().values().any(|map| map.is_faulted())
    }

    pub(super) fn descriptor(&self) -> &Arc<OwnedFd> {
        self.descriptor.as_ref().expect("only the drop takes it, as its last step")
    }

    /// Its length now. An open file's is in memory, so this does not wait.
    pub(super) fn length_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(&**self.descriptor())?;
        u64::try_from(stat.st_size).map_err(io::Error::other)
    }

    /// `range`, which is not empty and lies within the file of `file_bytes`, in a map; `None` where
    /// no map can be had, or none is worth its price yet.
    pub(super) fn part(self: &Arc<Self>, range: Range<u64>, file_bytes: u64) -> Option<Part> {
        let number = range.start / SEGMENT_BYTES;
        let map_offset_bytes = number * SEGMENT_BYTES;
        let start = usize::try_from(range.start - map_offset_bytes).ok()?;
        let end = usize::try_from(range.end - map_offset_bytes).ok()?;
        let map_bytes = usize::try_from(SEGMENT_BYTES + OVERLAP_BYTES).ok()?;
        if end > map_bytes {
            return None;
        }
        let mut segments = self.segments();
        let map = match segments.get(&number) {
            Some(map) => Arc::clone(map),
            None if !self.is_worth_a_map(range.end - range.start, file_bytes) => return None,
            None => {
                // Refused where all maps of the process are in use, or the file system has none.
                let map = GuardedMap::part(&**self.descriptor(), map_offset_bytes, map_bytes);
                let map = Arc::new(map.ok().flatten()?);
                segments.insert(number, Arc::clone(&map));
                map
            }
        };
        drop(segments);
        Some(Part { map, _file: Arc::clone(self), map_offset_bytes, range: start..end })
    }

    /// Counts the short reads.
    fn is_worth_a_map(&self, length_bytes: u64, file_bytes: u64) -> bool {
        let is_short = length_bytes < MAPPED_BYTES_MIN;
        let count = |reads: u32| (reads < SHORT_READS_MAX).then_some(reads + 1);
        let counted = || self.short_reads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        !is_short || (file_bytes > MAPPED_BYTES_MIN && counted().is_err())
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for File {
    /// Taking GiBs out of memory, as the end of an unlinked file does, takes hundreds of
    /// milliseconds.
    fn drop(&mut self) {
        let segments = std::mem::take(&mut *self.segments());
        let is_short = || self.length_bytes().is_ok_and(|bytes| bytes <= CLOSED_HERE_BYTES_MAX);
        if !segments.is_empty() || !is_short() {
            self.dropper.drop((segments, self.descriptor.take()));
        }
    }
}

// === impl Part ===

impl Part {
    /// Where its first page begins that would have to be read from disk, as an offset in the file.
    pub(super) fn first_absent(&self) -> Option<u64> {
        // What cannot be told is taken as absent: reading it does no harm.
        let absent = self.map.first_absent(self.range.clone()).unwrap_or(Some(self.range.start));
        absent.map(|at| self.map_offset_bytes + at as u64)
    }

    /// Where it ends in the file.
    pub(super) fn end(&self) -> u64 {
        self.map_offset_bytes + self.range.end as u64
    }

    /// The bytes, which keep the map.
    ///
    /// # Errors
    /// Where a page of the map could not be read, now or before.
    pub(super) fn into_bytes(self) -> io::Result<Bytes> {
        if self.map.is_faulted() {
            return Err(faulted());
        }
        Ok(Bytes::from_owner(self))
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.map.bytes()[self.range.clone()]
    }
}

/// What reads of a file end with after one of its pages could not be read.
pub(super) fn faulted() -> io::Error {
    io::Error::other("a page of the mapped file could not be read")
}
