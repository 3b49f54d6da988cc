//! Reading a repository in one visit to a worker, and leaving to git what is not read in process.
//!
//! Always true: whether git has to be asked is known before anything was answered.
//! Never here: what is read.

use super::target::Target;
use super::{Resources, errors};
use crate::storage::Opened;
use gitring_git::objects::StoreError;
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::Status;

/// What a repository says.
#[derive(Debug)]
pub(super) enum Seen<T> {
    /// This.
    Found(T),
    /// There is no such thing.
    Missing,
    /// Only git can tell, which is to run in this directory.
    AskGit(PathBuf),
}

/// What `work` finds in the repository.
pub(super) async fn look<T: Send + 'static>(
    resources: &Resources,
    target: &Target,
    work: impl FnOnce(&Arc<Snapshot>) -> Result<Resolved<T>, Status> + Send + 'static,
) -> Result<Seen<T>, Status> {
    let look = |opened: &Opened| {
        let snapshot = &opened.snapshot;
        let is_unreadable = snapshot.unsupported.is_some_and(|reason| reason.is_unreadable());
        let found = if is_unreadable { Resolved::Unsupported } else { work(snapshot)? };
        Ok(match found {
            Resolved::Found(found) => Seen::Found(found),
            Resolved::Missing => Seen::Missing,
            Resolved::Unsupported => Seen::AskGit(opened.repository.git_dir().to_owned()),
        })
    };
    let seen = resources.repositories.with(&target.storage, &target.path, look).await;
    seen.map_err(|error| errors::open(&error))?
}

/// Objects that cannot be read.
pub(super) fn unreadable(error: &StoreError) -> Status {
    errors::internal("read objects", error)
}
