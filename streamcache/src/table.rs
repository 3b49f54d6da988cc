//! Which streams can be found.
//!
//! Always true:
//! - a key has one entry at most, and a file of an earlier run beside it only while that entry is
//!   shared;
//! - kept streams and files of earlier runs have a place in the sieve, shared streams have none;
//! - what leaves the table takes its file along: its removal is queued in the same moment.
//!
//! Never here: I/O, telling observers, deciding when something has to go.

use crate::budget::{Charge, Class};
use crate::header::Header;
use crate::instances::Instance;
use crate::removals::{Removal, Removals};
use crate::sieve::{Sieve, Slot};
use crate::stream::{Source, Stream};
use crate::{Disk, EvictionCause, Key};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Files of kept streams that stay open while nobody reads them.
const IDLE_OPEN_MAX: usize = 256;

/// What the index's lock guards.
pub(crate) struct Table<D: Disk> {
    entries: HashMap<Key, Entry<D>>,
    /// Files of earlier runs that are not hashed yet: nobody gets them.
    found: HashMap<Key, (Found<D>, Slot)>,
    sieve: Sieve<Key>,
    /// Streams in the order in which their last reader left; each stands here once. Some are
    /// being read again.
    idle: VecDeque<Key>,
    pub(crate) removals: Removals<D>,
}

/// What a key leads to.
pub(crate) enum Entry<D: Disk> {
    /// A stream that is being made, or that goes with its last reader.
    Shared(Arc<Stream<D>>),
    /// A finished stream that stays.
    Kept(Arc<Stream<D>>, Slot),
}

/// A file of an earlier run.
pub(crate) struct Found<D: Disk> {
    pub(crate) instance: Arc<Instance<D>>,
    pub(crate) header: Header,
    pub(crate) charge: Arc<Charge>,
}

/// What has left the table. To be dropped without the lock: files are closed with it.
pub(crate) struct Gone<D: Disk> {
    pub(crate) key: Key,
    pub(crate) bytes: u64,
    pub(crate) begun: Duration,
    pub(crate) cause: EvictionCause,
    /// Whether anybody was told that it stays.
    pub(crate) was_kept: bool,
    _stream: Option<Arc<Stream<D>>>,
}

// === impl Table ===

impl<D: Disk> Table<D> {
    pub(crate) fn new() -> Self {
        let (entries, found) = (HashMap::new(), HashMap::new());
        let (idle, removals) = (VecDeque::new(), Removals::new());
        Self { entries, found, sieve: Sieve::new(), idle, removals }
    }

    /// Streams that are kept, hashed or not.
    pub(crate) fn kept(&self) -> usize {
        self.sieve.len()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Entry<D>> {
        self.entries.get(key)
    }

    pub(crate) fn get_found(&self, key: &Key) -> Option<&Found<D>> {
        self.found.get(key).map(|(found, _)| found)
    }

    /// A file of an earlier run, unless one is being made that will replace it.
    pub(crate) fn to_hash(&self, key: &Key) -> Option<&Found<D>> {
        match self.entries.get(key) {
            Some(Entry::Shared(stream)) if stream.is_wanted() => None,
            Some(_) | None => self.get_found(key),
        }
    }

    pub(crate) fn kept_stream(&self, key: &Key) -> Option<&Arc<Stream<D>>> {
        match self.entries.get(key) {
            Some(Entry::Kept(stream, _)) => Some(stream),
            Some(Entry::Shared(_)) | None => None,
        }
    }

    /// Places of kept streams, free ones included, to go through them a few at a time.
    pub(crate) fn slots(&self) -> usize {
        self.sieve.slots()
    }

    /// Takes those of the kept streams in `slots` out that were begun at `until` or before.
    pub(crate) fn evict_begun_until(
        &mut self,
        slots: Range<usize>,
        until: Duration,
    ) -> Vec<Gone<D>> {
        let begun = |key: &Key| match self.get_found(key) {
            Some(found) => Some(found.header.created),
            None => self.kept_stream(key).map(|stream| stream.begun),
        };
        let old = |key: &Key| begun(key).is_some_and(|begun| begun <= until);
        let old: Vec<Key> = self.sieve.in_slots(slots).filter(old).collect();
        old.iter().filter_map(|key| self.evict_kept(key, EvictionCause::Age)).collect()
    }

    /// Keys in `slots` of the files that are still to be hashed.
    pub(crate) fn found(&self, slots: Range<usize>) -> Vec<Key> {
        self.sieve.in_slots(slots).filter(|key| self.to_hash(key).is_some()).collect()
    }

    pub(crate) fn touch(&mut self, slot: Slot) {
        self.sieve.touch(slot);
    }

    /// Adds a stream that is to be made, in place of nothing.
    pub(crate) fn share(&mut self, stream: Arc<Stream<D>>) {
        self.entries.insert(stream.key, Entry::Shared(stream));
    }

    /// Makes a shared stream stay; whether it was still the one of its key.
    pub(crate) fn keep(&mut self, stream: &Arc<Stream<D>>) -> bool {
        if !self.is_shared(stream) {
            return false;
        }
        stream.charge.reclass(Class::Kept);
        let slot = self.sieve.insert(stream.key);
        self.entries.insert(stream.key, Entry::Kept(stream.clone(), slot));
        true
    }

    /// Adds a file of an earlier run. Its key has no such file and no kept stream.
    pub(crate) fn find(&mut self, found: Found<D>) {
        let key = found.header.key;
        let slot = self.sieve.insert(key);
        self.found.insert(key, (found, slot));
    }

    /// The file of an earlier run was hashed: whoever asks for its key gets it, even where a stream
    /// is being made that goes with its last reader. Its length.
    pub(crate) fn verify(&mut self, instance: &Arc<Instance<D>>, key: &Key) -> Option<u64> {
        if !Arc::ptr_eq(&self.to_hash(key)?.instance, instance) {
            return None;
        }
        let (Found { instance, header, charge }, slot) = self.found.remove(key)?;
        let length = header.length_bytes;
        let stream = Stream::stored(*key, header.created, charge, length, instance);
        self.entries.insert(*key, Entry::Kept(Arc::new(stream), slot));
        Some(length)
    }

    fn is_shared(&self, stream: &Arc<Stream<D>>) -> bool {
        let entry = self.entries.get(&stream.key);
        matches!(entry, Some(Entry::Shared(found)) if Arc::ptr_eq(found, stream))
    }

    /// Whether somebody who asks for its key gets this stream.
    pub(crate) fn is_current(&self, stream: &Arc<Stream<D>>) -> bool {
        match self.entries.get(&stream.key) {
            Some(Entry::Shared(found) | Entry::Kept(found, _)) => Arc::ptr_eq(found, stream),
            None => false,
        }
    }

    /// Takes a shared stream out; whether it was there.
    pub(crate) fn unshare(&mut self, stream: &Arc<Stream<D>>) -> bool {
        self.is_shared(stream) && self.entries.remove(&stream.key).is_some()
    }

    /// Takes the stream out that whoever asks for this key gets.
    pub(crate) fn evict(&mut self, key: &Key, cause: EvictionCause) -> Option<Gone<D>> {
        let entry = self.entries.remove(key)?;
        let (Entry::Shared(stream) | Entry::Kept(stream, _)) = &entry;
        let (stream, mut was_kept) = (stream.clone(), false);
        if let Entry::Kept(_, slot) = entry {
            was_kept = true;
            self.sieve.remove(slot);
            stream.charge.reclass(Class::Detached);
            let charges = vec![stream.charge.clone()];
            if let Some(instance) = stream.instance() {
                self.removals.push(instance.stream_path(key), Removal { instance, charges });
            }
        }
        let (bytes, begun) = (stream.written(), stream.begun);
        Some(Gone { key: *key, bytes, begun, cause, was_kept, _stream: Some(stream) })
    }

    /// Takes the file of an earlier run out.
    pub(crate) fn evict_found(&mut self, key: &Key, cause: EvictionCause) -> Option<Gone<D>> {
        let (Found { instance, header, charge }, slot) = self.found.remove(key)?;
        self.sieve.remove(slot);
        charge.reclass(Class::Detached);
        let (path, charges) = (instance.stream_path(key), vec![charge]);
        self.removals.push(path, Removal { instance, charges });
        let (bytes, begun) = (header.length_bytes, header.created);
        Some(Gone { key: *key, bytes, begun, cause, was_kept: true, _stream: None })
    }

    /// Takes out what has this key and a place in the sieve: one of the two at most has.
    pub(crate) fn evict_kept(&mut self, key: &Key, cause: EvictionCause) -> Option<Gone<D>> {
        if self.found.contains_key(key) {
            return self.evict_found(key, cause);
        }
        self.kept_stream(key)?;
        self.evict(key, cause)
    }

    /// Takes the kept stream out that goes next; with `unread`, among those that nobody reads,
    /// whose bytes come free.
    pub(crate) fn evict_next(&mut self, unread: bool, cause: EvictionCause) -> Option<Gone<D>> {
        let entries = &self.entries;
        let may_go = |key: Key| match entries.get(&key) {
            Some(Entry::Kept(stream, _)) => !unread || stream.readers() == 0,
            // What else is in the sieve is a file of an earlier run.
            Some(Entry::Shared(_)) | None => true,
        };
        let victim = self.sieve.victim(may_go)?;
        self.evict_kept(&victim, cause)
    }

    /// The last reader of a finished stream has left: it goes, or its file is closed some day.
    pub(crate) fn rest(&mut self, stream: &Arc<Stream<D>>) -> Rested<D> {
        match self.entries.get(&stream.key) {
            Some(Entry::Shared(found)) if Arc::ptr_eq(found, stream) => {
                if !stream.is_wanted() && stream.readers() == 0 {
                    self.entries.remove(&stream.key);
                }
            }
            Some(Entry::Kept(found, _)) if Arc::ptr_eq(found, stream) => {
                let before = self.idle.iter().position(|key| *key == stream.key);
                before.and_then(|at| self.idle.remove(at));
                self.idle.push_back(stream.key);
                if self.idle.len() > IDLE_OPEN_MAX {
                    return self.close_one();
                }
            }
            Some(_) | None => {}
        }
        Rested::default()
    }

    fn close_one(&mut self) -> Rested<D> {
        let Some(key) = self.idle.pop_front() else { return Rested::default() };
        match self.entries.get(&key) {
            Some(Entry::Kept(stream, _)) if stream.readers() == 0 => {
                match stream.instance() {
                    Some(_) => Rested { closed: stream.close_unread(), gone: None },
                    // Somebody else's file cannot be opened again.
                    None => Rested { closed: None, gone: self.evict(&key, EvictionCause::Entries) },
                }
            }
            Some(_) | None => Rested::default(),
        }
    }
}

/// What is to be dropped once the lock is free.
pub(crate) struct Rested<D: Disk> {
    pub(crate) closed: Option<Source<D>>,
    pub(crate) gone: Option<Gone<D>>,
}

// === impl Rested ===

impl<D: Disk> Default for Rested<D> {
    fn default() -> Self {
        Self { closed: None, gone: None }
    }
}
