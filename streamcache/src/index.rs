//! The streams of a process: what all its threads share.
//!
//! Always true:
//! - the table's lock is held for moments, never while anybody waits or is told of something;
//! - a thread takes the table's lock before a stream's, never the other way round.
//!
//! Never here: I/O.

use crate::budget::{Charge, Class, Ledger};
use crate::free_space::FreeSpace;
use crate::instances::Instances;
use crate::locked::Locked;
use crate::memory::Pool;
use crate::occurrences::Occurrences;
use crate::stream::{Left, Seat, Stream};
use crate::table::{Entry, Gone, Table};
use crate::{Disk, Event, EvictionCause, FetchError, Key, Limits, Observer, Unstored};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// Streams that may be made at once. Whoever starts producers has a lower limit of its own; this
/// one bounds what the cache itself remembers.
const PRODUCING_MAX: usize = 65_536;

/// The streams of a process: what all its threads share.
pub struct Index<D: Disk> {
    pub(crate) limits: Limits,
    pub(crate) instances: Instances<D>,
    /// Nothing is written anywhere.
    pub(crate) in_memory: bool,
    pub(crate) free_space: Locked<FreeSpace>,
    /// Removals wait.
    pub(crate) litter: Notify,
    /// A name that somebody had claimed is free again.
    pub(crate) settled: Notify,
    /// Files of earlier runs were found.
    pub(crate) unverified: Notify,
    /// What streams in memory hold together.
    pub(crate) pool: Arc<Pool>,
    table: Locked<Table<D>>,
    occurrences: Locked<Occurrences>,
    ledger: Arc<Ledger>,
    producing: Arc<AtomicUsize>,
    numbers: AtomicU64,
    pub(crate) readers: AtomicUsize,
    observer: Arc<dyn Observer>,
}

/// What a look into the table came to.
pub(crate) enum Look<D: Disk> {
    /// A stream, and the number of the new reader.
    Read { stream: Arc<Stream<D>>, reader: u64, finished: bool, kept: bool },
    /// A new stream, which is the caller's to make, and the number of its first reader.
    Make { stream: Arc<Stream<D>>, reader: u64 },
}

// === impl Index ===

impl<D: Disk> Index<D> {
    /// An empty index of what will lie below `directory`.
    pub fn new(directory: PathBuf, mut limits: Limits, observer: Arc<dyn Observer>) -> Self {
        // No byte could pass a window of none.
        limits.window_bytes = limits.window_bytes.max(1);
        Self {
            limits,
            instances: Instances::new(directory),
            in_memory: false,
            free_space: Locked::new(FreeSpace::default()),
            litter: Notify::new(),
            settled: Notify::new(),
            unverified: Notify::new(),
            pool: Arc::new(Pool::new(limits.memory_bytes_max)),
            table: Locked::new(Table::new()),
            occurrences: Locked::new(Occurrences::new(limits.age_max)),
            ledger: Arc::new(Ledger::new(limits.bytes_max)),
            producing: Arc::default(),
            numbers: AtomicU64::new(0),
            readers: AtomicUsize::new(0),
            observer,
        }
    }

    /// An index without a directory: every stream lives in memory, as one does whose disk fails,
    /// and goes with its last reader.
    pub fn in_memory(limits: Limits, observer: Arc<dyn Observer>) -> Self {
        let limits = Limits { store: false, ..limits };
        Self { in_memory: true, ..Self::new(PathBuf::new(), limits, observer) }
    }

    /// Bytes that count against `bytes_max`: the sum of the three that follow.
    pub fn bytes(&self) -> u64 {
        self.ledger.total()
    }

    /// Bytes of streams that are kept.
    pub fn bytes_kept(&self) -> u64 {
        self.ledger.of(Class::Kept)
    }

    /// Bytes of streams that are being made.
    pub fn bytes_in_flight(&self) -> u64 {
        self.ledger.of(Class::InFlight)
    }

    /// Bytes of files without a name, or about to lose it, that somebody still reads.
    pub fn bytes_detached(&self) -> u64 {
        self.ledger.of(Class::Detached)
    }

    /// Streams that are kept, those of earlier runs that are still to be hashed included.
    pub fn entries(&self) -> usize {
        self.table().kept()
    }

    /// Bytes that streams hold in memory: at most `memory_bytes_max`, and a piece of 64 KiB for each
    /// of those that [`Index::producing`] counts.
    pub fn bytes_in_memory(&self) -> u64 {
        self.pool.bytes()
    }

    /// Streams that are being made, and finished ones that a reader still holds in memory.
    pub fn producing(&self) -> usize {
        self.producing.load(Ordering::Relaxed)
    }

    /// Readers of all streams.
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table<D>> {
        self.table.lock()
    }

    pub(crate) fn tell(&self, event: &Event) {
        self.observer.observe(event);
    }

    pub(crate) fn charge(&self, class: Class) -> Arc<Charge> {
        Arc::new(Charge::new(&self.ledger, class))
    }

    /// Counts a request for `key`; whether its stream would be kept, and if not, why.
    pub(crate) fn admit(&self, key: Key, now: Duration) -> Result<(), Unstored> {
        let seldom = self.limits.min_occurrences > 0
            && self.occurrences.lock().count(key, now) <= self.limits.min_occurrences;
        match (self.limits.store && self.limits.entries_max > 0, seldom) {
            (false, _) => Err(Unstored::Disabled),
            (true, true) => Err(Unstored::Occurrences),
            (true, false) => Ok(()),
        }
    }

    /// Whether what was begun then is too old to be served.
    pub(crate) fn is_too_old(&self, begun: Duration, now: Duration) -> bool {
        now.saturating_sub(begun) >= self.limits.age_max
    }

    /// Finds the stream of `key` for a new reader, or puts a new one there.
    pub(crate) fn look(
        &self,
        key: Key,
        wanted: bool,
        now: Duration,
    ) -> Result<Look<D>, FetchError> {
        let mut gone = None;
        let mut table = self.table();
        if let Some(look) = self.look_up(&mut table, key, now, &mut gone) {
            return Ok(look);
        }
        let look = self.take_seat().map(|seat| {
            let stream = self.new_stream(key, wanted, now, seat);
            table.share(stream.clone());
            Look::Make { stream, reader: 0 }
        });
        drop(table);
        self.tell_gone(gone, now);
        look
    }

    fn look_up(
        &self,
        table: &mut Table<D>,
        key: Key,
        now: Duration,
        gone: &mut Option<Gone<D>>,
    ) -> Option<Look<D>> {
        let (stream, slot) = match table.get(&key)? {
            Entry::Shared(stream) => (stream.clone(), None),
            Entry::Kept(stream, slot) => (stream.clone(), Some(*slot)),
        };
        if !self.is_too_old(stream.begun, now)
            && let Some((reader, finished)) = stream.attach()
        {
            slot.into_iter().for_each(|slot| table.touch(slot));
            self.readers.fetch_add(1, Ordering::Relaxed);
            return Some(Look::Read { stream, reader, finished, kept: slot.is_some() });
        }
        // A broken one is still there for the moment that its last reader needs to take it out.
        *gone = table.evict(&key, EvictionCause::Age);
        None
    }

    /// A stream that nobody else will find.
    pub(crate) fn look_away(&self, key: Key, now: Duration) -> Result<Look<D>, FetchError> {
        let seat = self.take_seat()?;
        Ok(Look::Make { stream: self.new_stream(key, false, now, seat), reader: 0 })
    }

    fn take_seat(&self) -> Result<Seat, FetchError> {
        let seat = Seat::take(&self.producing, PRODUCING_MAX);
        seat.ok_or_else(|| FetchError::Full(self.producing()))
    }

    fn new_stream(&self, key: Key, wanted: bool, now: Duration, seat: Seat) -> Arc<Stream<D>> {
        let charge = self.charge(Class::InFlight);
        let stream = Arc::new(Stream::producing(key, now, charge, wanted, seat));
        // Nobody else has it yet: its first reader is number 0.
        stream.attach();
        self.readers.fetch_add(1, Ordering::Relaxed);
        stream
    }

    /// Nobody finds `stream` from now on, if it is not kept yet.
    pub(crate) fn unshare(&self, stream: &Arc<Stream<D>>) {
        stream.give_up_keeping();
        self.table().unshare(stream);
    }

    /// Nobody finds `stream` from now on. Whether it was shared and not kept: of that nothing was
    /// told.
    pub(crate) fn lose(
        &self,
        stream: &Arc<Stream<D>>,
        cause: EvictionCause,
        now: Duration,
    ) -> bool {
        let mut table = self.table();
        let shared = table.unshare(stream);
        let kept = !shared && table.is_current(stream);
        let gone = if kept { table.evict(&stream.key, cause) } else { None };
        drop(table);
        self.tell_gone(gone, now);
        shared
    }

    /// Makes a finished stream stay, in another's place if need be; whether it does.
    pub(crate) fn keep(&self, stream: &Arc<Stream<D>>, now: Duration) -> bool {
        let mut gone = Vec::new();
        let mut table = self.table();
        let mut room = table.is_current(stream);
        if room {
            gone.extend(table.evict_found(&stream.key, EvictionCause::Replaced));
        }
        while room && table.kept() >= self.limits.entries_max {
            match table.evict_next(false, EvictionCause::Entries) {
                Some(evicted) => gone.push(evicted),
                None => room = false,
            }
        }
        let kept = room && table.keep(stream);
        drop(table);
        gone.into_iter().for_each(|gone| self.tell_gone(Some(gone), now));
        kept
    }

    /// Tells that a stream has left the table, and lets it go.
    pub(crate) fn tell_gone(&self, gone: Option<Gone<D>>, now: Duration) {
        if let Some(gone) = gone.filter(|gone| gone.was_kept) {
            self.litter.notify_one();
            self.tell(&Event::Evicted {
                key: gone.key,
                bytes: gone.bytes,
                cause: gone.cause,
                age: now.saturating_sub(gone.begun),
            });
        }
    }

    /// Some readers have left, with this outcome.
    pub(crate) fn after_leaving(&self, stream: &Arc<Stream<D>>, left: Left, now: Duration) {
        match left {
            Left::Others => {}
            Left::Broke(bytes) => {
                self.unshare(stream);
                self.tell(&Event::Broken { key: stream.key, bytes });
            }
            Left::Unread => {
                let rested = self.table().rest(stream);
                drop(rested.closed);
                self.tell_gone(rested.gone, now);
            }
        }
    }

    /// A number that no file of this process has in its name yet.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The file of an earlier run that was to be replaced is wanted after all.
    pub(crate) fn hash_again(&self, key: &Key) {
        if self.table().get_found(key).is_some() {
            self.unverified.notify_one();
        }
    }

    /// A producer gives up.
    pub(crate) fn fail(&self, stream: &Arc<Stream<D>>, reason: Arc<str>) {
        if let Some(bytes) = stream.fail(crate::ReadError::Producer(reason)) {
            self.unshare(stream);
            self.tell(&Event::Broken { key: stream.key, bytes });
        }
    }
}
