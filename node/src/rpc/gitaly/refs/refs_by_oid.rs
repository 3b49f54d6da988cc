//! `FindRefsByOID`: which refs point at an object.
//!
//! Never here: how lists are made (`listed`).

use super::listed::{self, Listed};
use super::{check_argument, exit_text, quoted};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::commits::text;
use crate::rpc::gitaly::commit::look::{Seen, look, unreadable};
use crate::rpc::gitaly::target::target;
use gitring_git::ref_list::{DateOf, Key, Patterns, Query};
use gitring_git::repository::Snapshot;
use gitring_git::revision::{Budget, Resolved, Revision};
use gitring_proto::gitaly::{FindRefsByOidRequest, FindRefsByOidResponse};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Where refs are looked for unless the client says it.
const PATTERNS: [&str; 2] = ["refs/tags/", "refs/heads/"];
/// Patterns of a list; with more, git makes it, so that no worker is held up.
const PATTERNS_MAX: usize = 1_000;

/// Answers `FindRefsByOID`.
pub(super) async fn find_refs_by_oid(
    resources: &Resources,
    request: Request<FindRefsByOidRequest>,
) -> Result<Response<FindRefsByOidResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let target = target(&context, message.repository.take())?;
    if message.ref_patterns.is_empty() {
        message.ref_patterns = PATTERNS.map(str::to_owned).into();
    }
    let asked = message.clone();
    let find = look(resources, &target, move |snapshot| {
        check(&asked)?;
        found(snapshot, &asked)
    });
    let listed = match find.await? {
        Seen::Found(listed) => listed,
        Seen::Missing => return Err(malformed()),
        Seen::AskGit(git_dir) => {
            check(&message)?;
            by_git(resources, &context, git_dir, &message).await?
        }
    };
    let limit = match message.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let names = (0..listed.len().min(limit)).map(|at| text(listed.name(at)));
    Ok(Response::new(FindRefsByOidResponse { refs: names.collect::<Result<_, _>>()? }))
}

fn check(message: &FindRefsByOidRequest) -> Result<(), Status> {
    if message.oid.is_empty() {
        return Err(Status::invalid_argument("empty Oid"));
    }
    for argument in [&message.oid, &message.sort_field] {
        check_argument(argument.as_bytes())?;
    }
    for pattern in &message.ref_patterns {
        check_argument(pattern.as_bytes())?;
        if pattern.starts_with('-') {
            let pattern = quoted(pattern.as_bytes());
            let text = "cannot start with dash '-': invalid argument";
            return Err(Status::internal(format!("positional arg {pattern} {text}")));
        }
    }
    Ok(())
}

fn found(
    snapshot: &Arc<Snapshot>,
    message: &FindRefsByOidRequest,
) -> Result<Resolved<Listed>, Status> {
    let (name, is_descending) = match message.sort_field.strip_prefix('-') {
        Some(name) => (name, true),
        None => (&*message.sort_field, false),
    };
    let key = match name {
        "" if !is_descending => Key::Name,
        "refname" => Key::Name,
        "creatordate" => Key::Date(DateOf::Creator),
        "authordate" => Key::Date(DateOf::Author),
        "committerdate" => Key::Date(DateOf::Committer),
        _ => return Ok(Resolved::Unsupported),
    };
    if message.ref_patterns.len() > PATTERNS_MAX {
        return Ok(Resolved::Unsupported);
    }
    let revision = Revision::parse(message.oid.as_bytes().into());
    let resolved = revision.resolve(snapshot, &mut Budget::default());
    let id = match resolved.map_err(|error| unreadable(&error))? {
        Resolved::Found(id) => id,
        Resolved::Missing => return Ok(Resolved::Missing),
        Resolved::Unsupported => return Ok(Resolved::Unsupported),
    };
    let patterns = message.ref_patterns.iter().map(|pattern| pattern.as_bytes().into());
    let patterns = Patterns::new(patterns.collect());
    let query = Query { patterns, points_at: vec![id], key, is_descending, needs_objects: false };
    listed::in_process(snapshot, &query)
}

async fn by_git(
    resources: &Resources,
    context: &Context,
    git_dir: PathBuf,
    message: &FindRefsByOidRequest,
) -> Result<Listed, Status> {
    let mut options = vec![format!("--points-at={}", message.oid)];
    if !message.sort_field.is_empty() {
        options.push(format!("--sort={}", message.sort_field));
    }
    if message.limit > 0 {
        options.push(format!("--count={}", message.limit));
    }
    let options: Vec<_> = options.iter().map(OsStr::new).collect();
    let patterns: Vec<_> = message.ref_patterns.iter().map(OsStr::new).collect();
    let listed = listed::by_git(resources, context, &git_dir, &options, &patterns).await?;
    listed.map_err(|status| match status.code() {
        // How git ends where its arguments make no sense.
        Some(129) => malformed(),
        Some(_) | None => {
            Status::internal(format!("for-each-ref pipeline command: {}", exit_text(status)))
        }
    })
}

fn malformed() -> Status {
    Status::invalid_argument("for-each-ref pipeline command: exit status 129")
}
