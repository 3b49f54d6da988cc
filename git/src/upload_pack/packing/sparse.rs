//! Filters name a blob (`sparse:oid`), maybe through a ref; here it becomes its id.
//!
//! Always true: what is found is what git would find at the time of the snapshot.
//! Never here: names that only git can resolve; a filter with one of them stays open.

use bstr::{BStr, ByteSlice};
use gix_object::TreeRefIter;

use crate::ObjectId;
use crate::objects::StoreError;
use crate::repository::Snapshot;
use crate::revision::{Budget, Resolved, Revision, Target};
use crate::upload_pack::filter::Filter;

/// A filter in which names gave way to ids.
pub(super) struct Settled {
    pub(super) filter: Filter,
    /// A name was left.
    pub(super) is_open: bool,
}

/// Resolves the names in a canonical filter.
pub(super) fn settled(filter: Filter, snapshot: &Snapshot) -> Result<Settled, StoreError> {
    let mut is_open = false;
    let mut settle = |part: &Filter| {
        let Filter::SparseOid(name) = part else { return Ok(part.clone()) };
        match blob(snapshot, name.as_bytes().as_bstr())? {
            Some(id) => Ok(Filter::SparseOid(id.to_string())),
            None => {
                is_open = true;
                Ok(part.clone())
            }
        }
    };
    let filter = if let Filter::Combine(parts) = &filter {
        Filter::Combine(parts.iter().map(settle).collect::<Result<_, StoreError>>()?)
    } else {
        settle(&filter)?
    };
    Ok(Settled { filter: filter.canonical(), is_open })
}

/// `<revision>` or `<revision>:<path>`.
fn blob(snapshot: &Snapshot, name: &BStr) -> Result<Option<ObjectId>, StoreError> {
    let Some(colon) = name.find_byte(b':') else {
        return match Revision::parse(name).resolve(snapshot, &mut Budget::default())? {
            Resolved::Found(id) => Ok(Some(id)),
            Resolved::Missing | Resolved::Unsupported => Ok(None),
        };
    };
    let (revision, path) = (name[..colon].as_bstr(), &name[colon + 1..]);
    // git takes an empty revision for the index, and paths that begin so relative to a directory.
    if revision.is_empty() || path.starts_with(b".") {
        return Ok(None);
    }
    let root = Revision::parse(revision).resolve_to(snapshot, Target::Tree)?;
    let Resolved::Found(mut at) = root else { return Ok(None) };
    for component in path.split_str("/") {
        let Some(object) = snapshot.store.read(&at)? else { return Ok(None) };
        let entries = TreeRefIter::from_bytes(&object.data, at.kind());
        let entry = entries.map_while(Result::ok).find(|entry| entry.filename == component);
        let Some(entry) = entry else { return Ok(None) };
        at = entry.oid.to_owned();
    }
    Ok(Some(at))
}
