//! What the cache holds and makes at one moment, for those who look at a node.
//!
//! Never here: how it is shown.

use super::{Key, SharedPacks};
use std::cmp::Reverse;
use std::path::PathBuf;
use std::time::Duration;

/// The cache at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether packs are kept.
    pub enabled: bool,
    /// Packs that are kept.
    pub entries: u64,
    /// Bytes of the kept ones.
    pub kept_bytes: u64,
    /// Bytes of packs that are being made.
    pub making_bytes: u64,
    /// Bytes of files without a name that somebody reads still.
    pub unlinked_bytes: u64,
    /// Bytes of packs that are not on disk.
    pub memory_bytes: u64,
    /// What may be on disk.
    pub bytes_max: u64,
    /// Clients that read a pack.
    pub readers: u64,
    /// Packs that are being made.
    pub making: u64,
}

/// A pack that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    /// Its name.
    pub key: Key,
    /// Directory of the repository whose client came first.
    pub repository: PathBuf,
    /// Who makes it; none while it waits for a builder.
    pub builder: Option<&'static str>,
    /// Clients that wait for it.
    pub readers: usize,
    /// Made so far.
    pub bytes: u64,
    /// Since the first client asked.
    pub age: Duration,
}

// === impl SharedPacks ===

impl SharedPacks {
    /// What the cache holds now.
    pub fn snapshot(&self) -> Snapshot {
        let index = &self.index;
        Snapshot {
            enabled: self.enabled,
            entries: index.entries() as u64,
            kept_bytes: index.bytes_kept(),
            making_bytes: index.bytes_in_flight(),
            unlinked_bytes: index.bytes_detached(),
            memory_bytes: index.bytes_in_memory(),
            bytes_max: self.bytes_max,
            readers: index.readers() as u64,
            making: index.producing() as u64,
        }
    }

    /// The packs that are being made now and that others can join, those with most readers first.
    pub fn making(&self) -> Vec<Making> {
        let mut all = self.buildings.list();
        all.sort_by_key(|making| Reverse((making.readers, making.age)));
        all
    }
}
