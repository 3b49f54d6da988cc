//! What happens in a cache, for metrics and logs.

use crate::Key;
use std::time::Duration;

/// Is told of everything that happens. Called with no lock held; must not wait.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &Event);
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody asked for a stream.
    Looked {
        /// Whose; `None` for one that nobody else can ask for.
        key: Option<Key>,
        /// What it came to.
        lookup: Lookup,
        /// Its length, where it is finished.
        bytes: Option<u64>,
        /// Since it was begun.
        age: Duration,
    },
    /// A producer has finished a stream.
    Finished {
        /// Whose.
        key: Key,
        /// Its length.
        bytes: u64,
        /// Whether it is kept.
        kept: bool,
    },
    /// A producer gave up, or everybody left it.
    Broken {
        /// Whose.
        key: Key,
        /// Made so far.
        bytes: u64,
    },
    /// A stream is not, or no longer, on disk for others to find, though nobody wanted it so.
    Unstored {
        /// Whose.
        key: Key,
        /// Why.
        reason: Unstored,
        /// What the system said, if it said something.
        error: Option<String>,
    },
    /// A kept stream has gone.
    Evicted {
        /// Whose.
        key: Key,
        /// Its length.
        bytes: u64,
        /// Why.
        cause: EvictionCause,
        /// Since it was begun.
        age: Duration,
    },
    /// A stream of an earlier run was hashed and is served from now on.
    Adopted {
        /// Whose.
        key: Key,
        /// Its length.
        bytes: u64,
    },
}

/// What a lookup came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// A finished stream.
    Hit,
    /// A stream that is being made.
    Join,
    /// None: whoever asked makes it.
    Lead,
}

/// Why a stream is not on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unstored {
    /// Its key was not asked for often enough yet.
    Occurrences,
    /// Nothing is kept.
    Disabled,
    /// The disk, or a quota on it, is full.
    DiskFull,
    /// Less than `free_bytes_min` would be free.
    FreeSpace,
    /// Above `bytes_max`, and nothing was left to evict; or so large that it evicts nothing.
    Budget,
    /// The disk failed.
    DiskFailed,
}

/// Why a kept stream has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionCause {
    /// Another one needed its bytes.
    Bytes,
    /// Another one needed its place.
    Entries,
    /// The file system ran out of free space.
    FreeSpace,
    /// It was older than `age_max`.
    Age,
    /// Somebody removed its file.
    Vanished,
    /// Its file cannot be read, or is not what was written.
    Corrupt,
    /// A newer one has the same key.
    Replaced,
}
