//! The objects of a reading: a store that is opened again only where its directories have changed.
//!
//! Always true: a store is kept only as long as it is that of the directory that stands there.
//! Never here: refs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::ObjectId;
use crate::objects::{Kind, Store, StoreError, StoreOptions};
use crate::refs::resolve::Object;
use crate::repository::Environment;
use crate::repository::locate::Places;
use crate::stamp::Stamp;

#[derive(Debug, Clone)]
pub(super) struct Objects {
    pub(super) store: Arc<Store>,
    has_commit_graph: bool,
    /// Device, inode and birth of the directory: another in its place is another store.
    directory: Option<(u64, u64, Option<SystemTime>)>,
    /// Whether stamps find every later change of what the store depends on.
    pub(super) is_settled: bool,
}

// === impl Objects ===

impl Objects {
    /// Opens the store, or goes on with the previous one.
    pub(super) fn open(
        places: &Places,
        environment: &Environment,
        has_commit_graph: bool,
        previous: Option<&Self>,
    ) -> Result<Self, StoreError> {
        let directory = fs::metadata(&places.objects_dir).ok();
        let directory =
            directory.map(|metadata| (metadata.dev(), metadata.ino(), metadata.created().ok()));
        let is_same = |previous: &&Self| {
            previous.has_commit_graph == has_commit_graph
                && previous.directory == directory
                && previous.is_settled
                && previous
                    .store
                    .depends_on()
                    .iter()
                    .all(|(path, stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp))
        };
        if let Some(previous) = previous.filter(is_same) {
            return Ok(previous.clone());
        }
        let read_at = SystemTime::now();
        let alternates = environment.alternate_object_directories.clone();
        let options = StoreOptions { alternates, commit_graph: has_commit_graph };
        let store = Arc::new(Store::open(&places.objects_dir, &options)?);
        let is_settled = store.depends_on().iter().all(|(_, stamp)| stamp.is_settled(read_at));
        Ok(Self { store, has_commit_graph, directory, is_settled })
    }

    /// Whether an object exists, and what it peels to.
    pub(super) fn look(&self, id: &ObjectId) -> Result<Object, StoreError> {
        match self.store.header(id)? {
            None => Ok(None),
            Some(header) if header.kind == Kind::Tag => match self.store.peel(id) {
                Ok(peeled) => Ok(Some(peeled.filter(|peeled| peeled != id))),
                // A tag of something that is missing or broken has no peeled value, as in git.
                Err(StoreError::Object { .. }) => Ok(Some(None)),
                Err(error) => Err(error),
            },
            Some(_) => Ok(Some(None)),
        }
    }
}
