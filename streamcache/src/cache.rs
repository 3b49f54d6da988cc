//! Looking for streams.
//!
//! Always true:
//! - a lookup that finds nothing costs no I/O: the file is made with the first bytes;
//! - what is handed out as a hit is open.
//!
//! Never here: the table itself.

use crate::header::{HEADER_BYTES, Header, PAYLOAD_OFFSET};
use crate::index::Look;
use crate::stream::{Source, Stream};
use crate::{Disk, Event, EvictionCause, Index, Key, Lead, Lookup, Note, Reader};
use std::io;
use std::sync::Arc;

/// What streams are called that nobody asks for.
const NOBODYS: Key = Key::new([0; 32]);
/// Stored streams that one lookup may find to be broken. After that it makes its own.
const ATTEMPTS_MAX: usize = 4;

/// One thread's way to the streams.
#[derive(Clone)]
pub struct Cache<D: Disk> {
    pub(crate) index: Arc<Index<D>>,
    pub(crate) disk: D,
}

/// What was found.
pub enum Fetch<D: Disk> {
    /// A finished stream.
    Hit(Reader<D>),
    /// A stream that is being made.
    Join(Reader<D>),
    /// Nothing: whoever asked makes it, and reads it like everybody else.
    Lead(Lead<D>, Reader<D>),
}

/// Why nothing can be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Too many streams are being made.
    #[error("{0} streams are being made, no more may be")]
    Full(usize),
}

// === impl Cache ===

impl<D: Disk> Cache<D> {
    /// A thread's way to `index`.
    pub fn new(index: Arc<Index<D>>, disk: D) -> Self {
        Self { index, disk }
    }

    /// What all threads share.
    pub fn index(&self) -> &Arc<Index<D>> {
        &self.index
    }

    /// Finds `key`. `note` is written beside the stream if it has to be made and is kept.
    ///
    /// # Errors
    /// Where it would have to be made, and too many are being made. Never because of the disk.
    pub async fn fetch(
        &self,
        key: Key,
        note: impl FnOnce() -> Note,
    ) -> Result<Fetch<D>, FetchError> {
        let admitted = self.index.admit(key, self.disk.now());
        if self.index.in_memory {
            // Whoever joined would miss what the first reader has taken.
            let look = self.index.look_away(key, self.disk.now())?;
            return Ok(self.lead(look, admitted.err(), note));
        }
        for _ in 0..ATTEMPTS_MAX {
            let look = self.index.look(key, admitted.is_ok(), self.disk.now())?;
            let (stream, reader, finished, kept) = match look {
                Look::Read { stream, reader, finished, kept } => (stream, reader, finished, kept),
                Look::Make { .. } => return Ok(self.lead(look, admitted.err(), note)),
            };
            let reader = Reader::new(self.index.clone(), self.disk.clone(), stream, reader);
            if !finished {
                self.tell(Lookup::Join, reader.stream());
                return Ok(Fetch::Join(reader));
            }
            if !kept || self.open(&reader).await {
                self.tell(Lookup::Hit, reader.stream());
                return Ok(Fetch::Hit(reader));
            }
        }
        let look = self.index.look_away(key, self.disk.now())?;
        Ok(self.lead(look, admitted.err(), note))
    }

    /// A stream that nobody else finds.
    ///
    /// # Errors
    /// Where too many are being made.
    pub async fn alone(&self) -> Result<(Lead<D>, Reader<D>), FetchError> {
        let look = self.index.look_away(NOBODYS, self.disk.now())?;
        Ok(self.make(look, Note::default()))
    }

    fn lead(
        &self,
        look: Look<D>,
        refused: Option<crate::Unstored>,
        note: impl FnOnce() -> Note,
    ) -> Fetch<D> {
        let note = if refused.is_none() { note() } else { Note::default() };
        let (lead, reader) = self.make(look, note);
        if let Some(reason) = refused {
            let key = lead.stream.key;
            self.index.tell(&Event::Unstored { key, reason, error: None });
        }
        Fetch::Lead(lead, reader)
    }

    fn make(&self, look: Look<D>, note: Note) -> (Lead<D>, Reader<D>) {
        let (Look::Make { stream, reader } | Look::Read { stream, reader, .. }) = look;
        let (index, disk) = (self.index.clone(), self.disk.clone());
        let reader = Reader::new(index.clone(), disk.clone(), stream.clone(), reader);
        self.tell(Lookup::Lead, &stream);
        (Lead::new(index, disk, stream, note), reader)
    }

    fn tell(&self, lookup: Lookup, stream: &Stream<D>) {
        let key = Some(stream.key).filter(|key| *key != NOBODYS);
        let (bytes, age) = (stream.finished_bytes(), self.disk.now().saturating_sub(stream.begun));
        self.index.tell(&Event::Looked { key, lookup, bytes, age });
    }

    /// Opens a kept stream's file if it is not, and sees that it is still there, whole.
    async fn open(&self, reader: &Reader<D>) -> bool {
        let stream = reader.stream();
        let cause = match stream.source() {
            Some(source) => match self.disk.linked_bytes(&source.file) {
                Some(bytes) if is_whole(stream, &source, bytes) => return true,
                // Packs lose their names to a repack; what is open stays whole without one.
                None if stream.is_adopted() => return true,
                // Somebody has cut it: readers would be given a part and fail.
                Some(_) => EvictionCause::Corrupt,
                None => EvictionCause::Vanished,
            },
            None => match self.open_file(reader).await {
                Ok(source) => {
                    stream.set_source(source);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => EvictionCause::Vanished,
                Err(_) => EvictionCause::Corrupt,
            },
        };
        self.index.lose(stream, cause, self.disk.now());
        false
    }

    /// The file at a kept stream's place, if it is the stream's.
    async fn open_file(&self, reader: &Reader<D>) -> io::Result<Source<D>> {
        let stream = reader.stream();
        let length_bytes = stream.written();
        let instance = stream.instance().ok_or(io::ErrorKind::NotFound)?;
        let (file, file_bytes) = self.disk.open(&instance.stream_path(&stream.key)).await?;
        let header = self.disk.read(&file, 0, HEADER_BYTES).await?;
        let header = Header::decode(&header).map_err(io::Error::other)?;
        let same = header.key == stream.key && header.length_bytes == length_bytes;
        if !same || file_bytes != PAYLOAD_OFFSET + length_bytes {
            return Err(io::Error::other("another stream lies in its place"));
        }
        Ok(Source { file, offset_bytes: PAYLOAD_OFFSET })
    }
}

/// Whether a file of `file_bytes` has all of a stream. Behind a range of somebody else's file more
/// may follow; a file of our own ends with the stream.
fn is_whole<D: Disk>(stream: &Stream<D>, source: &Source<D>, file_bytes: u64) -> bool {
    let end = source.offset_bytes + stream.written();
    if stream.is_adopted() { file_bytes >= end } else { file_bytes == end }
}
