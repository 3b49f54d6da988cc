//! Objects that somebody else has written, brought to stable storage before a ref leads to them.
//!
//! git syncs no loose object by itself (git-config(1), `core.fsync`), and a push that runs beside
//! ours may have given names to its objects that it has not synced yet.
//!
//! Always true: what is synced is the content and each name that leads to it, up to the object
//! directory. A file is synced once a process: it is known by device, inode and birth, and an
//! object file never changes.
//! Never here: which objects are needed, but for [`sync_tips`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::ObjectId;
use crate::connectivity::tree_links;
use crate::files::FileCalls;
use crate::objects::{Kind, Store, StoreError, Stored, parse};
use crate::repository::Snapshot;

/// Files that are known to be on disk, in a process: about 3 MB.
const KNOWN_MAX: usize = 65_536;
/// Loose objects that are followed from tips. As many files are synced by way of their whole file
/// system ([`FileCalls::sync_many`]), so what is beyond them is synced, too.
const FOLLOWED_MAX: usize = 1_000;
/// How often objects are looked for again whose files have gone: somebody packs them.
const ROUNDS_MAX: usize = 20;
/// Pause between these.
const ROUND_PAUSE: Duration = Duration::from_millis(5);

static KNOWN: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

/// Why objects are not known to be on stable storage.
#[derive(Debug, thiserror::Error)]
pub enum ObjectSyncError {
    /// They could not be looked for.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They could not be synced.
    #[error("sync objects in {path}")]
    Io {
        /// Their object directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A file, and by which calls it was synced: another one may have the inode later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    calls: usize,
    device: u64,
    inode: u64,
    birth: SystemTime,
}

/// Brings these objects to stable storage, wherever `store` finds them; what it does not find is
/// passed over.
///
/// # Errors
/// What stands in the way. Then nothing may be told that depends on them.
pub fn sync_objects(
    store: &Store,
    ids: &[ObjectId],
    calls: &Arc<dyn FileCalls>,
) -> Result<(), ObjectSyncError> {
    let ids: BTreeSet<&ObjectId> = ids.iter().collect();
    for round in 1.. {
        let mut files: BTreeMap<PathBuf, Files> = BTreeMap::new();
        for id in &ids {
            let Some(stored) = store.stored(id)? else { continue };
            if let Some(objects) = object_directory(&stored) {
                files.entry(objects.to_owned()).or_default().add(&stored);
            }
        }
        let synced = files.into_iter().try_for_each(|(objects, files)| {
            let synced = files.sync(&objects, calls);
            synced.map_err(|source| ObjectSyncError::Io { path: objects, source })
        });
        match synced {
            Err(ObjectSyncError::Io { source, .. })
                if source.kind() == ErrorKind::NotFound && round < ROUNDS_MAX => {}
            synced => return synced,
        }
        std::thread::sleep(ROUND_PAUSE);
        store.list_again()?;
    }
    Ok(())
}

/// Brings `tips` to stable storage, and what they lead to as long as it lies in loose files that
/// are not known to be there and no ref of `snapshot` points to it. What a pack leads to is not
/// followed: git syncs packs, and what they were made of was there before.
///
/// # Errors
/// As [`sync_objects`].
pub fn sync_tips(
    snapshot: &Snapshot,
    tips: impl Iterator<Item = ObjectId>,
    calls: &Arc<dyn FileCalls>,
) -> Result<(), ObjectSyncError> {
    let store = &*snapshot.store;
    let (mut stack, mut seen): (Vec<ObjectId>, HashSet<ObjectId>) =
        (tips.collect(), HashSet::new());
    let (mut found, mut reached) = (Vec::new(), None);
    while let Some(id) = stack.pop() {
        if found.len() >= FOLLOWED_MAX {
            // All of them: the rest of the tips may lie elsewhere.
            found.append(&mut stack);
            break;
        }
        if !seen.insert(id) {
            continue;
        }
        match store.stored(&id)? {
            Some(Stored::Loose(path)) if !is_known(calls, &path) => {
                let reached = reached.get_or_insert_with(|| targets(snapshot));
                if !reached.contains(&id) {
                    found.push(id);
                    stack.extend(links(store, &id)?);
                }
            }
            Some(Stored::Packed(base)) if !is_known(calls, &pack_of(&base)) => found.push(id),
            Some(_) | None => {}
        }
    }
    if found.is_empty() { Ok(()) } else { sync_objects(store, &found, calls) }
}

/// Takes files for synced, with the names that they have now.
pub(crate) fn remember<'a>(calls: &Arc<dyn FileCalls>, files: impl Iterator<Item = &'a PathBuf>) {
    let identities: Vec<Identity> =
        files.take(KNOWN_MAX).filter_map(|file| identity(calls, file)).collect();
    let mut known = known();
    let known = known.get_or_insert_default();
    if known.len() + identities.len() > KNOWN_MAX {
        known.clear();
    }
    known.extend(identities);
}

fn is_known(calls: &Arc<dyn FileCalls>, file: &Path) -> bool {
    let identity = identity(calls, file);
    identity.is_some_and(|identity| known().as_ref().is_some_and(|known| known.contains(&identity)))
}

fn known() -> MutexGuard<'static, Option<HashSet<Identity>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None`: there is no such file, or nothing tells it from the next one.
fn identity(calls: &Arc<dyn FileCalls>, file: &Path) -> Option<Identity> {
    let found = file.metadata().ok()?;
    let calls = Arc::as_ptr(calls).cast::<()>().addr();
    Some(Identity { calls, device: found.dev(), inode: found.ino(), birth: found.created().ok()? })
}

fn targets(snapshot: &Snapshot) -> HashSet<ObjectId> {
    snapshot.refs.iter().flat_map(|one| [Some(one.target), one.peeled]).flatten().collect()
}

/// What an object leads to directly.
fn links(store: &Store, id: &ObjectId) -> Result<Vec<ObjectId>, StoreError> {
    if matches!(store.kind(id)?, None | Some(Kind::Blob)) {
        return Ok(Vec::new());
    }
    let Some(object) = store.read(id)? else { return Ok(Vec::new()) };
    Ok(match object.kind {
        Kind::Tree => tree_links(&object.data).collect(),
        Kind::Tag => parse::tag_link(&object.data).map(|(target, _)| target).into_iter().collect(),
        Kind::Commit => parse::commit(&object.data).map_or_else(Vec::new, |commit| {
            std::iter::once(commit.tree).chain(commit.parents).collect()
        }),
        Kind::Blob => Vec::new(),
    })
}

fn pack_of(base: &Path) -> PathBuf {
    base.with_added_extension("pack")
}

/// `objects/ab/cdef…`, `objects/pack/pack-…`
fn object_directory(stored: &Stored) -> Option<&Path> {
    let (Stored::Loose(path) | Stored::Packed(path)) = stored;
    path.parent()?.parent()
}

/// Files of one object directory.
#[derive(Debug, Default)]
struct Files {
    contents: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
}

// === impl Files ===

impl Files {
    fn add(&mut self, stored: &Stored) {
        let path = match stored {
            Stored::Loose(path) => path,
            Stored::Packed(base) => {
                self.contents.insert(base.with_added_extension("idx"));
                &pack_of(base)
            }
        };
        self.contents.insert(path.clone());
        self.directories.extend(path.parent().map(Path::to_owned));
    }

    fn sync(mut self, objects: &Path, calls: &Arc<dyn FileCalls>) -> io::Result<()> {
        self.contents.retain(|file| !is_known(calls, file));
        if self.contents.is_empty() {
            return Ok(());
        }
        let paths: Vec<PathBuf> = self
            .contents
            .iter()
            .cloned()
            .chain(self.directories)
            .chain([objects.to_owned()])
            .collect();
        calls.sync_many(&paths)?;
        remember(calls, self.contents.iter());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
