//! `FindChangedPaths`: which paths commits and trees differ in.
//!
//! Always true: at most two git children a call: one that compares, and where revisions are not read
//! in process one that resolves.
//! Never here: contents.

mod request;
mod row;

use self::request::Comparison;
use self::row::Row;
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::ask::talk::{Command, Talk};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::chunks::Chunks;
use crate::rpc::gitaly::commit::lists::prefixed;
use crate::rpc::gitaly::pieces::{Sender, pieces};
use crate::rpc::gitaly::refs::exit_text;
use bytes::Buf;
use gitring_proto::gitaly::{FindChangedPathsRequest, FindChangedPathsResponse};
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// Answers `FindChangedPaths`.
pub(super) async fn find_changed_paths(
    resources: &Rc<Resources>,
    request: Request<FindChangedPathsRequest>,
) -> Result<Response<BoxStream<FindChangedPathsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let site = site(resources, context, message.repository.take()).await?;
    let comparison = Comparison::of(message)?;
    let lease = site.context.lease();
    let stream =
        pieces(lease, |sender| Box::pin(async move { send(&site, comparison, &sender).await }));
    Ok(Response::new(stream.boxed()))
}

async fn send(
    site: &Site,
    comparison: Comparison,
    sender: &Sender<FindChangedPathsResponse>,
) -> Result<(), Status> {
    let input = comparison.resolve(site).await?;
    let options = comparison.options()?;
    let args = options.into_iter().map(Into::into).collect();
    let mut talk = Talk::ask(site, Command { subcmd: "diff-tree", args, input }).await?;
    let mut chunks = Chunks::new(sender, |paths| FindChangedPathsResponse { paths });
    let failed = |status: Status| prefixed("parsing err: next path err", &status);
    let mut commit_id = String::new();
    while let Some(mut part) = talk.line(b'\0').await? {
        // Trees are repeated on lines of their own, whatever else ends rows.
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            part.advance(at + 1);
        }
        if !part.starts_with(b":") {
            // The commit that the next paths are those of.
            if matches!(part.len(), 40 | 64) && comparison.tells_commits() {
                commit_id = String::from_utf8_lossy(&part).into_owned();
            }
            continue;
        }
        let mut row = Row::parse(&part).map_err(failed)?;
        let ended = || failed(Status::internal("unexpected EOF"));
        let mut path = talk.line(b'\0').await?.ok_or_else(ended)?;
        if row.has_old_path() {
            row.old_path = path;
            path = talk.line(b'\0').await?.ok_or_else(ended)?;
        }
        for changed in row.into_paths(path, &commit_id) {
            chunks.put(changed).await?;
        }
    }
    let ended = talk.end().await?;
    if !ended.status.success() {
        tracing::warn!(complaint = ended.complaint, "git diff-tree died");
        let text = format!("cmd wait err: {}", exit_text(ended.status));
        return Err(Status::failed_precondition(text));
    }
    chunks.finish().await
}
