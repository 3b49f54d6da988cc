//! `ListCommits`, `ListAllCommits`, `ListCommitsByOid`: many commits.
//!
//! Always true: a page that is full ends the walk behind it.
//! Never here: which revisions are taken.

use super::reader::{BATCH, CommitReader};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::all_objects::AllObjects;
use crate::rpc::gitaly::ask::revisions::{self, Allowed};
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::ask::walk::Walk;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::chunks::Chunks;
use crate::rpc::gitaly::pieces::{Sender, pieces};
use bytes::Bytes;
use gitring_git::objects::Kind;
use gitring_proto::gitaly::list_commits_request::Order;
use gitring_proto::gitaly::{
    GitCommit, ListAllCommitsRequest, ListAllCommitsResponse, ListCommitsByOidRequest,
    ListCommitsByOidResponse, ListCommitsRequest, ListCommitsResponse, PaginationCursor,
    PaginationParameter,
};
use prost_types::Timestamp;
use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// Which part of a list a client wants.
#[derive(Debug)]
struct Page {
    /// It begins behind the commit with this id.
    after: Option<Bytes>,
    /// Commits that still fit on it.
    left: usize,
}

/// Commits on their way from ids to messages.
struct Commits<'s, M, W> {
    reader: CommitReader<'s>,
    /// Ids that were not asked for yet.
    waiting: Vec<Bytes>,
    chunks: Chunks<'s, GitCommit, M, W>,
    /// The last commit that was put into a message.
    last: Rc<RefCell<String>>,
}

/// Answers `ListCommits`.
pub(in crate::rpc::gitaly) async fn list(
    resources: &Rc<Resources>,
    request: Request<ListCommitsRequest>,
) -> Result<Response<BoxStream<ListCommitsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let site = site(resources, context, message.repository.take()).await?;
    if message.revisions.is_empty() {
        return Err(Status::invalid_argument("missing revisions"));
    }
    revisions::check_each(&message.revisions, &[Allowed::Pseudo])?;
    let lease = site.context.lease();
    let stream =
        pieces(lease, |sender| Box::pin(async move { send_list(&site, message, &sender).await }));
    Ok(Response::new(stream.boxed()))
}

async fn send_list(
    site: &Site,
    message: ListCommitsRequest,
    sender: &Sender<ListCommitsResponse>,
) -> Result<(), Status> {
    let mut page = Page::new(message.pagination_params.as_ref());
    let options = walk_options(&message);
    let mut walk = Walk::begin(site, options, &message.revisions, &message.paths).await?;
    let last = Rc::new(RefCell::new(String::new()));
    let cursor = Rc::clone(&last);
    let mut is_first = true;
    let wrap = move |commits| {
        // Gitaly sends the cursor once, with the first message.
        let next_cursor = cursor.borrow().clone();
        let pagination_cursor = is_first.then_some(PaginationCursor { next_cursor });
        is_first = false;
        ListCommitsResponse { commits, pagination_cursor }
    };
    let mut commits = Commits::new(site, Chunks::new(sender, wrap), last);
    let failed = |status: Status| prefixed("iterating objects", &status);
    while !page.is_full() {
        let Some(step) = walk.next().await? else {
            walk.end().await.map_err(failed)?;
            break;
        };
        if page.takes(&step.id) {
            commits.put(step.id).await.map_err(failed)?;
        }
    }
    commits.finish().await.map_err(failed)
}

fn walk_options(message: &ListCommitsRequest) -> Vec<OsString> {
    let mut options: Vec<OsString> = Vec::new();
    let mut add = |condition: bool, option: &str| {
        if condition {
            options.push(option.into());
        }
    };
    add(message.order() == Order::Topo, "--topo-order");
    add(message.order() == Order::Date, "--date-order");
    add(message.reverse, "--reverse");
    add(message.max_parents > 0, &format!("--max-parents={}", message.max_parents));
    add(message.disable_walk, "--no-walk");
    add(message.first_parent, "--first-parent");
    if let Some(before) = &message.before {
        add(true, &date("before", before));
    }
    if let Some(after) = &message.after {
        add(true, &date("after", after));
    }
    add(message.ignore_case, "--regexp-ignore-case");
    add(message.skip > 0, &format!("--skip={}", message.skip));
    let with = |option: &[u8], value: &[u8]| OsString::from_vec([option, value].concat());
    if !message.author.is_empty() {
        options.push(with(b"--author=", &message.author));
    }
    let patterns = message.commit_message_patterns.iter();
    options.extend(patterns.map(|pattern| with(b"--grep=", pattern)));
    options
}

/// An option with a time, as git takes it whatever its language and zone (git-rev-parse(1), date
/// formats). What was before 1970 has no such form, and no commits.
pub(in crate::rpc::gitaly) fn date(option: &str, time: &Timestamp) -> String {
    format!("--{option}=@{} +0000", time.seconds.max(0))
}

/// Answers `ListAllCommits`.
pub(in crate::rpc::gitaly) async fn list_all(
    resources: &Rc<Resources>,
    request: Request<ListAllCommitsRequest>,
) -> Result<Response<BoxStream<ListAllCommitsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let message = request.into_inner();
    let site = site(resources, context, message.repository).await?;
    let page = Page::new(message.pagination_params.as_ref());
    let lease = site.context.lease();
    let stream =
        pieces(lease, |sender| Box::pin(async move { send_all(&site, page, &sender).await }));
    Ok(Response::new(stream.boxed()))
}

async fn send_all(
    site: &Site,
    mut page: Page,
    sender: &Sender<ListAllCommitsResponse>,
) -> Result<(), Status> {
    let failed = |status: Status| prefixed("iterating objects", &status);
    let mut all = AllObjects::begin(site).await?;
    let chunks = Chunks::new(sender, |commits| ListAllCommitsResponse { commits });
    let mut commits = Commits::new(site, chunks, Rc::default());
    while !page.is_full() {
        let Some(object) = all.next().await.map_err(failed)? else { break };
        let is_commit = object.kind == Kind::Commit;
        // Any object may be the one that a page begins behind.
        if (is_commit || page.after.is_some()) && page.takes(object.id.as_bytes()) {
            commits.put(object.id.into()).await.map_err(failed)?;
        }
    }
    commits.finish().await.map_err(failed)
}

/// Answers `ListCommitsByOid`.
pub(in crate::rpc::gitaly) async fn list_by_oid(
    resources: &Rc<Resources>,
    request: Request<ListCommitsByOidRequest>,
) -> Result<Response<BoxStream<ListCommitsByOidResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let ListCommitsByOidRequest { repository, oid } = request.into_inner();
    resources.oids_asked.observe(oid.len() as f64);
    let site = site(resources, context, repository).await?;
    let lease = site.context.lease();
    let stream = pieces(lease, |sender| {
        Box::pin(async move {
            let mut reader = CommitReader::new(&site);
            let wrap = |commits| ListCommitsByOidResponse { commits };
            let mut chunks = Chunks::new(&sender, wrap);
            for batch in oid.chunks(BATCH) {
                let names = batch.iter().map(|id| Bytes::from(id.clone())).collect();
                for commit in reader.read(names).await?.into_iter().flatten() {
                    chunks.put(commit).await?;
                }
            }
            chunks.finish().await
        })
    });
    Ok(Response::new(stream.boxed()))
}

/// The same failure, seen from further away.
pub(in crate::rpc::gitaly) fn prefixed(what: &str, status: &Status) -> Status {
    let message = format!("{what}: {}", status.message());
    Status::with_details(status.code(), message, status.details().to_vec().into())
}

// === impl Page ===

impl Page {
    fn new(asked: Option<&PaginationParameter>) -> Self {
        let token = asked.map(|asked| &asked.page_token).filter(|token| !token.is_empty());
        let limit = asked.and_then(|asked| usize::try_from(asked.limit).ok());
        Self {
            after: token.map(|token| token.clone().into()),
            // No limit is zero; negative ones do not limit either.
            left: limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX),
        }
    }

    fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Whether the next commit of the list is on the page.
    fn takes(&mut self, id: &[u8]) -> bool {
        if let Some(after) = &self.after {
            if after == id {
                self.after = None;
            }
            return false;
        }
        self.left -= 1;
        true
    }
}

// === impl Commits ===

impl<'s, M, W: FnMut(Vec<GitCommit>) -> M> Commits<'s, M, W> {
    fn new(site: &'s Site, chunks: Chunks<'s, GitCommit, M, W>, last: Rc<RefCell<String>>) -> Self {
        Self { reader: CommitReader::new(site), waiting: Vec::new(), chunks, last }
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
        if self.waiting.is_empty() {
            return Ok(());
        }
        for commit in self.reader.read(std::mem::take(&mut self.waiting)).await? {
            let commit = commit.ok_or_else(|| Status::internal("object not found"))?;
            self.last.replace(commit.id.clone());
            self.chunks.put(commit).await?;
        }
        Ok(())
    }
}
