//! The packs of one object directory as they were when it was last listed.
//!
//! Always true: a set never changes, a rescan makes a new one that shares the files still there;
//! files are opened when first looked into, and stay readable after they were unlinked.
//! Never here: loose objects, alternates, and when to rescan.

use super::StoreError;
use super::chain::Chains;
use super::multi_pack_index::MultiPackIndex;
use super::pack::Pack;
use super::pack_index::{self, PackIndex};
use super::packed::Packed;
use super::prefix::{Candidates, Prefix};
use crate::ObjectId;
use crate::stamp::Stamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Packs of one directory. Each takes two of the process's file maps.
const PACKS_MAX: usize = 5_000;
/// Listings compared before a directory that keeps changing is taken as last seen; it is not
/// settled then and will be listed again.
const LISTINGS_MAX: usize = 4;

/// A pack with its index, each opened when first needed.
#[derive(Debug)]
pub(super) struct PackFile {
    /// The path without `.pack` or `.idx`.
    base: PathBuf,
    index: OnceLock<PackIndex>,
    pack: OnceLock<Pack>,
}

/// The packs below one `pack` directory.
#[derive(Debug)]
pub(super) struct PackSet {
    packs: Vec<Arc<PackFile>>,
    midx: Option<Arc<Midx>>,
    stamp: Stamp,
    settled: bool,
    /// The pack that was last hit; objects read together mostly lie together.
    last_hit: AtomicUsize,
}

#[derive(Debug)]
struct Midx {
    index: MultiPackIndex,
    stamp: Stamp,
    /// Which of the set's packs each of its numbers means; `None` for those that are gone.
    packs: Vec<Option<usize>>,
    /// The same the other way round.
    covered: Vec<bool>,
}

// === impl PackFile ===

impl PackFile {
    /// The path without `.pack` or `.idx`.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// What reads the objects of this pack.
    pub(super) fn chains(&self) -> Result<Chains<'_>, StoreError> {
        let index = self.index()?;
        if let Some(pack) = self.pack.get() {
            return Ok(Chains { pack, index });
        }
        let opened = Pack::open(&self.base.with_added_extension("pack"), index)?;
        Ok(Chains { pack: self.pack.get_or_init(|| opened), index })
    }

    fn index(&self) -> Result<&PackIndex, StoreError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let opened = PackIndex::open(&self.base.with_added_extension("idx"))?;
        Ok(self.index.get_or_init(|| opened))
    }

    /// How many objects there are: by the length of an index that was not opened.
    fn objects(&self) -> u64 {
        if let Some(index) = self.index.get() {
            return u64::from(index.count());
        }
        let length = std::fs::metadata(self.base.with_added_extension("idx"));
        pack_index::objects_in(length.map_or(0, |metadata| metadata.len()))
    }

    fn is_faulted(&self) -> bool {
        self.index.get().is_some_and(PackIndex::is_faulted)
            || self.pack.get().is_some_and(Pack::is_faulted)
    }

    fn is_mapped(&self) -> bool {
        self.index.get().is_some() && self.pack.get().is_some()
    }

    /// Whether what was opened goes together with what would be opened later: an index is no use
    /// to a pack that was replaced under its name.
    fn is_reusable(&self) -> bool {
        !self.is_faulted() && (self.is_mapped() || self.index.get().is_none())
    }
}

// === impl PackSet ===

impl PackSet {
    /// Lists the directory `dir`, which may be absent. Files that `previous` had open are kept.
    pub(super) fn scan(dir: &Path, previous: Option<&Self>) -> Result<Self, StoreError> {
        let (stems, stamp, settled) = list(dir)?;
        let mut known: BTreeMap<&OsStr, &Arc<PackFile>> = BTreeMap::new();
        for pack in previous.into_iter().flat_map(|set| &set.packs) {
            known.insert(pack.base.file_name().unwrap_or_default(), pack);
        }
        let mut packs = Vec::with_capacity(stems.len());
        for stem in stems {
            packs.push(match known.remove(stem.as_os_str()) {
                Some(pack) if pack.is_reusable() => Arc::clone(pack),
                _ => Arc::new(PackFile {
                    base: dir.join(stem),
                    index: OnceLock::new(),
                    pack: OnceLock::new(),
                }),
            });
        }
        if !settled {
            // A repack may be under way and this listing half of it: what vanished goes next time.
            let gone = known.into_values().filter(|pack| pack.is_mapped() && !pack.is_faulted());
            packs.extend(gone.cloned());
        }
        let midx = Midx::open(&dir.join("multi-pack-index"), &packs, previous);
        Ok(Self { packs, midx, stamp, settled, last_hit: AtomicUsize::new(0) })
    }

    /// How much lies in these packs.
    pub(super) fn packed(&self) -> Packed {
        let bitmap = |pack: &PackFile| pack.base.with_added_extension("bitmap").exists();
        Packed {
            objects: self.packs.iter().map(|pack| pack.objects()).sum(),
            has_bitmap: self.packs.iter().any(|pack| bitmap(pack)),
        }
    }

    /// Whether a new scan could see something else.
    pub(super) fn is_stale(&self, dir: &Path) -> bool {
        !self.settled || Stamp::of(dir).is_ok_and(|now| now != self.stamp) || self.is_faulted()
    }

    /// Whether both hold the same files.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let midx = |set: &Self| set.midx.as_ref().map(|midx| midx.stamp);
        self.packs.len() == other.packs.len()
            && self.packs.iter().zip(&other.packs).all(|(a, b)| Arc::ptr_eq(a, b))
            && midx(self) == midx(other)
            && !self.is_faulted()
    }

    /// Gives `read` the places of `id` until one of them yields something. The first error counts
    /// only if no place does: a damaged copy is no loss where there is another.
    pub(super) fn find<T>(
        &self,
        id: &ObjectId,
        read: &impl Fn(&PackFile, u64) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut failed = None;
        match self.find_by_midx(id, read) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => failed = Some(error),
        }
        let covered = self.midx.as_ref().filter(|_| failed.is_none()).map(|midx| &midx.covered);
        let hot = self.last_hit.load(Ordering::Relaxed);
        let others = (0..self.packs.len()).filter(|place| *place != hot);
        for place in std::iter::once(hot).chain(others) {
            let Some(pack) = self.packs.get(place) else { continue };
            if covered.is_some_and(|covered| covered[place]) {
                continue;
            }
            let found = match pack.index().and_then(|index| index.lookup(id)) {
                Ok(None) => continue,
                Ok(Some(offset)) => read(pack, offset),
                Err(error) => Err(error),
            };
            match found {
                Ok(None) => {}
                Ok(found) => {
                    if place != hot {
                        self.last_hit.store(place, Ordering::Relaxed);
                    }
                    return Ok(found);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Adds the ids that begin with `prefix`. Indexes that cannot be read are passed over.
    pub(super) fn with_prefix(&self, prefix: &Prefix, found: &mut Candidates) {
        if let Some(midx) = &self.midx {
            midx.index.with_prefix(prefix, found);
        }
        let covered = self.midx.as_ref().map(|midx| &midx.covered);
        for (place, pack) in self.packs.iter().enumerate() {
            if covered.is_some_and(|covered| covered[place]) {
                continue;
            }
            if let Ok(index) = pack.index() {
                index.with_prefix(prefix, found);
            }
        }
    }

    fn find_by_midx<T>(
        &self,
        id: &ObjectId,
        read: &impl Fn(&PackFile, u64) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(midx) = &self.midx else { return Ok(None) };
        let Some((number, offset)) = midx.index.lookup(id)? else { return Ok(None) };
        match midx.packs.get(number).copied().flatten() {
            Some(place) => read(&self.packs[place], offset),
            None => Ok(None),
        }
    }

    fn is_faulted(&self) -> bool {
        self.packs.iter().any(|pack| pack.is_faulted())
            || self.midx.as_ref().is_some_and(|midx| midx.index.is_faulted())
    }
}

// === impl Midx ===

impl Midx {
    /// A multi-pack index that is absent, damaged or unreadable is done without: every pack it
    /// names has an index of its own.
    fn open(path: &Path, packs: &[Arc<PackFile>], previous: Option<&PackSet>) -> Option<Arc<Self>> {
        let stamp = Stamp::of(path).ok().filter(|stamp| !stamp.is_absent())?;
        if let Some(set) = previous
            && let Some(midx) = &set.midx
            && midx.stamp == stamp
            && !midx.index.is_faulted()
            && set.packs.len() == packs.len()
            && set.packs.iter().zip(packs).all(|(a, b)| a.base == b.base)
        {
            return Some(Arc::clone(midx));
        }
        let index = MultiPackIndex::open(path).ok()?;
        let stem = |pack: &Arc<PackFile>| pack.base.file_name().unwrap_or_default().to_owned();
        let places: HashMap<OsString, usize> = packs.iter().map(stem).zip(0..).collect();
        let packs: Vec<_> = index.pack_stems().iter().map(|s| places.get(s).copied()).collect();
        let mut covered = vec![false; places.len()];
        for place in packs.iter().flatten() {
            covered[*place] = true;
        }
        Some(Arc::new(Self { index, stamp, packs, covered }))
    }
}

/// The names, without extension, of the packs in `dir` that have an index, sorted; the stamp of
/// `dir`, and whether it was settled.
fn list(dir: &Path) -> Result<(BTreeSet<OsString>, Stamp, bool), StoreError> {
    let failed = |source| StoreError::Io { path: dir.to_owned(), source };
    let mut listings = 0;
    loop {
        let read_at = SystemTime::now();
        let stamp = Stamp::of(dir).map_err(failed)?;
        let stems = if stamp.is_absent() { BTreeSet::new() } else { stems(dir)? };
        listings += 1;
        let same = Stamp::of(dir).map_err(failed)? == stamp;
        if same || listings == LISTINGS_MAX {
            return Ok((stems, stamp, same && stamp.is_settled(read_at)));
        }
    }
}

fn stems(dir: &Path) -> Result<BTreeSet<OsString>, StoreError> {
    let failed = |source| StoreError::Io { path: dir.to_owned(), source };
    let (mut indexes, mut packs) = (BTreeSet::new(), BTreeSet::new());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(indexes),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = PathBuf::from(entry.map_err(failed)?.file_name());
        let Some(stem) = name.file_stem().map(OsStr::to_owned) else { continue };
        match name.extension().and_then(OsStr::to_str) {
            Some("idx") => indexes.insert(stem),
            Some("pack") => packs.insert(stem),
            _ => continue,
        };
        if indexes.len().max(packs.len()) > PACKS_MAX {
            let reason = format!("more than {PACKS_MAX} packs");
            return Err(StoreError::Limit { path: dir.to_owned(), reason });
        }
    }
    // git publishes the index last and removes it first: without one, a pack is not there.
    indexes.retain(|stem| packs.contains(stem));
    Ok(indexes)
}
