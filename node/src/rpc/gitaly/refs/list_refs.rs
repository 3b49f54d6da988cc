//! `ListRefs`: many refs, in process or by `git for-each-ref`.
//!
//! Always true: refs are made into messages as the client reads them.
//! Never here: order and patterns (`gitring_git::ref_list`).

use super::list_by_git;
use super::pages::{Pages, Put};
use super::{check_argument, quoted};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::look::{Seen, look, unreadable};
use crate::rpc::gitaly::pieces::{Sender, pieces};
use crate::rpc::gitaly::target::target;
use crate::rpc::wire::Gone;
use bytes::Bytes;
use gitring_git::ObjectId;
use gitring_git::ref_list::{DateOf, Key, ListError, Patterns, Query, list};
use gitring_git::repository::Snapshot;
use gitring_git::revision::{Budget, Resolved, Revision};
use gitring_proto::gitaly::list_refs_request::sort_by;
use gitring_proto::gitaly::list_refs_response::Reference;
use gitring_proto::gitaly::{ListRefsRequest, ListRefsResponse, SortDirection};
use std::rc::Rc;
use std::sync::Arc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// Patterns of a list; with more, git makes it, so that no worker is held up.
const PATTERNS_MAX: usize = 1_000;
/// Revisions at one of which refs have to point; with more, git makes the list.
const POINTS_AT_MAX: usize = 1_000;

/// The list, before it was made into messages.
struct Listed {
    snapshot: Arc<Snapshot>,
    /// Places in the snapshot's list, in order.
    refs: Vec<u32>,
    head: Option<ObjectId>,
}

/// What a valid request asks for.
#[derive(Debug, Clone)]
pub(in crate::rpc::gitaly) struct Wanted {
    pub(in crate::rpc::gitaly) patterns: Vec<Bytes>,
    /// Revisions.
    pub(in crate::rpc::gitaly) points_at: Vec<Bytes>,
    pub(in crate::rpc::gitaly) key: Key,
    pub(in crate::rpc::gitaly) is_descending: bool,
    pub(in crate::rpc::gitaly) head: bool,
    pub(in crate::rpc::gitaly) peel: bool,
}

/// Answers `ListRefs`.
pub(in crate::rpc::gitaly) async fn list_refs(
    resources: &Rc<Resources>,
    request: Request<ListRefsRequest>,
) -> Result<Response<BoxStream<ListRefsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let target = target(&context, message.repository.take())?;
    let page = message.pagination_params.take();
    let wanted = wanted(message);
    let asked = wanted.clone();
    let listed = look(resources, &target, move |snapshot| found(snapshot, &asked?)).await?;
    let wanted = wanted?;
    let (resources, lease) = (Rc::clone(resources), context.lease());
    let stream = match listed {
        Seen::Found(listed) => {
            let pages = Pages::new(listed.head.map(|id| head(&id.to_string())), page)?;
            pieces(lease, |sender| Box::pin(send(listed, wanted.peel, pages, sender)))
        }
        Seen::Missing => pieces(lease, |_| Box::pin(std::future::ready(Ok(())))),
        Seen::AskGit(git_dir) => pieces(lease, |sender| {
            Box::pin(async move {
                let asking = list_by_git::Asking { resources, context, git_dir, wanted, page };
                asking.run(sender).await
            })
        }),
    };
    Ok(Response::new(stream.boxed()))
}

/// Checks a request as Gitaly does after it has found the repository.
fn wanted(message: ListRefsRequest) -> Result<Wanted, Status> {
    if message.patterns.is_empty() {
        return Err(Status::invalid_argument("patterns must have at least one entry"));
    }
    let sort = message.sort_by.unwrap_or_default();
    let key = match sort_by::Key::try_from(sort.key) {
        Ok(sort_by::Key::Refname) => Key::Name,
        Ok(sort_by::Key::Creatordate) => Key::Date(DateOf::Creator),
        Ok(sort_by::Key::Authordate) => Key::Date(DateOf::Author),
        Ok(sort_by::Key::Committerdate) => Key::Date(DateOf::Committer),
        Err(_) => {
            let text = format!("sorting key \"{}\" is not supported", sort.key);
            return Err(Status::invalid_argument(text));
        }
    };
    let is_descending = match SortDirection::try_from(sort.direction) {
        Ok(direction) => direction == SortDirection::Descending,
        Err(_) => return Err(Status::invalid_argument("sorting direction is not supported")),
    };
    let refused =
        |status: Status| Status::internal(format!("spawning for-each-ref: {}", status.message()));
    for pattern in &message.patterns {
        check_argument(pattern).map_err(refused)?;
        if pattern.starts_with(b"-") {
            let text = format!(
                "positional arg {} cannot start with dash '-': invalid argument",
                quoted(pattern)
            );
            return Err(refused(Status::internal(text)));
        }
    }
    for revision in &message.pointing_at_oids {
        check_argument(revision).map_err(refused)?;
    }
    Ok(Wanted {
        patterns: message.patterns,
        points_at: message.pointing_at_oids,
        key,
        is_descending,
        head: message.head,
        peel: message.peel_tags,
    })
}

fn found(snapshot: &Arc<Snapshot>, wanted: &Wanted) -> Result<Resolved<Listed>, Status> {
    if wanted.patterns.len() > PATTERNS_MAX || wanted.points_at.len() > POINTS_AT_MAX {
        return Ok(Resolved::Unsupported);
    }
    let mut budget = Budget::default();
    let mut resolve = |text: &[u8]| {
        let resolved = Revision::parse(text.into()).resolve(snapshot, &mut budget);
        resolved.map_err(|error| unreadable(&error))
    };
    let head = match wanted.head.then(|| resolve(b"HEAD")).transpose()? {
        Some(Resolved::Found(id)) => Some(id),
        Some(Resolved::Unsupported) => return Ok(Resolved::Unsupported),
        Some(Resolved::Missing) | None => None,
    };
    let mut points_at = Vec::with_capacity(wanted.points_at.len());
    for revision in &wanted.points_at {
        match resolve(revision)? {
            Resolved::Found(id) => points_at.push(id),
            Resolved::Missing => return Err(died(129)),
            Resolved::Unsupported => return Ok(Resolved::Unsupported),
        }
    }
    points_at.sort_unstable();
    let patterns = wanted.patterns.iter().map(|pattern| pattern.as_ref().into());
    let query = Query {
        patterns: Patterns::new(patterns.collect()),
        points_at,
        key: wanted.key,
        is_descending: wanted.is_descending,
        // git reads each object for this, and dies of one that is not there.
        needs_objects: wanted.peel,
    };
    let listed = match list(snapshot, &query) {
        Ok(listed) => listed,
        Err(ListError::TooMuch) => return Ok(Resolved::Unsupported),
        Err(ListError::MissingObject { .. }) => return Err(died(128)),
        Err(ListError::Store(error)) => return Err(unreadable(&error)),
    };
    let place = |one| snapshot.refs.element_offset(one).and_then(|at| u32::try_from(at).ok());
    let refs = listed.into_iter().filter_map(place).collect();
    Ok(Resolved::Found(Listed { snapshot: Arc::clone(snapshot), refs, head }))
}

/// As where `git for-each-ref` ends with this code.
pub(in crate::rpc::gitaly) fn died(code: i32) -> Status {
    Status::internal(format!("listing failed with exit code {code}"))
}

/// The line for `HEAD`.
pub(in crate::rpc::gitaly) fn head(id: &str) -> Reference {
    let (name, target) = (Bytes::from_static(b"HEAD"), id.to_owned());
    Reference { name, target, peeled_target: String::new() }
}

async fn send(
    listed: Listed,
    peel: bool,
    mut pages: Pages,
    sender: Sender<ListRefsResponse>,
) -> Result<(), Status> {
    for place in &listed.refs {
        let one = &listed.snapshot.refs[*place as usize];
        let peeled = one.peeled.filter(|_| peel);
        let reference = Reference {
            name: Bytes::copy_from_slice(&one.name),
            target: one.target.to_string(),
            peeled_target: peeled.map(|id| id.to_string()).unwrap_or_default(),
        };
        match pages.put(reference) {
            Put::Waits => {}
            Put::Message(message) => sender.send(message).await.map_err(gone)?,
            Put::Full => break,
        }
    }
    finish(pages, &sender).await
}

/// Sends what is left.
pub(super) async fn finish(pages: Pages, sender: &Sender<ListRefsResponse>) -> Result<(), Status> {
    match pages.finish()? {
        Some(message) => sender.send(message).await.map_err(gone),
        None => Ok(()),
    }
}

/// A client that does not read to the end.
pub(in crate::rpc::gitaly) fn gone(Gone: Gone) -> Status {
    Status::cancelled("the client left")
}
