//! Which repository a message means.

use super::context::Context;
use super::errors;
use crate::storage::{RelativePath, StorageName};
use gitring_proto::gitaly::Repository;
use tonic::Status;

/// A repository as clients name it, parsed.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) storage: StorageName,
    pub(super) path: RelativePath,
}

/// Parses the repository of a message, with Gitaly's refusals. It need not exist.
pub(super) fn target(context: &Context, named: Option<Repository>) -> Result<Target, Status> {
    context.record.borrow_mut().repository.clone_from(&named);
    let named = named.unwrap_or_default();
    if named.storage_name.is_empty() && named.relative_path.is_empty() {
        return Err(Status::invalid_argument("repository not set"));
    }
    if named.relative_path.is_empty() {
        return Err(Status::invalid_argument("repository path not set"));
    }
    let unset = || Status::invalid_argument("storage name not set");
    let storage = StorageName::parse(&named.storage_name).ok_or_else(unset)?;
    let path = RelativePath::clean(&named.relative_path).map_err(|error| errors::path(&error))?;
    // Quarantines come with pushes; without them their objects would silently be missing.
    if !named.git_object_directory.is_empty() || !named.git_alternate_object_directories.is_empty()
    {
        return Err(Status::unimplemented("object directories of a push are not built yet"));
    }
    Ok(Target { storage, path })
}
