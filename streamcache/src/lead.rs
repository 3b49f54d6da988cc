//! Making a stream.
//!
//! Always true:
//! - a stream whose producer was interrupted in the middle of a write is broken, never finished;
//! - a disk that fails moves the stream to memory; the producer does not hear of it.
//!
//! Never here: files, which are the store's.

use crate::budget::Class;
use crate::stall::{self, StallWatch};
use crate::store::{Place, Refusal};
use crate::stream::{Left, Room, Source, Stream};
use crate::{Disk, Event, Index, Note, Unstored};
use bytes::Bytes;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

/// Held in memory as one: where memory is full, each stream there may hold as much all the same.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// The one who makes a stream. Dropped before it was finished, it ends its readers with an error.
pub struct Lead<D: Disk> {
    pub(crate) index: Arc<Index<D>>,
    pub(crate) disk: D,
    pub(crate) stream: Arc<Stream<D>>,
    pub(crate) place: Place<D>,
    /// Boxed: it is 2 KB, and leads are moved about.
    pub(crate) hash: Box<blake3::Hasher>,
    pub(crate) note: Note,
    kept: bool,
    /// A write has begun and not ended: what the stream holds is anybody's guess.
    torn: bool,
}

/// Why there is no point in going on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nobody reads any more.
    #[error("every reader has left")]
    Abandoned,
}

// === impl Lead ===

impl<D: Disk> Lead<D> {
    pub(crate) fn new(index: Arc<Index<D>>, disk: D, stream: Arc<Stream<D>>, note: Note) -> Self {
        let hash = Box::new(blake3::Hasher::new());
        let place = if index.in_memory {
            stream.leave_disk(&index.pool);
            Place::Memory
        } else {
            Place::Undecided
        };
        Self { index, disk, stream, place, hash, note, kept: false, torn: false }
    }

    /// Appends `data`; waits while the fastest reader is `window_bytes` behind. If this is dropped
    /// before it returns, the stream breaks with whatever is called next.
    ///
    /// # Errors
    /// Where the stream broke: every reader has left it.
    pub async fn write(&mut self, mut data: Bytes) -> Result<(), WriteError> {
        if self.torn {
            self.break_off("a write was interrupted");
            return Err(WriteError::Abandoned);
        }
        self.torn = true;
        // Half a window at a time: the producer fills one half while readers take the other.
        let piece_bytes_max = (self.index.limits.window_bytes / 2).max(1);
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(piece_bytes_max));
            self.write_piece(piece).await?;
        }
        self.torn = false;
        Ok(())
    }

    /// The stream is `range` of a file that is there already: it is pinned, not copied. Nothing
    /// may have been written before; this finishes the stream.
    pub async fn adopt(mut self, file: Arc<D::File>, range: Range<u64>) {
        if self.torn || self.stream.written() > 0 {
            return self.break_off("a file was adopted behind other bytes");
        }
        let length = range.end.saturating_sub(range.start);
        self.stream.adopt(Source { file, offset_bytes: range.start }, length);
        if !self.stream.finish() || !self.stream.is_wanted() {
            return;
        }
        if self.index.reserve(&self.disk, &self.stream.charge, length).await {
            self.kept = self.index.keep(&self.stream, self.disk.now());
        } else {
            self.refuse(Refusal { reason: Unstored::Budget, error: None });
        }
    }

    /// All was written.
    pub async fn finish(mut self) {
        if self.torn {
            return self.break_off("a write was interrupted");
        }
        if !self.stream.finish() {
            return;
        }
        match self.keep().await {
            Ok(kept) => self.kept = kept,
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// It cannot be finished, for a reason that its readers are told.
    pub fn fail(self, reason: Arc<str>) {
        self.index.fail(&self.stream, reason);
    }

    /// Returns once nobody reads any more.
    pub async fn abandoned(&self) {
        loop {
            let broke = self.stream.broke.notified();
            if self.stream.is_broken() {
                return;
            }
            broke.await;
        }
    }

    /// Those who read it now.
    pub fn readers(&self) -> usize {
        self.stream.readers()
    }

    fn break_off(&self, reason: &str) {
        self.index.fail(&self.stream, Arc::from(reason));
    }

    async fn write_piece(&mut self, mut piece: Bytes) -> Result<(), WriteError> {
        if !matches!(self.place, Place::Memory) {
            self.wait_for_room(piece.len()).await?;
            match self.store(&piece).await {
                Ok(()) => {
                    self.stream.publish(piece);
                    return Ok(());
                }
                Err(refusal) => {
                    self.stream.leave_disk(&self.index.pool);
                    self.refuse(refusal);
                }
            }
        }
        while !piece.is_empty() {
            let chunk = piece.split_to(piece.len().min(CHUNK_BYTES_MAX));
            self.wait_for_room(chunk.len()).await?;
            self.stream.publish_in_memory(&chunk);
        }
        Ok(())
    }

    async fn wait_for_room(&self, bytes: usize) -> Result<(), WriteError> {
        let limits = &self.index.limits;
        let tick = stall::tick(limits.stall_max);
        // On disk the fastest reader sets the pace, and a pause without end is its good right.
        let in_memory = matches!(self.place, Place::Memory);
        let window_bytes = || match in_memory || limits.backpressure {
            true if in_memory && self.index.pool.is_full(bytes) => bytes,
            true => limits.window_bytes,
            false => usize::MAX,
        };
        let mut watch = StallWatch::default();
        let mut pause = pin!(None);
        loop {
            let drained = self.stream.drained.notified();
            match self.stream.room(bytes, window_bytes()) {
                Room::Yes => return Ok(()),
                Room::Broken => return Err(WriteError::Abandoned),
                Room::NotYet => {}
            }
            if !in_memory {
                drained.await;
                continue;
            }
            if pause.is_none() {
                let left = self.stream.end_stalled(&watch.look(&self.stream.holders()));
                self.index.after_leaving(&self.stream, left, self.disk.now());
                pause.set(Some(self.disk.sleep(tick)));
                continue;
            }
            let over = pause.as_mut().as_pin_mut().expect("it was set above");
            tokio::select! {
                biased;
                () = drained => {}
                () = over => pause.set(None),
            }
        }
    }

    /// Nobody finds the stream any more; its file, if it has one, goes with its readers.
    fn refuse(&mut self, refusal: Refusal) {
        self.index.unshare(&self.stream);
        self.leave_file();
        let Refusal { reason, error } = refusal;
        self.index.tell(&Event::Unstored { key: self.stream.key, reason, error });
    }
}

impl<D: Disk> Drop for Lead<D> {
    fn drop(&mut self) {
        self.break_off("the producer went away");
        if !self.kept {
            self.stream.give_up_keeping();
            self.leave_file();
            self.stream.charge.reclass(Class::Detached);
            self.index.hash_again(&self.stream.key);
        }
        if let Some(bytes) = self.stream.finished_bytes() {
            let (key, kept) = (self.stream.key, self.kept);
            self.index.tell(&Event::Finished { key, bytes, kept });
            if self.stream.readers() == 0 {
                self.index.after_leaving(&self.stream, Left::Unread, self.disk.now());
            }
        }
        self.stream.leave_seat();
    }
}
