//! How much lies in packs, told without looking into them.

use super::Store;
use super::level::Level;
use std::sync::Arc;

/// What is known of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// Objects; those that lie in two packs count twice, loose ones not at all.
    pub objects: u64,
    /// One of the packs has a reachability bitmap of its own.
    pub has_bitmap: bool,
}

// === impl Store ===

impl Store {
    /// Counts the packs of all directories, as they were when last listed. Costs a `stat` or two
    /// for each pack that was not looked into yet.
    pub fn packed(&self) -> Packed {
        let packed = |level: &Arc<Level>| level.packs().packed();
        self.levels.iter().map(packed).fold(Packed::default(), |sum, one| Packed {
            objects: sum.objects + one.objects,
            has_bitmap: sum.has_bitmap || one.has_bitmap,
        })
    }
}
