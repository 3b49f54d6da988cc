//! Hashing what earlier runs left.
//!
//! Nothing was synced when it was written, so a machine that stopped may have left a whole name
//! with torn contents. Each file is read once before it is served.
//!
//! Always true:
//! - at most [`PIECE_BYTES`] are read at once, with a pause behind each.
//!
//! Never here: files of this run.

use crate::header::PAYLOAD_OFFSET;
use crate::house::BATCH;
use crate::instances::Instance;
use crate::{Cache, Disk, Event, EvictionCause, Key};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::yield_now;

/// Read at once: some 0.3 ms of hashing on the thread that does it.
const PIECE_BYTES: u64 = 1 << 20;

/// Behind each piece: at most 256 MiB a second are read.
const PAUSE: Duration = Duration::from_millis(4);

/// A file that is to be hashed.
struct Candidate<D: Disk> {
    instance: Arc<Instance<D>>,
    length_bytes: u64,
    digest: [u8; 32],
}

// === impl Cache ===

impl<D: Disk> Cache<D> {
    /// Hashes files of earlier runs as they are found. Never returns.
    pub(crate) async fn verify(&self) {
        loop {
            let more = self.index.unverified.notified();
            // The last places first: they are mostly those of the newest.
            let mut end = self.index.table().slots();
            while end > 0 {
                let start = end.saturating_sub(BATCH);
                let keys = self.index.table().found(start..end);
                for key in keys {
                    self.verify_one(&key).await;
                }
                end = start;
                yield_now().await;
            }
            more.await;
        }
    }

    async fn verify_one(&self, key: &Key) {
        // It may have been replaced or evicted since it was listed.
        let Some(candidate) = self.candidate(key) else { return };
        let cause = match self.hash(key, &candidate).await {
            Ok(digest) if digest == candidate.digest => return self.serve(key, &candidate),
            Err(error) if error.kind() == io::ErrorKind::NotFound => EvictionCause::Vanished,
            Ok(_) | Err(_) => EvictionCause::Corrupt,
        };
        let same = |found: &Candidate<D>| Arc::ptr_eq(&found.instance, &candidate.instance);
        let gone = match self.candidate(key).filter(same) {
            Some(_) => self.index.table().evict_found(key, cause),
            None => None,
        };
        self.index.tell_gone(gone, self.disk.now());
    }

    fn candidate(&self, key: &Key) -> Option<Candidate<D>> {
        let table = self.index.table();
        let found = table.to_hash(key)?;
        let (instance, header) = (found.instance.clone(), &found.header);
        Some(Candidate { instance, length_bytes: header.length_bytes, digest: header.digest })
    }

    fn serve(&self, key: &Key, candidate: &Candidate<D>) {
        let served = self.index.table().verify(&candidate.instance, key);
        if let Some(bytes) = served {
            self.index.tell(&Event::Adopted { key: *key, bytes });
        }
    }

    async fn hash(&self, key: &Key, candidate: &Candidate<D>) -> io::Result<[u8; 32]> {
        let (file, _) = self.disk.open(&candidate.instance.stream_path(key)).await?;
        let mut hash = blake3::Hasher::new();
        let mut position = 0;
        while position < candidate.length_bytes {
            let length = PIECE_BYTES.min(candidate.length_bytes - position);
            let offset_bytes = PAYLOAD_OFFSET + position;
            hash.update(&self.disk.read(&file, offset_bytes, length as usize).await?);
            position += length;
            self.disk.sleep(PAUSE).await;
        }
        Ok(*hash.finalize().as_bytes())
    }
}
