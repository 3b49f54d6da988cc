//! Which of many ids are among a few: one pass over what all refs of a repository point to.
//!
//! Always true: exact; the filter only spares look-ups.
//! Never here: what the ids stand for.

use std::collections::HashSet;

use crate::ObjectId;

/// One bit for the first two bytes of an id.
const WORDS: usize = 1 << 10;

/// The ids of `few` that are in `many`.
pub(super) fn common(few: &HashSet<ObjectId>, many: &[ObjectId]) -> HashSet<ObjectId> {
    let mut filter = vec![0_u64; WORDS];
    let place = |id: &ObjectId| {
        let bytes = id.as_slice();
        let bit = usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
        (bit / 64, bit % 64)
    };
    for id in few {
        let (word, bit) = place(id);
        filter[word] |= 1 << bit;
    }
    let may_be = |id: &&ObjectId| {
        let (word, bit) = place(id);
        filter[word] >> bit & 1 == 1
    };
    many.iter().filter(may_be).filter(|id| few.contains(*id)).copied().collect()
}
