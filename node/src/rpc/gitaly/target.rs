//! Which repository a message means, and where its objects are.
//!
//! Never here: whether it exists. Object directories are checked when they are looked up
//! (`storage::ObjectDirectories`), by calls that read objects; others do not look at them.

use super::call::context::Context;
use super::errors;
use crate::storage::{ObjectDirectories, RelativePath, StorageName};
use gitring_proto::gitaly::Repository;
use tonic::Status;

/// A repository as clients name it, parsed.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) storage: StorageName,
    pub(super) path: RelativePath,
    /// Of a push that has not been accepted yet, if the client names any.
    pub(super) objects: Option<ObjectDirectories>,
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
    let account = context.account();
    account.is_about(&named.storage_name, &path.to_string());
    let objects = ObjectDirectories {
        own: named.git_object_directory,
        alternates: named.git_alternate_object_directories,
    };
    let objects = (!objects.are_plain()).then_some(objects);
    Ok(Target { storage, path, objects })
}
