//! What a child is expected to need, from what is known before it starts.
//!
//! Always true: an estimate costs no look at objects; it is made of counts that somebody has
//! anyway. Figures are resident anonymous memory of git 2.39 with two threads over 638,000
//! objects, rounded up: `pack-objects` 230 bytes an object, 20 with bitmaps, 5 MiB beyond its base
//! for 200 commits of news; `index-pack` 80, and the cache of delta bases; `rev-list --objects` 84.

use super::Share;
use super::budget::Lane;

const MIB: u64 = 1 << 20;
/// A git process that has opened a repository.
const BASE_BYTES: u64 = 8 * MIB;
/// `rev-list` through all commits of a large history holds the most of those that are asked.
const QUESTION_BYTES: u64 = 16 * MIB;
/// `pack-objects` with its threads, before it knows an object.
const PACK_BASE_BYTES: u64 = 16 * MIB;
const PACK_OBJECT_BYTES: u64 = 240;
/// Where bitmaps tell what goes along, or most objects are the client's.
const PACK_KNOWN_OBJECT_BYTES: u64 = 32;
const UNPACK_OBJECT_BYTES: u64 = 144;
/// Counted of a pack that is to come: how many it has is its sender's word, for which nothing was
/// sent yet. `index-pack` asks for its table at once, but no page of it is resident before the
/// objects come that fill it.
const UNPACK_OBJECTS_MAX: u32 = 1 << 20;
/// `core.deltaBaseCacheLimit`, which a small pack does not fill.
const DELTA_BASES_BYTES_MAX: u64 = 96 * MIB;
const DELTA_BASE_BYTES: u64 = 4096;
/// Whatever a hook is.
const HOOK_BYTES: u64 = 32 * MIB;

/// Which share a child belongs to, and how much memory it is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Whose places it takes.
    pub share: Share,
    /// Expected at most.
    pub memory_bytes: u64,
}

/// What a `pack-objects` has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackWork {
    /// Objects of the repository and its alternates.
    pub objects: u64,
    /// A bitmap says what is reachable, or the client has most of it.
    pub is_known: bool,
}

// === impl Need ===

impl Need {
    /// A child that answers questions about a repository.
    pub fn question() -> Self {
        Self { share: Share::Questions, memory_bytes: QUESTION_BYTES }
    }

    /// A child that makes a pack.
    pub fn pack(work: PackWork) -> Self {
        let each = if work.is_known { PACK_KNOWN_OBJECT_BYTES } else { PACK_OBJECT_BYTES };
        let objects = work.objects.saturating_mul(each);
        Self { share: Share::Transfers, memory_bytes: PACK_BASE_BYTES.saturating_add(objects) }
    }

    /// A child that takes a pack of so many objects, as its header has it.
    pub fn unpack(objects: u32) -> Self {
        let objects = u64::from(objects.min(UNPACK_OBJECTS_MAX));
        let bases = (objects * DELTA_BASE_BYTES).min(DELTA_BASES_BYTES_MAX);
        let memory_bytes = BASE_BYTES + objects * UNPACK_OBJECT_BYTES + bases;
        Self { share: Share::Transfers, memory_bytes }
    }

    /// A custom hook. It may ask the node something, so it must not stand in the way of questions.
    pub fn hook() -> Self {
        Self { share: Share::Transfers, memory_bytes: HOOK_BYTES }
    }

    /// git's own server, with what it starts, where nothing is known of the work.
    pub fn server() -> Self {
        Self { share: Share::Transfers, memory_bytes: 2 * PACK_BASE_BYTES + DELTA_BASES_BYTES_MAX }
    }

    /// Where it waits, if its call has so many questions running.
    pub(super) fn lane(self, questions: u32) -> Lane {
        match self.share {
            Share::Questions if questions > 0 => Lane::Further,
            Share::Questions => Lane::Questions,
            Share::Transfers => Lane::Transfers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: twelve bytes of a client's claim no more than a real push of a million objects takes.
    #[test]
    fn a_header_alone_claims_little() {
        fn check(objects: u32, expected_mib: u64) {
            let need = Need::unpack(objects);
            assert_eq!(need.memory_bytes.div_ceil(MIB), expected_mib, "{objects} objects");
            assert_eq!(need.share, Share::Transfers);
        }
        check(0, 8);
        check(1_000, 13);
        check(1 << 20, 248);
        check(100_000_000, 248);
        check(u32::MAX, 248);
    }
}
