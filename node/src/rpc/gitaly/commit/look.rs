//! Reading a repository, at once or in one visit to a worker, and leaving to git what is not read in process.
//!
//! Always true: whether git has to be asked is known before anything was answered.
//! Never here: what is read.

use crate::rpc::gitaly::target::Target;
use crate::rpc::gitaly::{Resources, errors};
use crate::storage::Opened;
use gitring_git::objects::StoreError;
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::Status;

/// What a repository says.
#[derive(Debug)]
pub(in crate::rpc::gitaly) enum Seen<T> {
    /// This.
    Found(T),
    /// There is no such thing.
    Missing,
    /// Only git can tell, which is to run in this directory.
    AskGit(PathBuf),
}

/// What `work` finds in the repository. It may read files and take 10 ms.
pub(in crate::rpc::gitaly) async fn look<T: Send + 'static>(
    resources: &Resources,
    target: &Target,
    work: impl FnOnce(&Arc<Snapshot>) -> Result<Resolved<T>, Status> + Send + 'static,
) -> Result<Seen<T>, Status> {
    let look = move |opened: &Opened| see(opened, work);
    let Target { storage, path, objects } = target;
    let seen = resources.repositories.with_objects(storage, path, objects.as_ref(), look).await;
    seen.map_err(|error| errors::open(&error))?
}

/// The same for work that mostly needs nothing but the snapshot, and little time: it is tried
/// here and now first, which saves waking a worker.
pub(in crate::rpc::gitaly) async fn glance<T: Send + 'static>(
    resources: &Resources,
    target: &Target,
    work: impl Fn(&Arc<Snapshot>) -> Result<Resolved<T>, Status> + Send + 'static,
) -> Result<Seen<T>, Status> {
    // A push asks each question once: what was looked at before is of no use.
    if target.objects.is_some() {
        return look(resources, target, work).await;
    }
    let glance = |opened: &Opened| see(opened, &work);
    let (repositories, glances) = (&resources.repositories, &resources.glances);
    match repositories.at_once(glances, &target.storage, &target.path, glance).await {
        Some(seen) => seen,
        None => look(resources, target, work).await,
    }
}

fn see<T>(
    opened: &Opened,
    work: impl FnOnce(&Arc<Snapshot>) -> Result<Resolved<T>, Status>,
) -> Result<Seen<T>, Status> {
    let snapshot = &opened.snapshot;
    let is_unreadable = snapshot.unsupported.is_some_and(|reason| reason.is_unreadable());
    let found = if is_unreadable { Resolved::Unsupported } else { work(snapshot)? };
    Ok(match found {
        Resolved::Found(found) => Seen::Found(found),
        Resolved::Missing => Seen::Missing,
        Resolved::Unsupported => Seen::AskGit(opened.repository.git_dir().to_owned()),
    })
}

/// Objects that cannot be read.
pub(in crate::rpc::gitaly) fn unreadable(error: &StoreError) -> Status {
    errors::internal("read objects", error)
}
