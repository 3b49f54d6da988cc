//! One object directory, with the packs that were last listed in it.
//!
//! Always true: an older listing never replaces a newer one.
//! Never here: when to list again, and in which order directories are searched.

use super::StoreError;
use super::pack_set::PackSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// One object directory.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) objects: PathBuf,
    pack_dir: PathBuf,
    packs: RwLock<Arc<PackSet>>,
    /// Held while listing, so that an older listing never replaces a newer one.
    scanning: Mutex<()>,
    /// Counts the rescans that found other packs.
    rescans: AtomicU64,
}

// === impl Level ===

impl Level {
    pub(super) fn open(objects: &Path) -> Result<Self, StoreError> {
        let pack_dir = objects.join("pack");
        let packs = RwLock::new(Arc::new(PackSet::scan(&pack_dir, None)?));
        Ok(Self {
            objects: objects.to_owned(),
            pack_dir,
            packs,
            scanning: Mutex::new(()),
            rescans: AtomicU64::new(0),
        })
    }

    pub(super) fn packs(&self) -> Arc<PackSet> {
        Arc::clone(&self.packs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often listing again found other packs.
    pub(super) fn rescans(&self) -> u64 {
        self.rescans.load(Ordering::SeqCst)
    }

    /// Lists the packs again if the directory may have changed, and counts it if others were
    /// found: before the lock is released, so that whoever waited for it knows to look again.
    pub(super) fn rescan(&self) -> Result<(), StoreError> {
        let _scanning = self.scanning.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.packs();
        if !before.is_stale(&self.pack_dir) {
            return Ok(());
        }
        let now = PackSet::scan(&self.pack_dir, Some(&before))?;
        let changed = !before.is_same(&now);
        *self.packs.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        if changed {
            self.rescans.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}
