//! `GetBlobs`: what lies at paths of revisions.

use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::cat_file::CatFile;
use crate::rpc::gitaly::ask::revisions;
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::lists::prefixed;
use crate::rpc::gitaly::commit::trees::{EntryKind, Finder, trimmed};
use crate::rpc::gitaly::pieces::{Sender, pieces};
use crate::rpc::gitaly::refs::list_refs::gone;
use gitring_proto::gitaly::get_blobs_request::RevisionPath;
use gitring_proto::gitaly::{GetBlobsRequest, GetBlobsResponse, ObjectType};
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// Answers `GetBlobs`.
pub(in crate::rpc::gitaly) async fn get_blobs(
    resources: &Rc<Resources>,
    request: Request<GetBlobsRequest>,
) -> Result<Response<BoxStream<GetBlobsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let site = site(resources, context, message.repository.take()).await?;
    if message.revision_paths.is_empty() {
        return Err(Status::invalid_argument("empty RevisionPaths"));
    }
    for RevisionPath { revision, .. } in &message.revision_paths {
        revisions::check(revision.as_bytes(), &[])?;
    }
    let lease = site.context.lease();
    let stream =
        pieces(lease, |sender| Box::pin(async move { send(&site, message, &sender).await }));
    Ok(Response::new(stream.boxed()))
}

async fn send(
    site: &Site,
    message: GetBlobsRequest,
    sender: &Sender<GetBlobsResponse>,
) -> Result<(), Status> {
    let mut cat_file = CatFile::begin(site).await?;
    let mut finder = Finder::default();
    for RevisionPath { revision, path } in message.revision_paths {
        let path = trimmed(path);
        let found = finder.find(&mut cat_file, revision.as_bytes(), &path).await;
        let what = "find by revision and path";
        let found = found.map_err(|status| prefixed(what, &status))?;
        let mut response = GetBlobsResponse { revision, path, ..GetBlobsResponse::default() };
        let Some(entry) = found else {
            sender.send(response).await.map_err(gone)?;
            continue;
        };
        response.mode = entry.mode;
        response.oid = entry.id;
        response.is_submodule = entry.kind == EntryKind::Commit;
        let kind = match entry.kind {
            EntryKind::Commit => ObjectType::Commit,
            EntryKind::Tree => ObjectType::Tree,
            EntryKind::Blob => ObjectType::Blob,
        };
        response.set_type(kind);
        if kind == ObjectType::Commit {
            sender.send(response).await.map_err(gone)?;
            continue;
        }
        send_object(&mut cat_file, response, message.limit, sender).await?;
    }
    Ok(())
}

/// Sends a tree's size, or a blob's and so many bytes of it; all if `limit` is negative.
async fn send_object(
    cat_file: &mut CatFile,
    mut response: GetBlobsResponse,
    limit: i64,
    sender: &Sender<GetBlobsResponse>,
) -> Result<(), Status> {
    let missing = || Status::internal("read object info: object not found");
    let id = response.oid.clone().into_bytes();
    let is_wanted = response.r#type() == ObjectType::Blob && limit != 0;
    let opened = if is_wanted { cat_file.open(&id).await } else { cat_file.info(&id).await };
    let header = opened.map_err(|status| prefixed("read object info", &status))?;
    let header = header.ok_or_else(missing)?;
    response.size = i64::try_from(header.size).unwrap_or(i64::MAX);
    if !is_wanted {
        return sender.send(response).await.map_err(gone);
    }
    if header.kind != gitring_git::objects::Kind::Blob {
        let text = format!("blob got unexpected type \"{}\"", header.kind);
        return Err(Status::internal(text));
    }
    let wanted = u64::try_from(limit).unwrap_or(u64::MAX).min(header.size);
    let mut left = wanted;
    loop {
        response.data = cat_file.piece(&mut left).await?;
        sender.send(response).await.map_err(gone)?;
        if left == 0 {
            break;
        }
        response = GetBlobsResponse::default();
    }
    cat_file.skip(header.size - wanted).await
}
