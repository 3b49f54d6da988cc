//! Where a producer's bytes go.
//!
//! ```text
//!   Undecided ──► Unnamed ─────────────────────► gone with its last reader
//!      │    └──► Named (.part) ──header, rename──► kept
//!      └───────────┴──► Memory   the disk refused; what lies in the file is still read from it
//! ```
//!
//! Always true:
//! - the payload is written first, the header last, then the file gets its name: a file with a
//!   stream's name is whole, unless the machine stopped before its pages reached the disk;
//! - no fsync: that case is found by hashing, and a stream can be made again.
//!
//! Never here: readers.

use crate::header::{HEADER_BYTES, Header, PAYLOAD_OFFSET};
use crate::instances::Instance;
use crate::removals::Removal;
use crate::stream::Source;
use crate::{Disk, Lead, Unstored};
use bytes::Bytes;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a write is tried again after others have made room for it.
const FULL_RETRIES_MAX: usize = 8;
/// An evicted file takes its space until it has been closed, which may be a moment after it was
/// removed: evicting more at once would empty the cache for one write.
const CLOSING_PAUSE: Duration = Duration::from_millis(50);

/// Where a stream is written.
pub(crate) enum Place<D: Disk> {
    /// Nothing was written yet.
    Undecided,
    /// A file without a name.
    Unnamed(Source<D>),
    /// A file that will be kept. `part` is the name that it is written under, or may be; it goes if
    /// the file does not get its own.
    Named { source: Option<Source<D>>, instance: Arc<Instance<D>>, part: Option<PathBuf> },
    /// No file, from here on.
    Memory,
}

/// Why a stream does not lie on disk.
pub(crate) struct Refusal {
    pub(crate) reason: Unstored,
    pub(crate) error: Option<String>,
}

// === impl Lead ===

impl<D: Disk> Lead<D> {
    /// Writes `piece` behind what was written before.
    pub(crate) async fn store(&mut self, piece: &Bytes) -> Result<(), Refusal> {
        let source = self.open_file().await?;
        let bytes = piece.len() as u64;
        self.reserve(bytes).await?;
        if !self.index.has_free_space(&self.disk, bytes).await {
            return Err(Refusal { reason: Unstored::FreeSpace, error: None });
        }
        let offset_bytes = source.offset_bytes + self.stream.written();
        self.write_at(&source.file, offset_bytes, piece).await?;
        if self.stream.is_wanted() {
            self.hash.update(piece);
        }
        Ok(())
    }

    /// Gives the finished stream's file its header and its name; whether it is kept.
    pub(crate) async fn keep(&mut self) -> Result<bool, Refusal> {
        if !self.stream.is_wanted() || matches!(self.place, Place::Memory) {
            return Ok(false);
        }
        let source = self.open_file().await?;
        let header = Header {
            key: self.stream.key,
            length_bytes: self.stream.written(),
            digest: *self.hash.finalize().as_bytes(),
            created: self.stream.begun,
            note: self.note.clone(),
        };
        self.write_at(&source.file, 0, &header.encode()).await?;
        let index = self.index.clone();
        let Place::Named { instance, part: Some(part), .. } = &self.place else {
            return Ok(false);
        };
        let (instance, part) = (instance.clone(), part.clone());
        let path = instance.stream_path(&self.stream.key);
        let mut claim = index.claim(path.clone()).await;
        if !index.table().is_current(&self.stream) {
            return Ok(false);
        }
        // From here on whoever drops the claim queues the removal of the name in the same moment:
        // no other stream gets the name in between.
        claim.give(self.removal(&instance));
        if let Err(error) = self.disk.rename(&part, &path).await {
            drop(claim);
            if error.kind() == io::ErrorKind::NotFound {
                index.instances.retire(&instance).await;
            }
            return Err(Refusal::from(error));
        }
        if let Place::Named { part, .. } = &mut self.place {
            *part = None;
        }
        self.stream.settle(instance);
        let kept = index.keep(&self.stream, self.disk.now());
        if kept {
            claim.keep();
        }
        Ok(kept)
    }

    /// What the file is called has to go; its bytes count until they have.
    pub(crate) fn leave_file(&mut self) {
        if let Place::Named { instance, part: Some(path), .. } =
            std::mem::replace(&mut self.place, Place::Memory)
        {
            self.index.queue_removal(path, self.removal(&instance));
        }
    }

    fn removal(&self, instance: &Arc<Instance<D>>) -> Removal<D> {
        Removal { instance: instance.clone(), charges: vec![self.stream.charge.clone()] }
    }

    async fn reserve(&self, bytes: u64) -> Result<(), Refusal> {
        if self.index.reserve(&self.disk, &self.stream.charge, bytes).await {
            return Ok(());
        }
        Err(Refusal { reason: Unstored::Budget, error: None })
    }

    /// The file, made now if there is none.
    async fn open_file(&mut self) -> Result<Source<D>, Refusal> {
        match &self.place {
            Place::Named { source: Some(source), .. } | Place::Unnamed(source) => {
                return Ok(source.clone());
            }
            Place::Undecided | Place::Named { source: None, .. } | Place::Memory => {}
        }
        if self.stream.is_wanted() {
            self.reserve(HEADER_BYTES as u64).await?;
        }
        let mut tries = 0;
        loop {
            let error = match self.create_file().await {
                Ok(source) => {
                    self.stream.set_source(source.clone());
                    return Ok(source);
                }
                Err(error) => error,
            };
            // Where the directory is gone, a new one is begun, once.
            let moved = error.kind() == io::ErrorKind::NotFound && tries == 0;
            tries += 1;
            if !moved && !self.is_worth_a_try(&error, tries, HEADER_BYTES as u64).await {
                return Err(Refusal::from(error));
            }
        }
    }

    async fn create_file(&mut self) -> io::Result<Source<D>> {
        let instance = self.index.instances.own(&self.disk).await?;
        let created = if self.stream.is_wanted() {
            self.create_named(instance.clone()).await
        } else {
            let file = self.disk.create_unnamed(&instance.path).await;
            file.map(|file| Source { file, offset_bytes: 0 })
                .inspect(|source| self.place = Place::Unnamed(source.clone()))
        };
        if created.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            self.index.instances.retire(&instance).await;
        }
        created
    }

    async fn create_named(&mut self, instance: Arc<Instance<D>>) -> io::Result<Source<D>> {
        let key = self.stream.key;
        instance.make_folder(&self.disk, &key).await?;
        let path = instance.part_path(&key, self.index.next_number());
        // Named before it is there: an interrupted creation must not leave it behind.
        let part = Some(path.clone());
        self.leave_file();
        self.place = Place::Named { source: None, instance, part };
        let file = self.disk.create(&path).await?;
        let made = Source { file, offset_bytes: PAYLOAD_OFFSET };
        if let Place::Named { source, .. } = &mut self.place {
            *source = Some(made.clone());
        }
        Ok(made)
    }

    async fn write_at(
        &self,
        file: &Arc<D::File>,
        offset_bytes: u64,
        data: &Bytes,
    ) -> Result<(), Refusal> {
        let mut tries = 0;
        loop {
            let Err(error) = self.disk.write(file, offset_bytes, data.clone()).await else {
                return Ok(());
            };
            tries += 1;
            if !self.is_worth_a_try(&error, tries, data.len() as u64).await {
                return Err(Refusal::from(error));
            }
        }
    }

    /// After the write number `tries` of `bytes` failed: whether others have made way for the next.
    /// Evicts and waits in turns.
    async fn is_worth_a_try(&self, error: &io::Error, tries: usize, bytes: u64) -> bool {
        if !is_full(error) || tries > FULL_RETRIES_MAX {
            return false;
        }
        if tries.is_multiple_of(2) {
            self.disk.sleep(CLOSING_PAUSE).await;
            return true;
        }
        self.index.give_way(&self.disk, bytes).await
    }
}

// === impl Refusal ===

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let reason = if is_full(&error) { Unstored::DiskFull } else { Unstored::DiskFailed };
        Self { reason, error: Some(error.to_string()) }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
