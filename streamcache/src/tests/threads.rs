//! Several threads, real files.

use super::plain::PlainDisk;
use super::{KIB, Told, key, limits, payload};
use crate::{Cache, Event, Fetch, Index, Lead, Limits, Lookup, Note, ReadError, Reader};
use bytes::Bytes;
use std::path::Path;
use std::sync::{Arc, Barrier, LazyLock};
use std::time::Duration;
use tokio::task::LocalSet;

/// Enough for several evictions, windows and pieces.
const STREAM_BYTES: usize = 700 * KIB;

const THREADS: usize = 4;

/// Goal: no wake-up, byte or charge is lost between threads.
/// Method: threads with reactors of their own ask for a few keys in seeded order, under a budget of
/// three of them and with a house; each reader checks each byte, some leave early. A thread that
/// waits for ever is a failure.
#[test]
fn threads_share_streams() {
    for seed in 1..=4 {
        let directory = tempfile::tempdir().unwrap();
        let few = Limits { bytes_max: 3 * (STREAM_BYTES as u64 + 50_000), ..limits() };
        let told = Arc::new(Told::default());
        let index = Index::new(directory.path().to_owned(), few, told.clone());
        let (index, start) = (Arc::new(index), Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (index, start) = (index.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    one_thread(Cache::new(index, PlainDisk), seed * 100 + thread as u64);
                });
            }
        });
        let cache = Cache::new(index.clone(), PlainDisk);
        block_on(async move {
            cache.index().remove_queued(&PlainDisk).await;
        });
        assert_eq!((index.readers(), index.producing()), (0, 0), "seed {seed}");
        assert_eq!(index.bytes(), index.bytes_kept(), "seed {seed}");
        assert_eq!(files(directory.path()), index.entries(), "seed {seed}");
        let told = told.0.lock().unwrap();
        let kept = |event: &Event| matches!(event, Event::Finished { kept: true, .. });
        let hit = |event: &Event| matches!(event, Event::Looked { lookup: Lookup::Hit, .. });
        let (kept, hits) = (told.iter().any(kept), told.iter().any(hit));
        assert!(kept && hits, "seed {seed}");
    }
}

fn block_on(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("a wake-up was lost");
    });
}

fn one_thread(cache: Cache<PlainDisk>, mut random: u64) {
    block_on(async move {
        let house = cache.clone();
        let house = tokio::task::spawn_local(async move { house.keep_house().await });
        for _ in 0..12 {
            // A few at a time: streams that are all being made at once leave no room to keep any.
            let requests = [(); 3].map(|()| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let number = (random >> 33) % 3 * ((random >> 43) % 3);
                let enough = if (random >> 53).is_multiple_of(8) { 100_000 } else { usize::MAX };
                tokio::task::spawn_local(request(cache.clone(), number as u8, enough))
            });
            for request in requests {
                request.await.unwrap();
            }
        }
        house.abort();
        let _ = house.await;
    });
}

/// Reads a stream, or `enough` of it.
async fn request(cache: Cache<PlainDisk>, number: u8, enough: usize) {
    loop {
        let fetch = cache.fetch(key(number), Note::default).await.unwrap();
        let reader = match fetch {
            Fetch::Hit(reader) | Fetch::Join(reader) => reader,
            Fetch::Lead(lead, reader) => {
                tokio::task::spawn_local(produce(lead, number));
                reader
            }
        };
        match read(reader, number, enough).await {
            Ok(()) => return,
            // Everybody else had left, or its file had gone: once more.
            Err(ReadError::Producer(_) | ReadError::Lost(_)) => {}
            Err(stalled @ ReadError::Stalled(_)) => panic!("{stalled}"),
        }
    }
}

fn content(number: u8) -> Bytes {
    static ALL: LazyLock<Bytes> = LazyLock::new(|| payload(STREAM_BYTES + 10));
    ALL.slice(usize::from(number)..STREAM_BYTES + usize::from(number))
}

async fn produce(mut lead: Lead<PlainDisk>, number: u8) {
    let mut rest = content(number);
    while !rest.is_empty() {
        if lead.write(rest.split_to(rest.len().min(50_000))).await.is_err() {
            return;
        }
    }
    lead.finish().await;
}

async fn read(mut reader: Reader<PlainDisk>, number: u8, enough: usize) -> Result<(), ReadError> {
    let expected = content(number);
    while let Some(bytes) = reader.read(30_000).await? {
        let end = reader.position() as usize;
        assert_eq!(bytes, expected.slice(end - bytes.len()..end), "before byte {end}");
        if end >= enough {
            return Ok(());
        }
    }
    assert_eq!(reader.position() as usize, STREAM_BYTES);
    Ok(())
}

/// Files of streams, finished or not.
fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files(&entry.path()),
        false => usize::from(entry.file_name() != "lock"),
    };
    entries.map(count).sum()
}
