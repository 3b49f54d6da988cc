//! `CheckObjectsExist`: which of many names name an object.
//!
//! Always true: at most one git child a call, begun when a name comes that only git can read.

use super::lists::prefixed;
use super::look::{Seen, look, unreadable};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::cat_file::CatFile;
use crate::rpc::gitaly::ask::revisions::{self, Allowed};
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::chunks::Chunks;
use crate::rpc::gitaly::pieces::{Sender, pieces};
use bytes::Bytes;
use gitring_git::repository::Snapshot;
use gitring_git::revision::{Budget, Resolved, Revision};
use gitring_proto::gitaly::check_objects_exist_response::RevisionExistence;
use gitring_proto::gitaly::{CheckObjectsExistRequest, CheckObjectsExistResponse};
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// Names that are looked up in one visit to a worker. At 10 µs each this is 5 ms.
const BATCH: usize = 500;

/// Answers `CheckObjectsExist`.
pub(super) async fn check_objects_exist(
    resources: &Rc<Resources>,
    request: Request<Streaming<CheckObjectsExistRequest>>,
) -> Result<Response<BoxStream<CheckObjectsExistResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut messages = request.into_inner();
    // Gitaly hands the end of the stream on as an error.
    let mut first = messages.message().await?.ok_or_else(|| Status::internal("EOF"))?;
    let site = site(resources, context, first.repository.take()).await?;
    let lease = site.context.lease();
    let stream = pieces(lease, |sender| {
        Box::pin(async move { answer(&site, first, messages, &sender).await })
    });
    Ok(Response::new(stream.boxed()))
}

async fn answer(
    site: &Site,
    first: CheckObjectsExistRequest,
    mut messages: Streaming<CheckObjectsExistRequest>,
    sender: &Sender<CheckObjectsExistResponse>,
) -> Result<(), Status> {
    let wrap = |revisions| CheckObjectsExistResponse { revisions };
    let mut chunks = Chunks::new(sender, wrap);
    let mut cat_file = None;
    let mut message = Some(first);
    while let Some(CheckObjectsExistRequest { revisions, .. }) = message {
        revisions::check_each(&revisions, &[Allowed::Path])?;
        for batch in revisions.chunks(BATCH) {
            let exist = exist(site, &mut cat_file, batch).await;
            let what = "checking object existence: reading object info";
            let exist = exist.map_err(|status| prefixed(what, &status))?;
            for (name, exists) in batch.iter().zip(exist) {
                chunks.put(RevisionExistence { name: name.clone(), exists }).await?;
            }
        }
        message = messages.message().await?;
    }
    chunks.finish().await
}

async fn exist(
    site: &Site,
    cat_file: &mut Option<CatFile>,
    names: &[Bytes],
) -> Result<Vec<bool>, Status> {
    let asked = names.to_vec();
    let find = look(&site.resources, &site.target, move |snapshot| find_each(snapshot, &asked));
    let mut found = match find.await? {
        Seen::Found(found) => found,
        Seen::Missing | Seen::AskGit(_) => vec![None; names.len()],
    };
    let unknown = || names.iter().zip(&found).filter(|(_, found)| found.is_none());
    let mut answers = Vec::new();
    if unknown().next().is_some() {
        let begun = match cat_file.take() {
            Some(begun) => begun,
            None => CatFile::begin(site).await?,
        };
        let cat_file = cat_file.insert(begun);
        unknown().for_each(|(name, _)| cat_file.ask_info(name));
        cat_file.flush();
        for (name, _) in unknown() {
            answers.push(cat_file.header(name).await?.is_some());
        }
    }
    let mut answers = answers.into_iter();
    found.iter_mut().filter(|found| found.is_none()).for_each(|found| *found = answers.next());
    Ok(found.into_iter().flatten().collect())
}

/// Whether each name names an object; `None` where only git can tell.
fn find_each(snapshot: &Snapshot, names: &[Bytes]) -> Result<Resolved<Vec<Option<bool>>>, Status> {
    let mut budget = Budget::default();
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let resolved = Revision::parse(name.as_ref().into()).resolve(snapshot, &mut budget);
        found.push(match resolved.map_err(|error| unreadable(&error))? {
            Resolved::Found(id) => {
                Some(snapshot.store.contains(&id).map_err(|error| unreadable(&error))?)
            }
            Resolved::Missing => Some(false),
            Resolved::Unsupported => None,
        });
    }
    Ok(Resolved::Found(found))
}
