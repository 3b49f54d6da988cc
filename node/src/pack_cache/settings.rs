//! `[pack_objects_cache]`.

use gitring_streamcache::Limits;
use std::path::PathBuf;
use std::time::Duration;

/// Gitaly's default of `max_age`.
pub(crate) const AGE_MAX_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// One key in so many has all its events in the log.
pub(crate) const LOG_ONE_KEY_IN_DEFAULT: u32 = 16;
/// A pack is built at most so far ahead of its fastest client.
pub(crate) const WINDOW_BYTES_DEFAULT: u64 = 16 << 20;
/// Packs that are kept. An entry takes about 300 bytes of memory, and an inode.
const ENTRIES_MAX: usize = 100_000;
/// What all packs that cannot be written to disk hold in memory together; beyond it each holds one
/// piece.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Clients of a pack that lives in memory hold each other up; for so long.
const STALL_MAX: Duration = Duration::from_secs(30);

/// `[pack_objects_cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackCacheConfig {
    /// Whether packs are kept. If not, fetches of the same pack at the same time share it still.
    pub enabled: bool,
    /// Where they lie.
    pub directory: PathBuf,
    /// For how long.
    pub max_age: Duration,
    /// A pack is kept when it was asked for more often than this.
    pub min_occurrences: u32,
    /// Whether the builder waits for its clients.
    pub backpressure: bool,
    /// Bytes on disk.
    pub bytes_max: u64,
    /// A pack is built at most so far ahead of its fastest client.
    pub window_bytes: u64,
    /// The file system keeps at least so much free.
    pub free_bytes_min: u64,
    /// One key in so many has all its events in the log; 0: none.
    pub log_one_key_in: u32,
}

// === impl PackCacheConfig ===

impl PackCacheConfig {
    pub(super) fn in_memory() -> Self {
        Self {
            enabled: false,
            directory: PathBuf::new(),
            max_age: AGE_MAX_DEFAULT,
            min_occurrences: 0,
            backpressure: true,
            bytes_max: 0,
            window_bytes: 1 << 20,
            free_bytes_min: 0,
            log_one_key_in: 0,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            store: self.enabled,
            bytes_max: self.bytes_max,
            entries_max: ENTRIES_MAX,
            age_max: self.max_age,
            min_occurrences: self.min_occurrences,
            free_bytes_min: self.free_bytes_min,
            window_bytes: usize::try_from(self.window_bytes).unwrap_or(usize::MAX),
            backpressure: self.backpressure,
            memory_bytes_max: MEMORY_BYTES_MAX,
            stall_max: STALL_MAX,
        }
    }
}
