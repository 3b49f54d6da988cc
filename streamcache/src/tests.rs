//! The cache from outside, over a disk in memory, on one thread.
//!
//! Always true:
//! - every wait has an end: a test that hangs is stopped by its own limit of turns.
//!
//! Never here: random schedules; the simulation has those.

mod budget;
mod disk;
mod memory;
mod plain;
mod restart;
mod sharing;
mod threads;

use crate::{
    Cache, Event, EvictionCause, Fetch, Index, Key, Lead, Limits, Note, Observer, ReadError, Reader,
};
use bytes::Bytes;
use disk::{MemoryDisk, settle};
use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KIB: usize = 1024;

/// A cache over a disk in memory, with what it told.
#[derive(Clone)]
struct World {
    disk: MemoryDisk,
    cache: Cache<MemoryDisk>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

fn limits() -> Limits {
    Limits {
        store: true,
        bytes_max: 1 << 30,
        entries_max: 1_000,
        age_max: Duration::from_secs(300),
        min_occurrences: 0,
        free_bytes_min: 0,
        window_bytes: 64 * KIB,
        memory_bytes_max: 1 << 30,
        backpressure: true,
        stall_max: Duration::from_secs(10),
    }
}

/// Runs a test on one thread.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn key(number: u8) -> Key {
    Key::new([number; 32])
}

/// Bytes that differ from place to place.
fn payload(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect::<Vec<u8>>().into()
}

// === impl World ===

impl World {
    fn new(limits: Limits) -> Self {
        Self::on(MemoryDisk::default(), limits)
    }

    /// Another process on the same disk.
    fn on(disk: MemoryDisk, limits: Limits) -> Self {
        let told = Arc::new(Told::default());
        let index = Arc::new(Index::new(PathBuf::from("/cache"), limits, told.clone()));
        Self { cache: Cache::new(index, disk.clone()), disk, told }
    }

    fn index(&self) -> &Index<MemoryDisk> {
        self.cache.index()
    }

    async fn fetch(&self, number: u8) -> Fetch<MemoryDisk> {
        let note = || Note::new(Bytes::from_static(b"note")).unwrap();
        self.cache.fetch(key(number), note).await.unwrap()
    }

    async fn lead(&self, number: u8) -> (Lead<MemoryDisk>, Reader<MemoryDisk>) {
        let fetch = self.fetch(number).await;
        let found = name(&fetch);
        let Fetch::Lead(lead, reader) = fetch else { panic!("{found}, not a lead") };
        (lead, reader)
    }

    async fn hit(&self, number: u8) -> Reader<MemoryDisk> {
        let fetch = self.fetch(number).await;
        let found = name(&fetch);
        let Fetch::Hit(reader) = fetch else { panic!("{found}, not a hit") };
        reader
    }

    async fn join(&self, number: u8) -> Reader<MemoryDisk> {
        let fetch = self.fetch(number).await;
        let found = name(&fetch);
        let Fetch::Join(reader) = fetch else { panic!("{found}, not a join") };
        reader
    }

    /// Makes a stream and reads it to its end.
    async fn make(&self, number: u8, length: usize) {
        let (lead, reader) = self.lead(number).await;
        let reading = tokio::task::spawn_local(read_all(reader));
        produce(lead, length).await;
        assert_eq!(reading.await.unwrap(), Ok(payload(length)));
    }

    fn keep_house(&self) -> tokio::task::JoinHandle<()> {
        let cache = self.cache.clone();
        tokio::task::spawn_local(async move { cache.keep_house().await })
    }

    /// Why streams were evicted since the last time.
    fn causes(&self) -> Vec<EvictionCause> {
        let cause = |event: &Event| match event {
            Event::Evicted { cause, .. } => Some(*cause),
            Event::Looked { .. }
            | Event::Finished { .. }
            | Event::Broken { .. }
            | Event::Unstored { .. }
            | Event::Adopted { .. } => None,
        };
        self.told().iter().filter_map(cause).collect()
    }

    /// What was told since the last time, lookups left out.
    fn told(&self) -> Vec<Event> {
        let mut events = std::mem::take(&mut *self.told.0.lock().unwrap());
        events.retain(|event| !matches!(event, Event::Looked { .. }));
        events
    }
}

impl Observer for Told {
    fn observe(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn name(fetch: &Fetch<MemoryDisk>) -> &'static str {
    match fetch {
        Fetch::Hit(_) => "a hit",
        Fetch::Join(_) => "a join",
        Fetch::Lead(..) => "a lead",
    }
}

async fn produce(mut lead: Lead<MemoryDisk>, length: usize) {
    let mut rest = payload(length);
    while !rest.is_empty() {
        if lead.write(rest.split_to(rest.len().min(7_001))).await.is_err() {
            return;
        }
    }
    lead.finish().await;
}

async fn read_all(mut reader: Reader<MemoryDisk>) -> Result<Bytes, ReadError> {
    let mut all = Vec::new();
    while let Some(bytes) = reader.read(5_000).await? {
        assert!(!bytes.is_empty() && bytes.len() <= 5_000);
        all.extend_from_slice(&bytes);
    }
    Ok(all.into())
}

/// Reads on until told to stop, and counts.
fn read_slowly(
    mut reader: Reader<MemoryDisk>,
    gate: Rc<tokio::sync::Semaphore>,
) -> Rc<RefCell<Vec<u8>>> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let kept = all.clone();
    tokio::task::spawn_local(async move {
        loop {
            gate.acquire().await.unwrap().forget();
            let Ok(Some(bytes)) = reader.read(4 * KIB).await else { return };
            kept.borrow_mut().extend_from_slice(&bytes);
        }
    });
    all
}

#[test]
fn the_index_is_for_all_threads() {
    fn check<T: Send + Sync>() {}
    check::<Index<MemoryDisk>>();
}
