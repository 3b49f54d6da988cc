//! Reading a stream.
//!
//! Always true:
//! - bytes come in order, each once; a read that is dropped half-way has given nothing.
//!
//! Never here: writing.

use crate::stream::{Source, Step, Stream};
use crate::{Disk, Event, EvictionCause, Index, Unstored};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One who reads a stream from its first byte. Dropping it is leaving.
pub struct Reader<D: Disk> {
    index: Arc<Index<D>>,
    disk: D,
    stream: Arc<Stream<D>>,
    /// Its number in the stream.
    number: u64,
    position: u64,
    /// A finished stream that lies in its file: nobody else needs to be asked any more.
    whole: Option<(Source<D>, u64)>,
    /// How it ended; so it stays.
    error: Option<ReadError>,
}

/// Why the stream does not go on. What was read so far is not the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Its producer gave up.
    #[error("{0}")]
    Producer(Arc<str>),
    /// It lives in memory and others waited too long for this reader.
    #[error("nothing was taken for {0:?}, and others wait")]
    Stalled(Duration),
    /// Its file could not be read; whoever asks for the key again gets another one.
    #[error("read the cached stream: {0}")]
    Lost(Arc<str>),
}

// === impl Reader ===

impl<D: Disk> Reader<D> {
    pub(crate) fn new(index: Arc<Index<D>>, disk: D, stream: Arc<Stream<D>>, number: u64) -> Self {
        Self { index, disk, stream, number, position: 0, whole: None, error: None }
    }

    pub(crate) fn stream(&self) -> &Arc<Stream<D>> {
        &self.stream
    }

    /// The next bytes, `bytes_max` (at least 1) at most; `None` at the end of a whole stream. Asking
    /// says that what was given before has been taken.
    ///
    /// # Errors
    /// Where the stream does not go on. It stays so.
    pub async fn read(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let read = self.read_on(bytes_max.max(1)).await;
        match &read {
            Ok(bytes) => self.position += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Err(error) => self.error = Some(error.clone()),
        }
        read
    }

    /// Bytes that were given so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Its whole length, where it is finished.
    pub fn length_bytes(&self) -> Option<u64> {
        self.stream.finished_bytes()
    }

    /// Those who read the same stream now, this one included.
    pub fn readers(&self) -> usize {
        self.stream.readers()
    }

    async fn read_on(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some((source, length)) = &self.whole {
                let left = (length - self.position).min(bytes_max as u64);
                return match left {
                    0 => self.end(Some(source)).map(|()| None),
                    left => self.read_file(source.clone(), left).await.map(Some),
                };
            }
            let grown = self.stream.grown.notified();
            match self.stream.next(self.number, self.position, bytes_max) {
                Step::File { source, length, whole: false } => {
                    return self.read_file(source, length).await.map(Some);
                }
                Step::File { source, whole: true, .. } => {
                    self.whole = Some((source, self.stream.written()));
                }
                Step::Memory(bytes) => return Ok(Some(bytes)),
                Step::Wait => grown.await,
                Step::End(source) => return self.end(source.as_ref()).map(|()| None),
                Step::Ended(error) => return Err(error),
                Step::Stalled => return Err(ReadError::Stalled(self.index.limits.stall_max)),
            }
        }
    }

    /// What was given is whole only if all of it could be read.
    fn end(&self, source: Option<&Source<D>>) -> Result<(), ReadError> {
        if source.is_none_or(|source| self.disk.is_sound(&source.file)) {
            return Ok(());
        }
        let error = io::Error::other("what was given could not be read");
        self.lose(&error);
        Err(ReadError::Lost(Arc::from(error.to_string())))
    }

    async fn read_file(&self, source: Source<D>, length: u64) -> Result<Bytes, ReadError> {
        let offset_bytes = source.offset_bytes + self.position;
        // At most the `bytes_max` that was asked for, which is a usize.
        match self.disk.read(&source.file, offset_bytes, length as usize).await {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                self.lose(&error);
                Err(ReadError::Lost(Arc::from(error.to_string())))
            }
        }
    }

    /// Whoever asks for the key gets another stream.
    fn lose(&self, error: &io::Error) {
        if self.index.lose(&self.stream, EvictionCause::Corrupt, self.disk.now()) {
            let (reason, error) = (Unstored::DiskFailed, Some(error.to_string()));
            self.index.tell(&Event::Unstored { key: self.stream.key, reason, error });
        }
    }
}

impl<D: Disk> Drop for Reader<D> {
    fn drop(&mut self) {
        self.whole = None;
        self.index.readers.fetch_sub(1, Ordering::Relaxed);
        let left = self.stream.leave(self.number);
        self.index.after_leaving(&self.stream, left, self.disk.now());
    }
}
