//! Patterns of `git for-each-ref`: a full name, a leading part of one up to a slash, or a glob.
//!
//! Always true: a ref is found once however many patterns it fits; refs come sorted by name.
//! Never here: abbreviated names.

use bstr::{BStr, BString, ByteSlice};

use crate::config::wildmatch;
use crate::refs::Ref;
use crate::repository::Snapshot;

/// Names that are compared for one list, weighted by [`weight`]. At 10 ns each this is 40 ms, for
/// which one worker may be held up.
const COMPARISONS_MAX: usize = 4_000_000;
/// What each star of a pattern multiplies a comparison by: behind it, every place is tried.
const STAR_WEIGHT: usize = 8;

/// Patterns of which a ref has to fit one; if there are none, all refs do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<BString>);

// === impl Patterns ===

impl Patterns {
    /// Takes patterns as they are given to git.
    pub fn new(patterns: Vec<BString>) -> Self {
        Self(patterns)
    }

    /// The refs that fit and are not broken; none where that takes too long to tell.
    pub fn of<'a>(&self, snapshot: &'a Snapshot) -> Option<impl Iterator<Item = &'a Ref>> {
        let candidates = self.prefixes().into_iter().map(|prefix| snapshot.with_prefix(prefix));
        let candidates: Vec<_> = candidates.collect();
        let names = candidates.iter().map(|refs| refs.len()).sum();
        if self.comparisons(names) > COMPARISONS_MAX {
            return None;
        }
        let refs = candidates.into_iter().flatten();
        Some(refs.filter(|one| !one.is_broken() && self.fit(one.name.as_bstr())))
    }

    /// What it takes to compare so many names with every pattern.
    pub(super) fn comparisons(&self, names: usize) -> usize {
        let weights = self.0.iter().map(|pattern| weight(pattern));
        names.saturating_mul(weights.fold(0, usize::saturating_add).max(1))
    }

    fn fit(&self, name: &BStr) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| fits(pattern.as_bstr(), name))
    }

    /// What the names of all that fit begin with, sorted, none beginning with another.
    fn prefixes(&self) -> Vec<&[u8]> {
        if self.0.is_empty() {
            return vec![b""];
        }
        let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        let plain = |pattern: &BString| pattern.iter().take_while(|byte| !is_special(byte)).count();
        let mut prefixes: Vec<_> = self.0.iter().map(|one| &one[..plain(one)]).collect();
        prefixes.sort_unstable();
        prefixes.dedup_by(|longer, shorter| longer.starts_with(shorter));
        prefixes
    }
}

/// How much longer than with a plain name a comparison takes.
fn weight(pattern: &[u8]) -> usize {
    let starts = |pair: &[u8]| pair[0] != b'*' && pair[1] == b'*';
    let stars = pattern.windows(2).filter(|pair| starts(pair)).count();
    let stars = stars + usize::from(pattern.first() == Some(&b'*'));
    STAR_WEIGHT.saturating_pow(u32::try_from(stars).unwrap_or(u32::MAX))
}

fn fits(pattern: &BStr, name: &BStr) -> bool {
    let is_leading = name
        .strip_prefix(pattern.as_bytes())
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')) || pattern.ends_with(b"/"));
    is_leading || wildmatch::matches(pattern, name, false)
}
