//! Files that have to go, and who may touch which name.
//!
//! Dropping a handle cannot wait for the disk, so what it leaves behind is queued here. Whoever
//! needs the space, or the house, removes it.
//!
//! Always true:
//! - a name that is being removed or given is claimed by one at a time, so that a late removal
//!   never takes the file of a newer stream;
//! - a claim that is dropped half-way puts its removal back.
//!
//! Never here: I/O.

use crate::Disk;
use crate::budget::Charge;
use crate::index::Index;
use crate::instances::Instance;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Removals that wait. Beyond, a file stays until another process adopts the directory.
const QUEUED_MAX: usize = 1 << 20;

/// A file that has to go.
pub(crate) struct Removal<D: Disk> {
    /// Keeps its directory locked.
    #[expect(dead_code, reason = "held, never looked at")]
    pub(crate) instance: Arc<Instance<D>>,
    /// Keep the bytes counted of every file that may have had the name.
    pub(crate) charges: Vec<Arc<Charge>>,
}

/// Names that wait for their removal, and names in somebody's hands.
pub(crate) struct Removals<D: Disk> {
    queued: BTreeMap<PathBuf, Removal<D>>,
    /// Could not be removed: tried again by the house.
    failed: BTreeMap<PathBuf, Removal<D>>,
    claimed: BTreeSet<PathBuf>,
    /// How many of the claims are removals.
    removing: usize,
}

/// The right to remove or replace one name.
pub(crate) struct Claim<'a, D: Disk> {
    index: &'a Index<D>,
    pub(crate) path: PathBuf,
    removal: Option<Removal<D>>,
    is_removing: bool,
}

/// What the queue has to offer.
pub(crate) enum Next<'a, D: Disk> {
    /// This one, now.
    Claim(Claim<'a, D>),
    /// Nothing, but others are removing something.
    Busy,
    /// Nothing.
    None,
}

// === impl Removals ===

impl<D: Disk> Removals<D> {
    pub(crate) fn new() -> Self {
        Self {
            queued: BTreeMap::new(),
            failed: BTreeMap::new(),
            claimed: BTreeSet::new(),
            removing: 0,
        }
    }

    pub(crate) fn push(&mut self, path: PathBuf, removal: Removal<D>) {
        if let Some(queued) = self.queued.get_mut(&path) {
            queued.charges.extend(removal.charges);
        } else if self.queued.len() < QUEUED_MAX {
            self.queued.insert(path, removal);
        }
    }

    fn fail(&mut self, path: PathBuf, removal: Removal<D>) {
        if self.failed.len() < QUEUED_MAX {
            self.failed.insert(path, removal);
        }
    }

    /// Those that failed wait again.
    fn retry(&mut self) {
        let failed = std::mem::take(&mut self.failed);
        failed.into_iter().for_each(|(path, removal)| self.push(path, removal));
    }

    fn next(&mut self) -> Option<(PathBuf, Removal<D>)> {
        let path = self.queued.keys().find(|path| !self.claimed.contains(*path))?.clone();
        let removal = self.queued.remove(&path)?;
        self.claimed.insert(path.clone());
        self.removing += 1;
        Some((path, removal))
    }
}

// === impl Index ===

impl<D: Disk> Index<D> {
    pub(crate) fn queue_removal(&self, path: PathBuf, removal: Removal<D>) {
        self.table().removals.push(path, removal);
        self.litter.notify_one();
    }

    pub(crate) fn retry_removals(&self) {
        self.table().removals.retry();
    }

    /// The next removal, claimed.
    pub(crate) fn next_removal(&self) -> Next<'_, D> {
        let mut table = self.table();
        match table.removals.next() {
            Some((path, removal)) => {
                Next::Claim(Claim { index: self, path, removal: Some(removal), is_removing: true })
            }
            None if table.removals.removing == 0 => Next::None,
            None => Next::Busy,
        }
    }

    /// Claims a name, whose removal becomes unnecessary if the claim is kept.
    pub(crate) async fn claim(&self, path: PathBuf) -> Claim<'_, D> {
        loop {
            let settled = self.settled.notified();
            {
                let removals = &mut self.table().removals;
                if removals.claimed.insert(path.clone()) {
                    let queued = removals.queued.remove(&path);
                    let removal = queued.or_else(|| removals.failed.remove(&path));
                    return Claim { index: self, path, removal, is_removing: false };
                }
            }
            settled.await;
        }
    }
}

// === impl Claim ===

impl<D: Disk> Claim<'_, D> {
    /// The name is about to be given to a file that does not stay unless the claim is kept.
    pub(crate) fn give(&mut self, mut removal: Removal<D>) {
        if let Some(before) = self.removal.take() {
            removal.charges.extend(before.charges);
        }
        self.removal = Some(removal);
    }

    /// Nothing has this name any more, or something else has.
    pub(crate) fn keep(mut self) {
        self.removal = None;
    }

    /// The removal failed, for now.
    pub(crate) fn fail(mut self) {
        if let Some(removal) = self.removal.take() {
            self.index.table().removals.fail(self.path.clone(), removal);
        }
    }
}

impl<D: Disk> Drop for Claim<'_, D> {
    fn drop(&mut self) {
        let mut table = self.index.table();
        table.removals.claimed.remove(&self.path);
        table.removals.removing -= usize::from(self.is_removing);
        if let Some(removal) = self.removal.take() {
            table.removals.push(std::mem::take(&mut self.path), removal);
        }
        drop(table);
        self.index.settled.notify_waiters();
    }
}
