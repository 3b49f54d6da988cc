//! Objects by the first digits of their ids (gitrevisions(7), "<sha1>").
//!
//! Always true: an id is answered once, however often the object is stored; damaged indexes are
//! passed over, as by git.
//! Never here: which of several objects is meant.

use super::{Level, Store, StoreError, loose};
use crate::ObjectId;
use std::collections::BTreeSet;

/// Hexadecimal digits of an id of SHA-1.
const DIGITS_MAX: usize = 40;
/// git's `MINIMUM_ABBREV`: fewer digits never name an object.
const DIGITS_MIN: usize = 4;

/// The first digits of an object's id: 4 to 40.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// With zeros in the place of what is not known.
    first: ObjectId,
    digits: usize,
}

/// Ids that begin with a prefix.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) ids: BTreeSet<ObjectId>,
    pub(super) ids_max: usize,
}

// === impl Prefix ===

impl Prefix {
    /// Reads 4 to 40 hexadecimal digits of either case. `None`: anything else.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) {
            return None;
        }
        let mut hex = [b'0'; DIGITS_MAX];
        hex[..digits.len()].copy_from_slice(digits);
        let first = ObjectId::from_hex(&hex).ok()?;
        Some(Self { first, digits: digits.len() })
    }

    /// The lowest id that begins so.
    pub(super) fn first(&self) -> &ObjectId {
        &self.first
    }

    /// Whether `id` begins so.
    pub(super) fn matches(&self, id: &ObjectId) -> bool {
        let whole = self.digits / 2;
        let (id, first) = (id.as_slice(), self.first.as_slice());
        id[..whole] == first[..whole]
            && (self.digits.is_multiple_of(2) || id[whole] >> 4 == first[whole] >> 4)
    }
}

// === impl Candidates ===

impl Candidates {
    /// Adds an id; false once there is no room for more.
    pub(super) fn add(&mut self, id: ObjectId) -> bool {
        self.ids.insert(id);
        self.ids.len() <= self.ids_max
    }
}

// === impl Store ===

impl Store {
    /// The ids of all objects that begin with `prefix`, sorted; `None` if they are more than
    /// `ids_max`. Lists a directory of loose objects for each object directory.
    pub fn with_prefix(
        &self,
        prefix: &Prefix,
        ids_max: usize,
    ) -> Result<Option<Vec<ObjectId>>, StoreError> {
        self.may_wait()?;
        let mut found = Candidates { ids: BTreeSet::new(), ids_max };
        self.levels.iter().try_for_each(|level| level.with_prefix(prefix, &mut found))?;
        if found.ids.is_empty() {
            // It may have been packed, or come, since the packs were listed.
            self.rescan()?;
            self.levels.iter().try_for_each(|level| level.with_prefix(prefix, &mut found))?;
        }
        let is_complete = found.ids.len() <= ids_max;
        Ok(is_complete.then(|| found.ids.into_iter().collect()))
    }
}

// === impl Level ===

impl Level {
    fn with_prefix(&self, prefix: &Prefix, found: &mut Candidates) -> Result<(), StoreError> {
        loose::with_prefix(&self.objects, prefix, found)?;
        self.packs().with_prefix(prefix, found);
        Ok(())
    }
}
