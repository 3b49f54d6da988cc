//! Files without their names.
//!
//! Always true: a file's bytes count as used as long as it has a name or a holder, never longer.
//! Never here: directories.

use crate::executor::ProcessId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What names and holders share.
pub(crate) struct Inode {
    pub(crate) state: Mutex<Content>,
    used_bytes: Arc<AtomicU64>,
}

#[derive(Default)]
pub(crate) struct Content {
    pub(crate) data: Vec<u8>,
    pub(crate) names: u32,
    pub(crate) holders: u32,
    /// Written since power was last lost: pages may be in memory only.
    pub(crate) volatile: bool,
    /// Cut or changed by somebody else than its writer.
    pub(crate) tampered: bool,
    pub(crate) locked_by: Option<(ProcessId, u64)>,
}

/// An open file.
pub(crate) struct SimFile(Arc<Inode>);

/// A lock as flock(2) has it: on the file, not on its name.
pub(crate) struct SimLock {
    inode: Arc<Inode>,
    holder: (ProcessId, u64),
}

// === impl Inode ===

impl Inode {
    pub(crate) fn new(used_bytes: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), used_bytes })
    }

    /// Changes the content and keeps the sum of used bytes right.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        let mut content = self.state.lock().unwrap();
        let before = content.used_bytes();
        let result = change(&mut content);
        let after = content.used_bytes();
        self.used_bytes.fetch_add(after, Ordering::Relaxed);
        self.used_bytes.fetch_sub(before, Ordering::Relaxed);
        result
    }

    /// What it takes of the disk.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.state.lock().unwrap().used_bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().data.clone()
    }
}

// === impl Content ===

impl Content {
    fn used_bytes(&self) -> u64 {
        if self.names == 0 && self.holders == 0 { 0 } else { self.data.len() as u64 }
    }
}

// === impl SimFile ===

impl SimFile {
    pub(crate) fn new(inode: &Arc<Inode>) -> Arc<Self> {
        inode.change(|content| content.holders += 1);
        Arc::new(Self(Arc::clone(inode)))
    }

    pub(crate) fn inode(&self) -> &Arc<Inode> {
        &self.0
    }

    pub(crate) fn linked_bytes(&self) -> Option<u64> {
        let content = self.0.state.lock().unwrap();
        (content.names > 0).then_some(content.data.len() as u64)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.0.change(|content| content.holders -= 1);
    }
}

// === impl SimLock ===

impl SimLock {
    pub(crate) fn take(inode: &Arc<Inode>, holder: (ProcessId, u64)) -> Option<Self> {
        let mut content = inode.state.lock().unwrap();
        if content.locked_by.is_some() {
            return None;
        }
        content.locked_by = Some(holder);
        Some(Self { inode: Arc::clone(inode), holder })
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut content = self.inode.state.lock().unwrap();
        if content.locked_by == Some(self.holder) {
            content.locked_by = None;
        }
    }
}
