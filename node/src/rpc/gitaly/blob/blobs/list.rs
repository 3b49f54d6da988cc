//! `ListBlobs`, `ListAllBlobs`: blobs that revisions lead to, and all there are.
//!
//! Always true: contents are read only if the client wants some.

use super::{BATCH, walk};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::all_objects::AllObjects;
use crate::rpc::gitaly::ask::cat_file::{CatFile, Header};
use crate::rpc::gitaly::ask::revisions::{self, Allowed};
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::ask::walk::{Step, Walk};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::chunks::Chunks;
use crate::rpc::gitaly::commit::lists::prefixed;
use crate::rpc::gitaly::pieces::pieces;
use bytes::Bytes;
use gitring_git::objects::Kind;
use gitring_proto::gitaly::{
    ListAllBlobsRequest, ListAllBlobsResponse, ListBlobsRequest, ListBlobsResponse,
    list_all_blobs_response, list_blobs_response,
};
use prost::Message;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// What is told of blobs.
#[derive(Debug, Clone, Copy)]
struct Measure {
    /// Blobs that are still to be told.
    left: usize,
    /// Bytes of each that are told; all if negative.
    bytes: i64,
}

/// A part of a blob; the first one has its id and size.
#[derive(Debug, Default)]
struct Part {
    id: String,
    size: i64,
    data: Bytes,
    path: Bytes,
}

/// Where blobs come from.
enum Source {
    Walk(Walk),
    All(AllObjects),
}

/// Blobs on their way to messages.
struct Blobs<'s, I, M, W> {
    site: &'s Site,
    cat_file: Option<CatFile>,
    measure: Measure,
    chunks: Chunks<'s, I, M, W>,
    make: fn(Part) -> I,
}

/// Answers `ListBlobs`.
pub(in crate::rpc::gitaly) async fn list_blobs(
    resources: &Rc<Resources>,
    request: Request<ListBlobsRequest>,
) -> Result<Response<BoxStream<ListBlobsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let site = site(resources, context, message.repository.take()).await?;
    if message.revisions.is_empty() {
        return Err(Status::invalid_argument("missing revisions"));
    }
    revisions::check_each(&message.revisions, &[Allowed::Path, Allowed::Pseudo])?;
    let lease = site.context.lease();
    let stream = pieces(lease, |sender| {
        Box::pin(async move {
            let wrap = |blobs| ListBlobsResponse { blobs };
            let with_paths = |Part { id, size, data, path }| list_blobs_response::Blob {
                oid: id,
                size,
                data,
                path,
            };
            let plain = |Part { id, size, data, .. }| {
                let path = Bytes::new();
                list_blobs_response::Blob { oid: id, size, data, path }
            };
            let blobs = Blobs {
                site: &site,
                cat_file: None,
                measure: Measure::new(message.limit, message.bytes_limit),
                chunks: Chunks::new(&sender, wrap),
                make: if message.with_paths { with_paths } else { plain },
            };
            let walk = walk(&site, &[], &message.revisions).await?;
            blobs.send(Source::Walk(walk)).await
        })
    });
    Ok(Response::new(stream.boxed()))
}

/// Answers `ListAllBlobs`.
pub(in crate::rpc::gitaly) async fn list_all_blobs(
    resources: &Rc<Resources>,
    request: Request<ListAllBlobsRequest>,
) -> Result<Response<BoxStream<ListAllBlobsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let ListAllBlobsRequest { repository, limit, bytes_limit } = request.into_inner();
    let site = site(resources, context, repository).await?;
    let lease = site.context.lease();
    let stream = pieces(lease, |sender| {
        Box::pin(async move {
            let wrap = |blobs| ListAllBlobsResponse { blobs };
            let blobs = Blobs {
                site: &site,
                cat_file: None,
                measure: Measure::new(limit, bytes_limit),
                chunks: Chunks::new(&sender, wrap),
                make: |Part { id, size, data, .. }| list_all_blobs_response::Blob {
                    oid: id,
                    size,
                    data,
                },
            };
            blobs.send(Source::All(AllObjects::begin(&site).await?)).await
        })
    });
    Ok(Response::new(stream.boxed()))
}

// === impl Measure ===

impl Measure {
    fn new(limit: u32, bytes: i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { left: if limit == 0 { usize::MAX } else { limit }, bytes }
    }
}

// === impl Blobs ===

impl<I: Message, M, W: FnMut(Vec<I>) -> M> Blobs<'_, I, M, W> {
    async fn send(mut self, mut source: Source) -> Result<(), Status> {
        let failed = |status: Status| prefixed("processing blobs", &status);
        let mut waiting = Vec::new();
        while self.measure.left > 0 {
            // What is known of the blob already is asked for no more.
            let found = match &mut source {
                Source::Walk(walk) => walk.next().await.map_err(failed)?.map(|step| (step, None)),
                Source::All(all) => all.next().await.map_err(failed)?.map(|header| {
                    let step = Step { id: header.id.clone().into(), path: Bytes::new() };
                    (step, Some(header))
                }),
            };
            let Some((step, header)) = found else { break };
            match header {
                Some(header) if header.kind != Kind::Blob => continue,
                Some(header) if self.measure.bytes == 0 => {
                    let part = Part::of(&header, &step);
                    self.put(part).await.map_err(failed)?;
                }
                Some(_) | None => waiting.push(step),
            }
            self.measure.left -= 1;
            if waiting.len() == BATCH || self.measure.left == 0 {
                self.read(std::mem::take(&mut waiting)).await.map_err(failed)?;
            }
        }
        if self.measure.left > 0 {
            self.read(waiting).await.map_err(failed)?;
            if let Source::Walk(walk) = source {
                walk.end().await.map_err(failed)?;
            }
        }
        self.chunks.finish().await
    }

    async fn put(&mut self, part: Part) -> Result<(), Status> {
        self.chunks.put((self.make)(part)).await
    }

    /// Asks for blobs, and puts what comes into messages.
    async fn read(&mut self, steps: Vec<Step>) -> Result<(), Status> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut cat_file = match self.cat_file.take() {
            Some(cat_file) => cat_file,
            None => CatFile::begin(self.site).await?,
        };
        let wants_contents = self.measure.bytes != 0;
        for step in &steps {
            if wants_contents {
                cat_file.ask_contents(&step.id);
            } else {
                cat_file.ask_info(&step.id);
            }
        }
        cat_file.flush();
        for step in &steps {
            let header = cat_file.header(&step.id).await?;
            let header = header.ok_or_else(|| Status::internal("object not found"))?;
            let part = Part::of(&header, step);
            if wants_contents {
                self.relay(&mut cat_file, &header, part).await?;
            } else {
                self.put(part).await?;
            }
        }
        self.cat_file = Some(cat_file);
        Ok(())
    }

    /// Puts a blob's content into messages, beginning with `part`.
    async fn relay(
        &mut self,
        cat_file: &mut CatFile,
        header: &Header,
        mut part: Part,
    ) -> Result<(), Status> {
        let wanted = u64::try_from(self.measure.bytes).unwrap_or(u64::MAX).min(header.size);
        let mut left = wanted;
        let path = part.path.clone();
        loop {
            part.data = cat_file.piece(&mut left).await?;
            self.put(part).await?;
            if left == 0 {
                break;
            }
            part = Part { path: path.clone(), ..Part::default() };
        }
        cat_file.skip(header.size - wanted).await
    }
}

// === impl Part ===

impl Part {
    /// The first part of a blob.
    fn of(header: &Header, step: &Step) -> Self {
        let size = i64::try_from(header.size).unwrap_or(i64::MAX);
        Self { id: header.id.clone(), size, data: Bytes::new(), path: step.path.clone() }
    }
}
