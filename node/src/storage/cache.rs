//! Which repositories are open.
//!
//! Always true:
//! - at most `entries_max` entries, whose snapshots have at most `refs_max` refs together; the one
//!   that was not asked for longest goes first, roughly (second chance);
//! - an entry is served only for the very directory it was opened from: one that was deleted and
//!   created again at the same path is another.

use super::{RelativePath, StorageName};
use gitring_git::repository::Repository;
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A repository as clients name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) storage: StorageName,
    pub(super) path: RelativePath,
}

/// What tells one directory from another that stands at the same path later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    directory: PathBuf,
    device: (u32, u32),
    inode: u64,
    /// ext4 gives a freed inode number to the next directory, so the number alone says little.
    /// File systems without birth times show the change time: then entries are renewed too often.
    born: (i64, u32),
}

/// What opened repositories may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheLimits {
    /// Repositories.
    pub(super) entries_max: usize,
    /// Refs of their last snapshots: 250 bytes each, with the names.
    pub(super) refs_max: usize,
}

#[derive(Debug)]
pub(super) struct Cache {
    limits: CacheLimits,
    /// Refs of all entries.
    refs: usize,
    entries: HashMap<Key, Entry>,
    /// Every key of `entries`, once each.
    queue: VecDeque<Key>,
}

#[derive(Debug)]
struct Entry {
    identity: Identity,
    repository: Arc<Repository>,
    asked_for: bool,
    refs: usize,
}

// === impl Key ===

impl Key {
    pub(super) fn new(storage: &StorageName, path: &RelativePath) -> Self {
        Self { storage: storage.clone(), path: path.clone() }
    }
}

// === impl Identity ===

impl Identity {
    /// That of an open directory. `directory` is its path without symbolic links.
    pub(super) fn of(directory: PathBuf, descriptor: impl AsFd) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::CTIME | StatxFlags::BTIME;
        // Inode and birth of what is open never change: no file system has to be asked again.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(descriptor, "", flags, wanted)?;
        let has_birth = found.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = if has_birth { found.stx_btime } else { found.stx_ctime };
        Ok(Self {
            directory,
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            born: (born.tv_sec, born.tv_nsec),
        })
    }

    /// Without symbolic links.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

// === impl Cache ===

impl Cache {
    pub(super) fn new(limits: CacheLimits) -> Self {
        Self { limits, refs: 0, entries: HashMap::new(), queue: VecDeque::new() }
    }

    pub(super) fn get(&mut self, key: &Key, identity: &Identity) -> Option<Arc<Repository>> {
        let entry = self.entries.get_mut(key).filter(|entry| entry.identity == *identity)?;
        entry.asked_for = true;
        Some(Arc::clone(&entry.repository))
    }

    pub(super) fn put(&mut self, key: Key, identity: Identity, repository: Arc<Repository>) {
        let entry = Entry { identity, repository, asked_for: false, refs: 0 };
        if let Some(replaced) = self.entries.insert(key.clone(), entry) {
            self.refs -= replaced.refs;
            return;
        }
        self.queue.push_back(key);
        self.shrink();
    }

    /// The repository's snapshot has so many refs now. One that has too many by itself is not kept.
    pub(super) fn weigh(&mut self, key: &Key, refs: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.refs = self.refs - entry.refs + refs;
        entry.refs = refs;
        self.shrink();
    }

    /// The repository is gone.
    pub(super) fn drop_entry(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.refs -= entry.refs;
            self.queue.retain(|queued| queued != key);
        }
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.limits.entries_max || self.refs > self.limits.refs_max {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(key) = self.queue.pop_front() else { return };
        match self.entries.get_mut(&key) {
            Some(entry) if entry.asked_for => {
                entry.asked_for = false;
                self.queue.push_back(key);
            }
            Some(_) | None => {
                self.refs -= self.entries.remove(&key).map_or(0, |entry| entry.refs);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_git::repository::Environment;
    use std::fs::File;

    /// Goal: the bound holds, and what is asked for again and again stays.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test opens a directory")]
    fn the_cache_is_bounded_and_keeps_what_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut init = std::process::Command::new("git");
        crate::storage::tests::run(init.args(["init", "-q", "--bare"]).arg(dir.path()));
        let repository = Arc::new(Repository::open(dir.path(), Environment::default()).unwrap());
        let identity =
            Identity::of(dir.path().to_owned(), File::open(dir.path()).unwrap()).unwrap();
        let storage = StorageName::parse("default").unwrap();
        let key = |name: &str| Key::new(&storage, &RelativePath::parse(name).unwrap());
        let mut cache = Cache::new(CacheLimits { entries_max: 3, refs_max: 10 });
        cache.put(key("kept"), identity.clone(), Arc::clone(&repository));
        for number in 0..100 {
            assert!(cache.get(&key("kept"), &identity).is_some(), "round {number}");
            cache.put(key(&number.to_string()), identity.clone(), Arc::clone(&repository));
            assert!(cache.entries.len() <= 3 && cache.queue.len() == cache.entries.len());
        }
        assert!(cache.get(&key("0"), &identity).is_none());
        let left: Vec<Key> = cache.queue.iter().cloned().collect();
        cache.weigh(&left[0], 4);
        cache.weigh(&left[1], 4);
        assert_eq!((cache.entries.len(), cache.refs), (3, 8));
        cache.weigh(&left[2], 11);
        assert!(cache.refs <= 10 && cache.get(&left[2], &identity).is_none());
    }
}
