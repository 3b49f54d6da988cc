//! `ListLFSPointers`, `ListAllLFSPointers`: pointers that revisions lead to, and all there are.
//!
//! Never here: what makes a blob a pointer.

use super::pointer::{BYTES_MAX, Pointer};
use super::{BATCH, walk};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::all_objects::AllObjects;
use crate::rpc::gitaly::ask::cat_file::CatFile;
use crate::rpc::gitaly::ask::revisions::{self, Allowed};
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::chunks::Chunks;
use crate::rpc::gitaly::pieces::pieces;
use bytes::Bytes;
use gitring_git::objects::Kind;
use gitring_proto::gitaly::{
    LfsPointer, ListAllLfsPointersRequest, ListAllLfsPointersResponse, ListLfsPointersRequest,
    ListLfsPointersResponse,
};
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// Small blobs on their way to messages.
struct Pointers<'s, M, W> {
    site: &'s Site,
    cat_file: Option<CatFile>,
    /// Ids that were not asked for yet.
    waiting: Vec<Bytes>,
    /// Pointers that are still to be told.
    left: usize,
    chunks: Chunks<'s, LfsPointer, M, W>,
}

/// Answers `ListLFSPointers`.
pub(in crate::rpc::gitaly) async fn list_lfs_pointers(
    resources: &Rc<Resources>,
    request: Request<ListLfsPointersRequest>,
) -> Result<Response<BoxStream<ListLfsPointersResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let ListLfsPointersRequest { repository, revisions, limit } = request.into_inner();
    let site = site(resources, context, repository).await?;
    if revisions.is_empty() {
        return Err(Status::invalid_argument("missing revisions"));
    }
    revisions::check_each(&revisions, &[Allowed::Path, Allowed::Pseudo])?;
    let lease = site.context.lease();
    let stream = pieces(lease, |sender| {
        Box::pin(async move {
            let wrap = |lfs_pointers| ListLfsPointersResponse { lfs_pointers };
            let mut pointers = Pointers::new(&site, limit, Chunks::new(&sender, wrap));
            let smaller = format!("--filter=blob:limit={BYTES_MAX}");
            let mut walk = walk(&site, &[&smaller], &revisions).await?;
            while pointers.left > 0 {
                let Some(step) = walk.next().await? else {
                    walk.end().await?;
                    break;
                };
                pointers.put(step.id).await?;
            }
            pointers.finish().await
        })
    });
    Ok(Response::new(stream.boxed()))
}

/// Answers `ListAllLFSPointers`.
pub(in crate::rpc::gitaly) async fn list_all_lfs_pointers(
    resources: &Rc<Resources>,
    request: Request<ListAllLfsPointersRequest>,
) -> Result<Response<BoxStream<ListAllLfsPointersResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let ListAllLfsPointersRequest { repository, limit } = request.into_inner();
    let site = site(resources, context, repository).await?;
    let lease = site.context.lease();
    let stream = pieces(lease, |sender| {
        Box::pin(async move {
            let wrap = |lfs_pointers| ListAllLfsPointersResponse { lfs_pointers };
            let mut pointers = Pointers::new(&site, limit, Chunks::new(&sender, wrap));
            let mut all = AllObjects::begin(&site).await?;
            while pointers.left > 0 {
                let Some(object) = all.next().await? else { break };
                if object.kind == Kind::Blob && object.size <= BYTES_MAX {
                    pointers.put(object.id.into()).await?;
                }
            }
            pointers.finish().await
        })
    });
    Ok(Response::new(stream.boxed()))
}

// === impl Pointers ===

impl<'s, M, W: FnMut(Vec<LfsPointer>) -> M> Pointers<'s, M, W> {
    fn new(site: &'s Site, limit: i32, chunks: Chunks<'s, LfsPointer, M, W>) -> Self {
        // Neither zero nor a negative number limits.
        let left = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        Self { site, cat_file: None, waiting: Vec::new(), left, chunks }
    }

    async fn put(&mut self, id: Bytes) -> Result<(), Status> {
        self.waiting.push(id);
        if self.waiting.len() >= BATCH { self.read().await } else { Ok(()) }
    }

    async fn finish(mut self) -> Result<(), Status> {
        self.read().await?;
        self.chunks.finish().await
    }

    async fn read(&mut self) -> Result<(), Status> {
        let ids = std::mem::take(&mut self.waiting);
        if ids.is_empty() {
            return Ok(());
        }
        let cat_file = match self.cat_file.take() {
            Some(cat_file) => cat_file,
            None => CatFile::begin(self.site).await?,
        };
        let cat_file = self.cat_file.insert(cat_file);
        ids.iter().for_each(|id| cat_file.ask_contents(id));
        cat_file.flush();
        for id in &ids {
            let header = cat_file.header(id).await?;
            let header = header.ok_or_else(|| Status::internal("object not found"))?;
            let data = cat_file.whole(&header, BYTES_MAX).await?;
            let Some(pointer) = Pointer::parse(&data).filter(|_| self.left > 0) else { continue };
            self.left -= 1;
            let (file_oid, file_size) = (data.slice_ref(pointer.file_id), pointer.file_size);
            let size = i64::try_from(data.len()).unwrap_or(i64::MAX);
            let pointer = LfsPointer { size, data, oid: header.id, file_size, file_oid };
            self.chunks.put(pointer).await?;
        }
        Ok(())
    }
}
