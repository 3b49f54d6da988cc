//! Making room on the disk: for bytes, for entries, for others who use the file system.
//!
//! Always true:
//! - bytes are charged before they are written;
//! - a stream that somebody reads is never evicted for its bytes: they would not come free.
//!
//! Never here: what happens to a stream that gets no room.

use crate::budget::Charge;
use crate::removals::{Claim, Next};
use crate::table::Gone;
use crate::{Disk, EvictionCause, Index};
use std::io;

/// The share of `bytes_max`, as a divisor, up to which one stream may push others out. What is
/// larger takes free space only: it would leave nothing else, and may not fit in the end.
const EVICTING_SHARE: u64 = 2;

/// Streams evicted for one request for room; more than that and the disk is full of something else.
const VICTIMS_MAX: usize = 4_096;

impl<D: Disk> Index<D> {
    /// Charges `bytes`, evicting others as needed, as long as the charge is at most half of
    /// `bytes_max`; whether they fit.
    pub(crate) async fn reserve(&self, disk: &D, charge: &Charge, bytes: u64) -> bool {
        let evicting_bytes_max = self.limits.bytes_max / EVICTING_SHARE;
        for _ in 0..VICTIMS_MAX {
            if charge.try_grow(bytes) {
                return true;
            }
            // More than everything: no victim helps.
            if charge.bytes() + bytes > self.limits.bytes_max {
                return false;
            }
            let settled = self.settled.notified();
            match self.next_removal() {
                Next::Claim(claim) => remove(disk, claim).await,
                Next::Busy => settled.await,
                Next::None if charge.bytes() + bytes > evicting_bytes_max => {
                    return charge.try_grow(bytes);
                }
                Next::None => match self.evict_unread(EvictionCause::Bytes) {
                    Some(gone) => self.tell_gone(Some(gone), disk.now()),
                    None => return charge.try_grow(bytes),
                },
            }
        }
        false
    }

    /// Evicts and removes unread streams of `bytes` together, or some at least; whether there were
    /// any.
    pub(crate) async fn give_way(&self, disk: &D, bytes: u64) -> bool {
        let mut freed = self.remove_queued(disk).await;
        let mut evicted = 0;
        for _ in 0..VICTIMS_MAX {
            if evicted >= bytes {
                break;
            }
            let Some(gone) = self.evict_unread(EvictionCause::FreeSpace) else { break };
            evicted += gone.bytes;
            self.tell_gone(Some(gone), disk.now());
            freed |= self.remove_queued(disk).await;
        }
        freed
    }

    /// Whether the file system has so much left that `bytes` may be written.
    pub(crate) async fn has_free_space(&self, disk: &D, bytes: u64) -> bool {
        if self.limits.free_bytes_min == 0 {
            return true;
        }
        if !self.free_space.lock().is_due(bytes, disk.now()) {
            return !self.free_space.lock().is_low();
        }
        let mut missing = self.missing_bytes(disk, bytes).await;
        if missing > 0 && self.give_way(disk, missing).await {
            missing = self.missing_bytes(disk, bytes).await;
        }
        self.free_space.lock().answer(missing > 0);
        missing == 0
    }

    async fn missing_bytes(&self, disk: &D, bytes: u64) -> u64 {
        match disk.free_bytes(&self.instances.directory).await {
            Ok(free) => (self.limits.free_bytes_min.saturating_add(bytes)).saturating_sub(free),
            // A file system that cannot say is judged by its writes.
            Err(_) => 0,
        }
    }

    fn evict_unread(&self, cause: EvictionCause) -> Option<Gone<D>> {
        self.table().evict_next(true, cause)
    }

    /// Removes the files that wait for it; whether there were any.
    pub(crate) async fn remove_queued(&self, disk: &D) -> bool {
        let mut any = false;
        while let Next::Claim(claim) = self.next_removal() {
            remove(disk, claim).await;
            any = true;
        }
        any
    }
}

async fn remove<D: Disk>(disk: &D, claim: Claim<'_, D>) {
    match disk.remove(&claim.path).await {
        Ok(()) => claim.keep(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => claim.keep(),
        Err(_) => claim.fail(),
    }
}
