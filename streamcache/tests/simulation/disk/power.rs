//! What happens to a disk from outside: power, operators, decay.
//!
//! Always true: what was on the disk when power was last lost is not lost by the next loss.
//! Never here: what a process does.

use super::Volume;
use super::file::{Content, Inode};
use super::volume::{Named, State};
use crate::executor::ProcessId;
use crate::rng::Rng;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

// === impl Volume ===

impl Volume {
    /// The machine loses power; its processes are dead already. Nothing was ever synced: names
    /// change back as far as the seed says, and every file that was written may be torn.
    pub(crate) fn lose_power(&self) {
        let mut state = self.state();
        let changes = state.undo.len() as u64;
        let lost = state.rng.skewed(changes);
        for _ in 0..lost {
            state.undo_one();
        }
        state.drop_strays();
        state.undo.clear();
        let State { names, rng, .. } = &mut *state;
        for named in names.values() {
            if let Named::File(inode) = named {
                inode.change(|content| content.lose_power(rng));
            }
        }
    }

    /// The locks of a process that is dead, whatever it has leaked.
    pub(crate) fn release_locks(&self, process: ProcessId) {
        for inode in self.files().into_values() {
            let mut content = inode.state.lock().unwrap();
            if content.locked_by.is_some_and(|(holder, _)| holder == process) {
                content.locked_by = None;
            }
        }
    }

    /// `rm -r`: the directory and all below it.
    pub(crate) fn remove_tree(&self, directory: &Path) {
        let mut state = self.state();
        let below = |path: &&PathBuf| path.starts_with(directory);
        let paths: Vec<_> = state.names.keys().filter(below).cloned().collect();
        paths.iter().rev().for_each(|path| state.set(path, None));
    }

    /// `rm` of one file.
    pub(crate) fn remove_file(&self, path: &Path) {
        self.state().set(path, None);
    }

    /// Cuts a file somewhere.
    pub(crate) fn truncate(&self, inode: &Inode, rng: &mut Rng) {
        inode.change(|content| {
            let length = rng.below(content.data.len() as u64 + 1) as usize;
            content.tampered |= length < content.data.len();
            content.data.truncate(length);
        });
    }

    /// Changes one byte of a file.
    pub(crate) fn decay(&self, inode: &Inode, rng: &mut Rng) {
        inode.change(|content| {
            content.tampered = true;
            if !content.data.is_empty() {
                let at = rng.below(content.data.len() as u64) as usize;
                content.data[at] ^= 1 << rng.below(8);
            }
        });
    }

    /// A file of somebody else, with this content.
    pub(crate) fn place(&self, path: &Path, data: &[u8]) -> Arc<Inode> {
        let file = self.create(path).expect("a new name in a directory that is there");
        self.sync_names();
        file.inode().change(|content| content.data.extend_from_slice(data));
        Arc::clone(file.inode())
    }

    /// Nothing fails any more, and there is room.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.faults = super::Faults::default();
        state.capacity_bytes = 1 << 40;
    }

    /// `mkdir -p` by somebody else.
    pub(crate) fn make_directory(&self, path: &Path) {
        self.create_directory(path).expect("nothing is in its way");
        self.sync_names();
    }

    /// The names that there are now survive a loss of power.
    fn sync_names(&self) {
        self.state().undo.clear();
    }

    /// The wall clock jumps.
    pub(crate) fn set_clock_error(&self, seconds: i64) {
        self.state().clock_error_secs = seconds;
    }
}

// === impl State ===

impl State {
    fn undo_one(&mut self) {
        while let Some(undo) = self.undo.pop() {
            self.set(&undo.path, undo.before);
            self.undo.pop();
            if !undo.joined {
                return;
            }
        }
    }

    /// Names whose directory came not back.
    fn drop_strays(&mut self) {
        loop {
            let orphaned = |path: &&PathBuf| {
                path.parent().is_some_and(|above| !self.names.contains_key(above))
            };
            let Some(stray) = self.names.keys().find(orphaned).cloned() else { return };
            self.set(&stray, None);
        }
    }
}

// === impl Content ===

impl Content {
    fn lose_power(&mut self, rng: &mut Rng) {
        if !std::mem::take(&mut self.volatile) {
            return;
        }
        let length = self.data.len();
        match rng.below(4) {
            0 | 1 => {}
            2 => {
                let kept = rng.below(length as u64 + 1) as usize;
                match rng.per_mille(500) {
                    true => self.data.truncate(kept),
                    false => self.data[kept..].fill(0),
                }
            }
            _ => {
                let lost = rng.between(1, 900) as u32;
                for sector in self.data.chunks_mut(SECTOR_BYTES) {
                    if rng.per_mille(lost) {
                        sector.fill(0);
                    }
                }
            }
        }
    }
}
