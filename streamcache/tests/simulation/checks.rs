//! What must hold of the disk and the books, always and at rest.
//!
//! Always true: a check changes nothing.
//! Never here: what a single stream does; the model knows that.

use crate::executor::ProcessId;
use crate::world::{DIRECTORY, World};
use gitring_streamcache::{Key, Limits};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes before the payload of a stored stream: design of the file, see the crate.
pub(crate) const HEADER_BYTES: usize = 4096;

/// A piece in memory has at most so many bytes.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A few locks of a few bytes each, some perhaps without their names.
const LOCKS_BYTES_MAX: u64 = 1 << 10;

// === impl World ===

impl World {
    /// After every step: nobody is above the budget, and the books do not lie.
    pub(crate) fn check_budgets(&self) {
        let mut booked = 0;
        for process in self.processes() {
            let bytes = self.index(process).bytes();
            let limits = self.model.state().processes[&process].limits;
            assert!(
                bytes <= limits.bytes_max,
                "process {process} has {bytes} bytes, {} are allowed",
                limits.bytes_max
            );
            let entries = self.index(process).entries();
            assert!(
                entries <= limits.entries_max,
                "process {process} keeps {entries} streams, {} are allowed",
                limits.entries_max
            );
            booked += bytes;
            self.check_memory(process, &limits);
        }
        if self.books_are_comparable() {
            let used = self.volume.used_bytes() - self.foreign_bytes();
            let booked = booked + LOCKS_BYTES_MAX;
            assert!(used <= booked, "{used} bytes on disk, {booked} in the books");
        }
    }

    /// Beyond the limit each stream holds one piece, of half a window or less.
    fn check_memory(&self, process: ProcessId, limits: &Limits) {
        let index = self.index(process);
        let piece = (limits.window_bytes / 2).clamp(1, CHUNK_BYTES_MAX) * index.producing();
        let (held, most) = (index.bytes_in_memory(), limits.memory_bytes_max + piece as u64);
        assert!(held <= most, "process {process} holds {held} bytes in memory, {most} at most");
    }

    /// At rest: the disk holds the kept streams, whole and once, and locks, and nothing else.
    pub(crate) fn check_rest(&self) {
        let entries: usize = self.processes().iter().map(|id| self.index(*id).entries()).sum();
        let streams = self.streams();
        let names: Vec<_> = self.cache_files();
        let (pinned, perhaps) = self.model.state().adopted_bytes();
        let least = streams.len() + pinned.len();
        assert!(
            (least..=least + perhaps.len()).contains(&entries),
            "{entries} entries at rest, adopted {pinned:?}, perhaps {perhaps:?}, files {names:?}",
        );
        for path in names {
            let known = streams.contains_key(&path) || is_lock(&path);
            assert!(known, "{} is left over", path.display());
        }
        for (path, (key, payload)) in &streams {
            let whole = self.is_whole(*key, payload);
            assert!(whole, "{} is no stream that was finished", path.display());
        }
        let booked: u64 = self.processes().iter().map(|id| self.index(*id).bytes()).sum();
        let used = self.volume.used_bytes() - self.foreign_bytes() - self.lock_bytes();
        let least = used + pinned.iter().sum::<u64>();
        assert!(
            (least..=least + perhaps.iter().sum::<u64>()).contains(&booked),
            "at rest {used} bytes on disk, {booked} in the books, adopted {pinned:?}, \
             perhaps {perhaps:?}, files {:?}",
            self.sizes(),
        );
        for process in self.processes() {
            let index = self.index(process);
            assert_eq!((index.bytes_in_memory(), index.producing()), (0, 0), "at rest");
        }
        self.model.state().check_reasons();
    }

    /// Whether a payload is what some run of the key finished.
    pub(crate) fn is_whole(&self, key: Key, payload: &[u8]) -> bool {
        let model = self.model.state();
        model.runs.iter().any(|run| run.key == key && run.complete && run.content == payload)
    }

    /// Stored streams by name: key and payload.
    pub(crate) fn streams(&self) -> BTreeMap<PathBuf, (Key, Vec<u8>)> {
        let mut streams = BTreeMap::new();
        for (path, inode) in self.volume.files() {
            let key = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".stream"))
                .and_then(Key::from_hex);
            if let Some(key) = key {
                let payload = inode.bytes().get(HEADER_BYTES..).unwrap_or_default().to_vec();
                streams.insert(path, (key, payload));
            }
        }
        streams
    }

    pub(crate) fn cache_files(&self) -> Vec<PathBuf> {
        let below = |path: &PathBuf| path.starts_with(DIRECTORY);
        self.volume.files().into_keys().filter(below).collect()
    }

    /// Nobody books what locks say.
    fn lock_bytes(&self) -> u64 {
        let locks = self.volume.files().into_iter().filter(|(path, _)| is_lock(path));
        locks.map(|(_, inode)| inode.used_bytes()).sum()
    }

    fn sizes(&self) -> Vec<(PathBuf, usize)> {
        let sizes = self.volume.files().into_iter();
        sizes.map(|(path, inode)| (path, inode.bytes().len())).collect()
    }

    /// Keys of whole streams on disk that are not older than allowed; what a restart finds again.
    pub(crate) fn survivors(&self) -> Vec<Key> {
        let streams = self.streams();
        let whole = |(key, payload): &&(Key, Vec<u8>)| self.is_whole(*key, payload);
        let mut keys: Vec<_> = streams.values().filter(whole).map(|(key, _)| *key).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// What a dead process left counts for nobody until another adopts it.
    fn books_are_comparable(&self) -> bool {
        self.last_process() == 1 && self.processes().len() == 1 && !self.volume.is_late()
    }
}

pub(crate) fn is_lock(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "lock" || name.ends_with(".lock")
}
