//! What the cache may take, and for how long.

use std::time::Duration;

/// Limits of one cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Whether finished streams are kept. If not, identical requests at the same time share one
    /// stream all the same.
    pub store: bool,
    /// Bytes on disk: kept, being written, and open without a name.
    pub bytes_max: u64,
    /// Streams that are kept.
    pub entries_max: usize,
    /// A stream is served for so long after it was begun.
    pub age_max: Duration,
    /// A stream is kept if its key was asked for more often than this within `age_max`.
    pub min_occurrences: u32,
    /// The file system keeps at least so much free.
    pub free_bytes_min: u64,
    /// A producer is at most so far ahead of its fastest reader; so much of a stream that cannot be
    /// written to disk is held in memory.
    pub window_bytes: usize,
    /// Bytes that all streams hold in memory together. Beyond, none fails, but each holds one piece
    /// of at most 64 KiB at a time, and moves at the pace of its slowest reader.
    pub memory_bytes_max: u64,
    /// Whether a producer waits for its readers at all, as long as the stream can be written to
    /// disk.
    pub backpressure: bool,
    /// A reader that takes nothing for so long ends, if the stream lives in memory and another
    /// reader waits for it. One who reads alone may pause for ever.
    pub stall_max: Duration,
}
