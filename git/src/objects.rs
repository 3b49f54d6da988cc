//! Objects by id: packs, multi-pack indexes, loose objects, alternates, commit-graphs.
//!
//! The readers are our own because gix-odb and gix-pack map files in ways that no SIGBUS guard can
//! watch.
//!
//! ```text
//! Store ─ alternates      which directories
//!       ├ pack_set ─ multi_pack_index, pack_index   id → pack, offset
//!       │          └ chain ─ pack, inflate, delta, base_cache   offset → object
//!       ├ found           id → pack, offset, without looking
//!       ├ loose           id → file
//!       ├ prefix          first digits → ids
//!       └ graphs ─ commit_graph, else parse   id → tree, parents, time
//! ```
//!
//! Always true: damaged, truncated or hostile files give a typed error of this store, never a
//! panic, a signal or memory without limit; an object is reported missing only after the packs
//! were listed as they are now; git may repack, prune packs and write while we read.
//! Never here: writing, refs, replacements and grafts (the caller turns commit-graphs off), and
//! checking that content hashes to its id.

mod alternates;
mod base_cache;
mod chain;
mod chunk_table;
mod commit_graph;
mod delta;
mod fault;
mod found;
mod graphs;
mod inflate;
mod level;
mod loose;
mod map;
mod multi_pack_index;
mod oid_table;
mod pack;
mod pack_index;
mod pack_set;
mod packed;
pub(crate) mod parse;
mod prefix;
mod stored;
#[cfg(test)]
pub(crate) mod tests;

use crate::ObjectId;
use crate::stamp::Stamp;
use graphs::Graphs;
use level::Level;
use pack_set::PackFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub use alternates::listed;
pub use fault::GuardedMap;
pub use gix_object::Kind;
pub use packed::Packed;
pub use prefix::Prefix;
pub use stored::Stored;

/// Largest object (or delta) that is read, in bytes. Objects of that size are streamed to clients
/// as they lie in packs; only trees, commits and tags are ever read whole by walks.
pub const OBJECT_BYTES_MAX: u64 = 512 << 20;

/// How often a look-up starts over because packs came or went meanwhile.
const RETRIES_MAX: usize = 4;
/// Look-ups after which the pack directories are stated even if nothing was missed: a store that
/// finds all it looks for in packs long unlinked would keep their disk space for ever.
const LOOKUPS_UNSTATED_MAX: u32 = 4_096;
/// Tags around tags that are followed.
const TAGS_MAX: usize = 1_000;

/// Why an object could not be read, or a store not opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("read {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// The content of a file makes no sense.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The pack, index or loose object.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file became shorter or unreadable under a map (SIGBUS).
    #[error("{path}: truncated or unreadable")]
    Faulted {
        /// The pack, index or commit-graph.
        path: PathBuf,
    },
    /// Something is larger, deeper or more numerous than we read.
    #[error("{path}: {reason}")]
    Limit {
        /// The file or directory.
        path: PathBuf,
        /// Which limit.
        reason: String,
    },
    /// An object is not what another one says, or is missing.
    #[error("object {id}: {reason}")]
    Object {
        /// The object.
        id: ObjectId,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Commit, tree, blob or tag.
    pub kind: Kind,
    /// Size of the content in bytes.
    pub size_bytes: u64,
}

/// An object in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Commit, tree, blob or tag.
    pub kind: Kind,
    /// The content, without the header that is hashed before it.
    pub data: Vec<u8>,
}

/// What a walk through history needs of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The root tree.
    pub tree: ObjectId,
    /// The parents in order.
    pub parents: Vec<ObjectId>,
    /// The committer's time in seconds since 1970; zero if the line is malformed.
    pub committed_at: i64,
    /// Topological level: higher than that of every parent. Only commit-graphs know it.
    pub generation: Option<u32>,
}

/// What a store is opened with besides its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Object directories searched before those of `info/alternates`
    /// (`GIT_ALTERNATE_OBJECT_DIRECTORIES`).
    pub alternates: Vec<PathBuf>,
    /// Whether commit-graphs may be used: not with `core.commitGraph=false`, replace refs, grafts
    /// or in a shallow repository.
    pub commit_graph: bool,
}

/// The objects of one repository and its alternates. Shared by threads.
#[derive(Debug)]
pub struct Store {
    levels: Vec<Arc<Level>>,
    depends_on: Vec<(PathBuf, Stamp)>,
    graphs: Option<Arc<Graphs>>,
    serial: u64,
    /// Since the packs were stated because of them.
    lookups: AtomicU32,
}

/// Where an object may be.
enum Place<'a> {
    Packed(&'a PackFile, u64),
    /// There may be no such file.
    Loose(PathBuf),
}

// === impl StoreOptions ===

impl Default for StoreOptions {
    /// git's: no further directories, commit-graphs are used.
    fn default() -> Self {
        Self { alternates: Vec::new(), commit_graph: true }
    }
}

// === impl Store ===

impl Store {
    /// Opens the object directory `objects` and its alternates. Packs are listed, not yet opened.
    pub fn open(objects: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let directories = alternates::resolve(objects, options)?;
        let levels = directories.paths.iter().map(|path| Level::open(path).map(Arc::new));
        Ok(Self {
            levels: levels.collect::<Result<_, _>>()?,
            depends_on: directories.depends_on,
            graphs: options.commit_graph.then(|| Arc::new(Graphs::new(directories.paths))),
            serial: found::serial(),
            lookups: AtomicU32::new(0),
        })
    }

    /// The objects of the directory `quarantine`, then those of this store. What is open here is
    /// shared, so it costs one listing.
    pub fn with_quarantine(&self, quarantine: &Path) -> Result<Self, StoreError> {
        let first = Arc::new(Level::open(quarantine)?);
        Ok(Self {
            levels: std::iter::once(first).chain(self.levels.iter().cloned()).collect(),
            depends_on: self.depends_on.clone(),
            graphs: self.graphs.clone(),
            serial: found::serial(),
            lookups: AtomicU32::new(0),
        })
    }

    /// The files that decided in which directories objects are looked up, with their stamps: while
    /// these hold, the store need not be opened again. Absent files are among them.
    pub fn depends_on(&self) -> &[(PathBuf, Stamp)] {
        &self.depends_on
    }

    /// The object directories: the repository's own, then its alternates.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.levels.iter().map(|level| level.objects.as_path())
    }

    /// Whether the object lies in the directory of this place in [`Self::directories`], as that
    /// was when its packs were last listed.
    pub fn lies_in(&self, directory: usize, id: &ObjectId) -> Result<bool, StoreError> {
        let Some(level) = self.levels.get(directory) else { return Ok(false) };
        let packed = |file: &PackFile, _| file.chains().map(|_| Some(()));
        if level.packs().find(id, &packed)?.is_some() {
            return Ok(true);
        }
        loose::contains(&loose::path(&level.objects, id))
    }

    /// Whether the object exists. A commit-graph that names it is no proof.
    pub fn contains(&self, id: &ObjectId) -> Result<bool, StoreError> {
        if self.is_remembered(id) {
            return Ok(true);
        }
        let rescans = self.rescans();
        let found = self.find(id, &|place| match place {
            // An index alone is no proof: its pack may have vanished.
            Place::Packed(file, offset) => {
                self.remember(rescans, id, (file.chains()?, offset), None);
                Ok(Some(()))
            }
            Place::Loose(path) => Ok(loose::contains(&path)?.then_some(())),
        })?;
        Ok(found.is_some() || is_empty_tree(id))
    }

    /// The kind of an object: cheaper than its header. `None`: there is no such object.
    pub fn kind(&self, id: &ObjectId) -> Result<Option<Kind>, StoreError> {
        if let Some(kind) = self.recall_kind(id) {
            return Ok(Some(kind));
        }
        let rescans = self.rescans();
        let found = self.find(id, &|place| match place {
            Place::Packed(file, offset) => {
                let chains = file.chains()?;
                let kind = chains.kind(offset)?;
                self.remember(rescans, id, (chains, offset), Some(kind));
                Ok(Some(kind))
            }
            Place::Loose(path) => Ok(loose::header(&path)?.map(|header| header.kind)),
        })?;
        Ok(found.or_else(|| is_empty_tree(id).then_some(Kind::Tree)))
    }

    /// Kind and size of an object, without reading it. `None`: there is no such object.
    pub fn header(&self, id: &ObjectId) -> Result<Option<Header>, StoreError> {
        let found = self.find(id, &|place| match place {
            Place::Packed(file, offset) => file.chains()?.header(offset).map(Some),
            Place::Loose(path) => loose::header(&path),
        })?;
        let empty = || is_empty_tree(id).then_some(Header { kind: Kind::Tree, size_bytes: 0 });
        Ok(found.or_else(empty))
    }

    /// A whole object of at most [`OBJECT_BYTES_MAX`]. `None`: there is no such object.
    pub fn read(&self, id: &ObjectId) -> Result<Option<Object>, StoreError> {
        if let Some(object) = self.recall_object(id) {
            return Ok(Some(object));
        }
        let found = self.find(id, &|place| match place {
            Place::Packed(file, offset) => file.chains()?.read(offset).map(Some),
            Place::Loose(path) => loose::read(&path),
        })?;
        let empty = || is_empty_tree(id).then(|| Object { kind: Kind::Tree, data: Vec::new() });
        Ok(found.or_else(empty))
    }

    /// A commit, from a commit-graph if one knows it (even if the commit itself is gone), else from
    /// the object. `None`: there is no such object. An error if it is not a commit.
    pub fn commit(&self, id: &ObjectId) -> Result<Option<Commit>, StoreError> {
        self.may_wait()?;
        if let Some(commit) = self.graphs.as_ref().and_then(|graphs| graphs.lookup(id)) {
            return Ok(Some(commit));
        }
        let Some(object) = self.read(id)? else { return Ok(None) };
        let commit = (object.kind == Kind::Commit).then(|| parse::commit(&object.data)).flatten();
        commit.map(Some).ok_or_else(|| wrong(id, "not a commit, or malformed"))
    }

    /// What an annotated tag points to in the end: the first object that is no tag. `None` if `id`
    /// itself is no tag. An error if `id` or something on the way is missing.
    pub fn peel(&self, id: &ObjectId) -> Result<Option<ObjectId>, StoreError> {
        let mut at = *id;
        for _ in 0..TAGS_MAX {
            match self.kind(&at)? {
                None => return Err(wrong(&at, "missing")),
                Some(Kind::Tag) => {}
                Some(Kind::Commit | Kind::Tree | Kind::Blob) => {
                    return Ok((at != *id).then_some(at));
                }
            }
            let tag = self.read(&at)?.ok_or_else(|| wrong(&at, "missing"))?;
            at = parse::tag_target(&tag.data).ok_or_else(|| wrong(&at, "malformed tag"))?;
        }
        Err(wrong(id, "too many tags around one another"))
    }

    /// Gives `read` every place of `id` until one yields something, starting over while packs come
    /// and go: what moved from a pack that vanished is in one that appeared.
    fn find<T>(
        &self,
        id: &ObjectId,
        read: &impl Fn(Place<'_>) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.may_wait()?;
        if self.lookups.fetch_add(1, Ordering::Relaxed) >= LOOKUPS_UNSTATED_MAX {
            self.lookups.store(0, Ordering::Relaxed);
            self.rescan()?;
        }
        let mut retries = 0;
        loop {
            let rescans = self.rescans();
            let found = self.find_once(id, read);
            if matches!(found, Ok(Some(_))) || retries == RETRIES_MAX {
                return found;
            }
            self.rescan()?;
            if self.rescans() == rescans {
                return found;
            }
            retries += 1;
        }
    }

    /// How often other packs were found in one of the directories, by whatever store that shares it.
    fn rescans(&self) -> u64 {
        self.levels.iter().map(|level| level.rescans()).sum()
    }

    fn rescan(&self) -> Result<(), StoreError> {
        for level in &self.levels {
            level.rescan()?;
        }
        Ok(())
    }

    fn find_once<T>(
        &self,
        id: &ObjectId,
        read: &impl Fn(Place<'_>) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut failed = None;
        let packed = |file: &PackFile, offset| read(Place::Packed(file, offset));
        for level in &self.levels {
            match level.packs().find(id, &packed) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        for level in &self.levels {
            match read(Place::Loose(loose::path(&level.objects, id))) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

/// git answers for the empty tree without having it stored (`find_cached_object`).
fn is_empty_tree(id: &ObjectId) -> bool {
    *id == ObjectId::empty_tree(gix_hash::Kind::Sha1)
}

fn wrong(id: &ObjectId, reason: &str) -> StoreError {
    StoreError::Object { id: *id, reason: reason.to_owned() }
}
