//! A machine: its disk, the processes on it, and the model beside it.
//!
//! Always true: whatever goes through here is told to the model before and after.
//! Never here: choices of what is done.

use crate::disk::file::Inode;
use crate::disk::{Faults, SimDisk, Volume};
use crate::executor::{Executor, ProcessId, Spawn, TaskId};
use crate::handles::{Found, WatchedLead, WatchedReader};
use crate::model::{Model, Run, Watcher};
use crate::rng::Rng;
use crate::trace::trace;
use bytes::Bytes;
use gitring_streamcache::{Cache, Fetch, FetchError, Index, Key, Limits, Lookup, Note};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Where the processes keep their streams.
pub(crate) const DIRECTORY: &str = "/var/cache";
/// Where packs of somebody else lie, which leads adopt.
pub(crate) const FOREIGN: &str = "/packs";
/// What every process does by itself has been done after this time.
pub(crate) const SETTLED: Duration = Duration::from_secs(200);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) volume: Volume,
    pub(crate) model: Model,
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    rng: Rng,
    processes: BTreeMap<ProcessId, Running>,
    last_process: ProcessId,
    /// Clients and producers: who may be killed alone.
    mortals: Vec<TaskId>,
    /// Somebody else's files, whether they still have names or not.
    foreign: Vec<(PathBuf, Arc<Inode>)>,
}

struct Running {
    index: Arc<Index<SimDisk>>,
    disk: SimDisk,
}

// === impl World ===

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (executor, volume) = (Executor::new(rng.fork()), Volume::new(rng.fork()));
        let inner = Inner {
            rng,
            processes: BTreeMap::new(),
            last_process: 0,
            mortals: Vec::new(),
            foreign: Vec::new(),
        };
        volume.make_directory(Path::new(FOREIGN));
        let inner = Rc::new(RefCell::new(inner));
        Self { executor, volume, model: Model::default(), inner }
    }

    pub(crate) fn rng(&self) -> Rng {
        self.inner.borrow_mut().rng.fork()
    }

    /// A new process over the directory, with its housekeeper.
    pub(crate) fn start(&self, limits: Limits) -> ProcessId {
        let mut inner = self.inner.borrow_mut();
        inner.last_process += 1;
        let process = inner.last_process;
        self.model.state().process_started(process, limits);
        let watcher =
            Arc::new(Watcher { model: self.model.clone(), clock: self.executor.shown(), process });
        let index = Arc::new(Index::new(DIRECTORY.into(), limits, watcher));
        let disk = SimDisk::new(self.executor.clone(), self.volume.clone(), process);
        let cache = Cache::new(Arc::clone(&index), disk.clone());
        inner.processes.insert(process, Running { index, disk });
        drop(inner);
        let who = Spawn { name: format!("housekeeper {process}"), process, background: true };
        self.executor.spawn(who, async move { cache.keep_house().await });
        process
    }

    /// kill -9.
    pub(crate) fn crash(&self, process: ProcessId) {
        trace(self.executor.now(), || format!("process {process} dies"));
        self.model.state().process_died(process);
        self.executor.kill_process(process);
        let dead = self.inner.borrow_mut().processes.remove(&process);
        drop(dead);
        self.volume.release_locks(process);
    }

    /// All processes die, and the disk loses what it likes.
    pub(crate) fn lose_power(&self) {
        self.processes().into_iter().for_each(|process| self.crash(process));
        self.volume.lose_power();
    }

    /// How many processes there were.
    pub(crate) fn last_process(&self) -> ProcessId {
        self.inner.borrow().last_process
    }

    pub(crate) fn processes(&self) -> Vec<ProcessId> {
        self.inner.borrow().processes.keys().copied().collect()
    }

    /// Bytes on the disk that are none of the cache's.
    pub(crate) fn foreign_bytes(&self) -> u64 {
        self.inner.borrow().foreign.iter().map(|(_, inode)| inode.used_bytes()).sum()
    }

    pub(crate) fn index(&self, process: ProcessId) -> Arc<Index<SimDisk>> {
        Arc::clone(&self.inner.borrow().processes[&process].index)
    }

    pub(crate) fn disk(&self, process: ProcessId) -> SimDisk {
        self.inner.borrow().processes[&process].disk.clone()
    }

    /// A task that may be killed alone, or dies with its process.
    pub(crate) fn spawn_mortal(
        &self,
        process: ProcessId,
        name: String,
        work: impl Future<Output = ()> + 'static,
    ) -> TaskId {
        let id = self.executor.spawn(Spawn { name, process, background: false }, work);
        self.inner.borrow_mut().mortals.push(id);
        id
    }

    /// Kills one client or producer, if it still lives.
    pub(crate) fn kill_somebody(&self) {
        let victim = {
            let Inner { rng, mortals, .. } = &mut *self.inner.borrow_mut();
            match mortals.len() {
                0 => return,
                count => mortals.swap_remove(rng.below(count as u64) as usize),
            }
        };
        self.executor.kill(victim);
    }

    /// Asks for a key; whoever leads makes `content`.
    pub(crate) async fn fetch(
        &self,
        process: ProcessId,
        key: Key,
        content: impl FnOnce() -> Bytes,
    ) -> Result<Found, FetchError> {
        let (index, disk) = (self.index(process), self.disk(process));
        let cache = Cache::new(index, disk);
        let now = self.executor.now();
        let read_failures = self.volume.read_failures();
        let asked = self.model.state().asks((process, key), now, read_failures);
        let note = || Note::new(Bytes::copy_from_slice(key.as_bytes())).expect("32 bytes fit");
        let (lookup, reader, lead) = match cache.fetch(key, note).await? {
            Fetch::Hit(reader) => (Lookup::Hit, reader, None),
            Fetch::Join(reader) => (Lookup::Join, reader, None),
            Fetch::Lead(lead, reader) => (Lookup::Lead, reader, Some(lead)),
        };
        let new = lead.as_ref().map(|_| Run::new(asked, content()));
        let (id, run) = self.model.state().found(asked, lookup, new);
        trace(self.executor.now(), || format!("{lookup:?} of {key}: reader {id}, run {run:?}"));
        let reader = WatchedReader::new(self.clone(), id, reader);
        let lead = lead.zip(run).map(|(lead, run)| WatchedLead::new(self.clone(), run, lead));
        Ok(Found { lookup, reader, lead })
    }

    /// A file that lies on the disk whatever the cache does, open.
    pub(crate) async fn foreign_file(
        &self,
        process: ProcessId,
        content: &[u8],
    ) -> Option<Arc<crate::disk::SimFile>> {
        use gitring_streamcache::Disk;
        let number = self.inner.borrow().foreign.len();
        let path = PathBuf::from(format!("{FOREIGN}/{number}.pack"));
        let inode = self.volume.place(&path, content);
        self.inner.borrow_mut().foreign.push((path.clone(), inode));
        let opened = self.disk(process).open(&path).await;
        opened.ok().map(|(file, _)| file)
    }

    /// A repack: every file that leads have adopted loses its name.
    pub(crate) fn repack(&self) {
        let inner = self.inner.borrow();
        inner.foreign.iter().for_each(|(path, _)| self.volume.remove_file(path));
    }

    /// Waits until every process has done by itself what it has to do.
    pub(crate) fn settle(&self) {
        self.volume.set_faults(Faults::default());
        let (clock, name) = (self.executor.clone(), "patience".to_owned());
        self.executor.spawn(Spawn { name, process: 0, background: false }, async move {
            clock.sleep(SETTLED).await;
        });
        self.run();
    }

    /// Runs until clients and producers are done, and looks at the budgets after every step.
    pub(crate) fn run(&self) {
        let mut check = || self.check_budgets();
        self.executor.run(&mut check);
    }
}
