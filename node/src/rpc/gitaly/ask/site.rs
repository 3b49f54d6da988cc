//! Where git is asked about a repository.
//!
//! Always true: the object directories of a site are the repository's.
//! Never here: starting children.

use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::target::{Target, target};
use crate::rpc::gitaly::{Resources, errors};
use gitring_proto::gitaly::Repository;
use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;
use tonic::Status;

/// A repository as a child of git sees it, and the call that asks.
#[derive(Debug, Clone)]
pub(in crate::rpc::gitaly) struct Site {
    pub(in crate::rpc::gitaly) resources: Rc<Resources>,
    pub(in crate::rpc::gitaly) context: Rc<Context>,
    pub(in crate::rpc::gitaly) target: Target,
    /// The git directory.
    pub(in crate::rpc::gitaly) directory: PathBuf,
    /// Variables that lead to the objects of a push, and others that the call wants.
    pub(in crate::rpc::gitaly) variables: Vec<(OsString, OsString)>,
}

/// Looks up the repository of a message. It may still be damaged.
pub(in crate::rpc::gitaly) async fn site(
    resources: &Rc<Resources>,
    context: Rc<Context>,
    named: Option<Repository>,
) -> Result<Site, Status> {
    let target = target(&context, named)?;
    Site::of(resources, context, target).await
}

// === impl Site ===

impl Site {
    /// Looks up a repository. It may still be damaged.
    pub(in crate::rpc::gitaly) async fn of(
        resources: &Rc<Resources>,
        context: Rc<Context>,
        target: Target,
    ) -> Result<Self, Status> {
        let Target { storage, path, objects } = &target;
        let found = resources.repositories.locate(storage, path, objects.clone()).await;
        let (directory, objects) = found.map_err(|error| errors::open(&error))?;
        let variables = objects.environment();
        Ok(Self { resources: Rc::clone(resources), context, target, directory, variables })
    }
}
