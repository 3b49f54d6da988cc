//! Which object store a request belongs to.
//!
//! Always true: the pool's where everything that the request names lies there, else the
//! repository's own; so forks share what is their pool's and nothing else.
//! Never here: whether objects exist; they were looked up through the repository before.

use crate::ObjectId;
use crate::objects::StoreError;
use crate::pack_request::store::StoreId;
use crate::pack_request::{Draft, ObjectStore};
use crate::repository::Snapshot;

/// The place of the pool in the directories of a store: right behind the repository's own.
const POOL: usize = 1;

/// The store that holds everything that `draft` names.
pub(super) fn holding(snapshot: &Snapshot, draft: &Draft) -> Result<ObjectStore, StoreError> {
    let own = snapshot.objects_dir();
    // A pool that cannot be read is none: whether the request can be served does not hang on it.
    if let Some(pool) = snapshot.pool_objects_dir()
        && all_lie_in_pool(snapshot, draft)
        && let Ok(id) = StoreId::of(pool)
    {
        return Ok(ObjectStore { id, objects: pool.to_owned(), behind: Some(own.to_owned()) });
    }
    let id = StoreId::of(own);
    let id = id.map_err(|source| StoreError::Io { path: own.to_owned(), source })?;
    Ok(ObjectStore { id, objects: own.to_owned(), behind: None })
}

fn all_lie_in_pool(snapshot: &Snapshot, draft: &Draft) -> bool {
    let lists = [&draft.wants[..], &draft.haves, &draft.edges];
    let shallow = draft.shallow.iter().flatten();
    let tags = draft.open_tags.iter().map(|tag| &tag.id);
    let named: Vec<ObjectId> = draft.filter.iter().flat_map(|filter| filter.sparse_ids()).collect();
    let mut all = lists.into_iter().flatten().chain(shallow).chain(tags).chain(&named);
    all.all(|id| matches!(snapshot.store.lies_in(POOL, id), Ok(true)))
}
