//! `TreeEntry`: what lies at a path, with its content.

use super::entry::{Entry, EntryKind};
use super::finder::{Finder, trimmed};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::cat_file::CatFile;
use crate::rpc::gitaly::ask::revisions;
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::pieces::{Sender, pieces};
use crate::rpc::gitaly::refs::list_refs::gone;
use gitring_git::objects::Kind;
use gitring_proto::gitaly::tree_entry_response::ObjectType;
use gitring_proto::gitaly::{TreeEntryRequest, TreeEntryResponse};
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// Answers `TreeEntry`.
pub(in crate::rpc::gitaly) async fn tree_entry(
    resources: &Rc<Resources>,
    request: Request<TreeEntryRequest>,
) -> Result<Response<BoxStream<TreeEntryResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let site = site(resources, context, message.repository.take()).await?;
    revisions::check(&message.revision, &[])?;
    let refused = match &message {
        message if message.path.is_empty() => Some("empty Path"),
        message if message.limit < 0 => Some("negative Limit"),
        message if message.max_size < 0 => Some("negative MaxSize"),
        _ => None,
    };
    if let Some(refused) = refused {
        return Err(Status::invalid_argument(refused));
    }
    let lease = site.context.lease();
    let stream =
        pieces(lease, |sender| Box::pin(async move { send(&site, message, &sender).await }));
    Ok(Response::new(stream.boxed()))
}

async fn send(
    site: &Site,
    message: TreeEntryRequest,
    sender: &Sender<TreeEntryResponse>,
) -> Result<(), Status> {
    let mut cat_file = CatFile::begin(site).await?;
    let path = trimmed(message.path.clone());
    let found = Finder::default().find(&mut cat_file, &message.revision, &path).await?;
    let entry = found.ok_or_else(|| Status::not_found("tree entry not found"))?;
    let kind = match entry.kind {
        EntryKind::Commit => ObjectType::Commit,
        EntryKind::Tree => ObjectType::Tree,
        EntryKind::Blob => ObjectType::Blob,
    };
    let mut response = TreeEntryResponse {
        r#type: kind.into(),
        oid: entry.id.clone(),
        mode: entry.mode,
        ..TreeEntryResponse::default()
    };
    let missing = || Status::internal("object not found");
    match kind {
        ObjectType::Blob => send_blob(&mut cat_file, &entry, response, &message, sender).await,
        ObjectType::Tree => {
            let header = cat_file.info(entry.id.as_bytes()).await?.ok_or_else(missing)?;
            response.size = i64::try_from(header.size).unwrap_or(i64::MAX);
            sender.send(response).await.map_err(gone)
        }
        ObjectType::Commit | ObjectType::Tag => sender.send(response).await.map_err(gone),
    }
}

async fn send_blob(
    cat_file: &mut CatFile,
    entry: &Entry,
    mut response: TreeEntryResponse,
    message: &TreeEntryRequest,
    sender: &Sender<TreeEntryResponse>,
) -> Result<(), Status> {
    let missing = || Status::internal("object not found");
    let header = cat_file.open(entry.id.as_bytes()).await?.ok_or_else(missing)?;
    if header.kind != Kind::Blob {
        let text = format!(
            "mismatched object type: tree-oid={} object-oid={} entry-type=BLOB object-type={}",
            entry.id, header.id, header.kind
        );
        return Err(Status::internal(text));
    }
    response.size = i64::try_from(header.size).unwrap_or(i64::MAX);
    if message.max_size > 0 && response.size > message.max_size {
        let text = format!(
            "object size ({}) is bigger than the maximum allowed size ({})",
            response.size, message.max_size
        );
        return Err(Status::failed_precondition(text));
    }
    let limit = u64::try_from(message.limit).ok().filter(|limit| *limit > 0);
    let mut left = limit.unwrap_or(u64::MAX).min(header.size);
    loop {
        response.data = cat_file.piece(&mut left).await?;
        sender.send(response).await.map_err(gone)?;
        if left == 0 {
            return Ok(());
        }
        response = TreeEntryResponse::default();
    }
}
