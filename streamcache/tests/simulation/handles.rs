//! Leads and readers that tell the model what they do.
//!
//! Always true: dropping one of them, at any point, is told to the model first.
//! Never here: choices.

use crate::disk::SimDisk;
use crate::model::{ReaderId, RunId};
use crate::trace::trace;
use crate::world::World;
use bytes::Bytes;
use gitring_streamcache::{Lead, Lookup, ReadError, Reader, WriteError};
use std::ops::Range;
use std::sync::Arc;

pub(crate) struct Found {
    pub(crate) lookup: Lookup,
    pub(crate) reader: WatchedReader,
    pub(crate) lead: Option<WatchedLead>,
}

pub(crate) struct WatchedReader {
    told: ReaderTold,
    inner: Reader<SimDisk>,
}

pub(crate) struct WatchedLead {
    told: LeadTold,
    inner: Lead<SimDisk>,
}

/// Dropped before the handle beside it.
struct ReaderTold {
    world: World,
    id: ReaderId,
}

struct LeadTold {
    world: World,
    run: RunId,
}

// === impl WatchedReader ===

impl WatchedReader {
    pub(crate) fn new(world: World, id: ReaderId, inner: Reader<SimDisk>) -> Self {
        Self { told: ReaderTold { world, id }, inner }
    }

    pub(crate) async fn read(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadError> {
        let ReaderTold { world, id } = &self.told;
        world.model.state().reader_asks(*id, world.executor.now());
        let answer = self.inner.read(bytes_max).await;
        let now = world.executor.now();
        trace(now, || {
            let got = answer.as_ref().map(|got| got.as_ref().map(Bytes::len));
            format!("reader {id} asks for {bytes_max}: {got:?}")
        });
        let mut model = world.model.state();
        match &answer {
            Ok(Some(bytes)) => {
                let fits = !bytes.is_empty() && bytes.len() <= bytes_max;
                assert!(fits, "{} bytes where 1 to {bytes_max} were asked for", bytes.len());
                model.reader_got(*id, bytes);
                assert_eq!(self.inner.position(), model.readers[id].position, "its position");
            }
            Ok(None) => model.reader_ended(*id),
            Err(error) => {
                model.reader_failed(*id, error, now, world.volume.read_failures());
            }
        }
        drop(model);
        answer
    }

    pub(crate) fn position(&self) -> u64 {
        self.inner.position()
    }

    pub(crate) fn length_bytes(&self) -> Option<u64> {
        self.inner.length_bytes()
    }
}

impl Drop for ReaderTold {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            trace(self.world.executor.now(), || format!("reader {} leaves", self.id));
            self.world.model.state().reader_left(self.id);
        }
    }
}

// === impl WatchedLead ===

impl WatchedLead {
    pub(crate) fn new(world: World, run: RunId, inner: Lead<SimDisk>) -> Self {
        Self { told: LeadTold { world, run }, inner }
    }

    pub(crate) fn run(&self) -> RunId {
        self.told.run
    }

    /// Writes the next `length` bytes of its content.
    pub(crate) async fn write(&mut self, length: usize) -> Result<(), WriteError> {
        let LeadTold { world, run } = &self.told;
        let data = {
            let mut model = world.model.state();
            let begin = model.runs[*run].written as usize;
            let data = model.runs[*run].content.slice(begin..begin + length);
            model.write_begins(*run, length as u64);
            data
        };
        let answer = self.inner.write(data).await;
        trace(world.executor.now(), || format!("run {run} wrote {length}: {answer:?}"));
        let mut model = world.model.state();
        match answer {
            Ok(()) => {
                model.write_ended(*run, world.executor.now(), world.volume.read_failures());
            }
            Err(WriteError::Abandoned) => model.said_abandoned(*run, world.executor.now()),
        }
        answer
    }

    pub(crate) async fn finish(self) {
        let Self { told, inner } = self;
        told.world.model.state().finish_begins(told.run);
        inner.finish().await;
        told.world.model.state().finish_ended(told.run);
    }

    pub(crate) async fn adopt(self, file: Arc<crate::disk::SimFile>, range: Range<u64>) {
        let Self { told, inner } = self;
        told.world.model.state().runs[told.run].adopted = true;
        told.world.model.state().finish_begins(told.run);
        inner.adopt(file, range).await;
        told.world.model.state().finish_ended(told.run);
    }

    pub(crate) fn fail(self, reason: &str) {
        let Self { told, inner } = self;
        let reason: Arc<str> = reason.into();
        told.world.model.state().run_failed(told.run, Some(Arc::clone(&reason)));
        inner.fail(reason);
    }

    /// It waited for that, and was not told: then somebody reads.
    pub(crate) fn was_not_abandoned(&self) {
        let read = self.told.world.model.state().attached(self.told.run).next().is_some();
        assert!(read, "nobody reads run {}, and its producer was not told", self.told.run);
    }

    pub(crate) async fn abandoned(&self) {
        self.inner.abandoned().await;
        let LeadTold { world, run } = &self.told;
        world.model.state().said_abandoned(*run, world.executor.now());
    }
}

impl Drop for LeadTold {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            trace(self.world.executor.now(), || format!("run {} is over", self.run));
            self.world.model.state().run_failed(self.run, None);
        }
    }
}
