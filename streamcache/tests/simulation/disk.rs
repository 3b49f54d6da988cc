//! A disk in memory that fails as real ones do, seeded.
//!
//! Always true:
//! - an operation takes effect at one instant between its first poll and its end, or, where its
//!   future is dropped, once or never, at that instant or some time later;
//! - what a dead process holds is released.
//!
//! Never here: the world's files.

pub(crate) mod faults;
pub(crate) mod file;
pub(crate) mod power;
mod volume;

#[cfg(test)]
mod tests;

pub(crate) use faults::Faults;
pub(crate) use file::{SimFile, SimLock};
pub(crate) use volume::Volume;

use crate::executor::{Executor, ProcessId, Spawn};
use crate::trace::trace;
use bytes::Bytes;
use faults::Operation;
use gitring_streamcache::{Clock, Disk, Listed};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The disk as one process sees it.
#[derive(Clone)]
pub(crate) struct SimDisk {
    executor: Executor,
    volume: Volume,
    process: ProcessId,
}

// === impl SimDisk ===

impl SimDisk {
    pub(crate) fn new(executor: Executor, volume: Volume, process: ProcessId) -> Self {
        Self { executor, volume, process }
    }

    /// Waits, fails or does `work`, as the seed has it.
    async fn perform<T: 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Volume) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        let turn = self.volume.roll(operation);
        let mut begun = Begun { disk: self, work: Some(work) };
        if let Some(pause) = turn.before {
            self.executor.sleep(pause).await;
        }
        let work = begun.work.take();
        let result = match (turn.error, work) {
            (Some(error), _) => Err(error),
            (None, Some(work)) => work(&self.volume),
            (None, None) => Err(io::Error::other("polled after its end")),
        };
        trace(self.executor.now(), || {
            let error = result.as_ref().err();
            format!("    process {}: {operation:?}: {error:?}", self.process)
        });
        if let Some(pause) = turn.after {
            self.executor.sleep(pause).await;
        }
        result
    }
}

/// An operation that has not taken effect.
struct Begun<'a, T, W>
where
    T: 'static,
    W: FnOnce(&Volume) -> io::Result<T> + 'static,
{
    disk: &'a SimDisk,
    work: Option<W>,
}

// === impl Begun ===

impl<T, W> Drop for Begun<'_, T, W>
where
    T: 'static,
    W: FnOnce(&Volume) -> io::Result<T> + 'static,
{
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let SimDisk { executor, volume, process } = self.disk;
        match volume.roll_dropped() {
            faults::Dropped::Never => {}
            faults::Dropped::Now => drop(work(volume)),
            faults::Dropped::Later(pause) => {
                let (clock, volume) = (executor.clone(), volume.clone());
                let late = volume.late();
                // The system ends what a process has begun before it releases its locks.
                let (name, process) = ("late operation".to_owned(), *process);
                executor.spawn(Spawn { name, process, background: true }, async move {
                    clock.sleep(pause).await;
                    drop(work(&volume));
                    drop(late);
                });
            }
        }
    }
}

impl Clock for SimDisk {
    fn now(&self) -> Duration {
        self.volume.wall_clock(self.executor.now())
    }

    fn sleep(&self, pause: Duration) -> impl Future<Output = ()> {
        self.executor.sleep(pause)
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    async fn create(&self, path: &Path) -> io::Result<Arc<SimFile>> {
        let path = path.to_owned();
        self.perform(Operation::Create, move |volume| volume.create(&path)).await
    }

    async fn create_unnamed(&self, directory: &Path) -> io::Result<Arc<SimFile>> {
        let directory = directory.to_owned();
        self.perform(Operation::Create, move |volume| volume.create_unnamed(&directory)).await
    }

    async fn open(&self, path: &Path) -> io::Result<(Arc<SimFile>, u64)> {
        let path = path.to_owned();
        self.perform(Operation::Open, move |volume| volume.open(&path)).await
    }

    async fn write(&self, file: &Arc<SimFile>, offset_bytes: u64, data: Bytes) -> io::Result<()> {
        let (file, partial) = (Arc::clone(file), self.volume.roll_partial(data.len()));
        self.perform(Operation::Write, move |volume| {
            volume.write(&file, offset_bytes, &data, partial)
        })
        .await
    }

    async fn read(
        &self,
        file: &Arc<SimFile>,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> io::Result<Bytes> {
        let file = Arc::clone(file);
        self.perform(Operation::Read, move |volume| volume.read(&file, offset_bytes, length_bytes))
            .await
    }

    fn is_sound(&self, _: &SimFile) -> bool {
        true
    }

    fn linked_bytes(&self, file: &SimFile) -> Option<u64> {
        file.linked_bytes()
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.perform(Operation::Name, move |volume| volume.rename(&from, &to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.perform(Operation::Name, move |volume| volume.remove(&path)).await
    }

    async fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.perform(Operation::Name, move |volume| volume.remove_directory(&path)).await
    }

    async fn create_directory(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.perform(Operation::Create, move |volume| volume.create_directory(&path)).await
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let directory = directory.to_owned();
        self.perform(Operation::Open, move |volume| volume.list(&directory)).await
    }

    async fn lock(&self, path: &Path) -> io::Result<Option<SimLock>> {
        let (path, process) = (path.to_owned(), self.process);
        self.perform(Operation::Create, move |volume| volume.lock(&path, process)).await
    }

    async fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        self.perform(Operation::Open, |volume| Ok(volume.free_bytes())).await
    }
}
