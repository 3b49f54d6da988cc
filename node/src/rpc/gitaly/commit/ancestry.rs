//! `CommitIsAncestor`, `FindMergeBase`, `CountCommits`: how commits hang together.

use super::lists::date;
use super::look::{Seen, look, unreadable};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::revisions::{self, Allowed};
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::ask::talk::{Command, Talk};
use crate::rpc::gitaly::ask::walk::Walk;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::refs::{check_argument, quoted};
use gitring_git::ancestry::is_ancestor;
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use gitring_proto::gitaly::{
    CommitIsAncestorRequest, CommitIsAncestorResponse, CountCommitsRequest, CountCommitsResponse,
    FindMergeBaseRequest, FindMergeBaseResponse,
};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use tonic::{Request, Response, Status};

/// An id, or a number.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Answers `CommitIsAncestor`.
pub(in crate::rpc::gitaly) async fn commit_is_ancestor(
    resources: &Rc<Resources>,
    request: Request<CommitIsAncestorRequest>,
) -> Result<Response<CommitIsAncestorResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let CommitIsAncestorRequest { repository, ancestor_id, child_id } = request.into_inner();
    let site = site(resources, context, repository).await?;
    if ancestor_id.is_empty() {
        return Err(Status::invalid_argument("empty ancestor sha"));
    }
    if child_id.is_empty() {
        return Err(Status::invalid_argument("empty child sha"));
    }
    let asked = (ancestor_id.clone(), child_id.clone());
    check_operands([&ancestor_id, &child_id])?;
    let find = look(resources, &site.target, move |snapshot| {
        judge(snapshot, asked.0.as_bytes(), asked.1.as_bytes())
    });
    let value = match find.await? {
        Seen::Found(value) => value,
        Seen::Missing => false,
        Seen::AskGit(_) => {
            let args = ["--is-ancestor", "--end-of-options", &ancestor_id, &child_id];
            let args = args.iter().map(OsString::from).collect();
            merge_base(&site, args).await?.is_some()
        }
    };
    Ok(Response::new(CommitIsAncestorResponse { value }))
}

fn judge(snapshot: &Snapshot, ancestor: &[u8], child: &[u8]) -> Result<Resolved<bool>, Status> {
    is_ancestor(snapshot, ancestor.into(), child.into()).map_err(|error| unreadable(&error))
}

/// Answers `FindMergeBase`.
pub(in crate::rpc::gitaly) async fn find_merge_base(
    resources: &Rc<Resources>,
    request: Request<FindMergeBaseRequest>,
) -> Result<Response<FindMergeBaseResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let FindMergeBaseRequest { repository, revisions } = request.into_inner();
    let site = site(resources, context, repository).await?;
    if revisions.len() < 2 {
        return Err(Status::invalid_argument("at least 2 revisions are required"));
    }
    check_operands(&revisions).map_err(|status| super::lists::prefixed("cmd", &status))?;
    let mut args: Vec<OsString> = vec!["--end-of-options".into()];
    args.extend(revisions.iter().map(|revision| OsStr::from_bytes(revision).to_owned()));
    let base = merge_base(&site, args).await?.unwrap_or_default();
    Ok(Response::new(FindMergeBaseResponse { base }))
}

/// What `git merge-base` says; `None` if it fails, which it also does where there is none.
async fn merge_base(site: &Site, args: Vec<OsString>) -> Result<Option<String>, Status> {
    let command = Command { subcmd: "merge-base", args, input: Vec::new() };
    let (answer, ended) = Talk::ask(site, command).await?.rest(ANSWER_BYTES_MAX).await?;
    let answer = String::from_utf8_lossy(&answer).trim_end_matches('\n').to_owned();
    Ok(ended.status.success().then_some(answer))
}

/// Refuses what Gitaly does not give to a command that takes revisions.
fn check_operands<R: AsRef<[u8]>>(revisions: impl IntoIterator<Item = R>) -> Result<(), Status> {
    for revision in revisions {
        let revision = revision.as_ref();
        check_argument(revision)?;
        if revision.starts_with(b"-") {
            let text = format!(
                "positional arg {} cannot start with dash '-': invalid argument",
                quoted(revision)
            );
            return Err(Status::internal(text));
        }
    }
    Ok(())
}

/// Answers `CountCommits`.
pub(in crate::rpc::gitaly) async fn count_commits(
    resources: &Rc<Resources>,
    request: Request<CountCommitsRequest>,
) -> Result<Response<CountCommitsResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let mut site = site(resources, context, message.repository.take()).await?;
    let mut revisions = std::mem::take(&mut message.revisions);
    if revisions.is_empty() {
        revisions::check(&message.revision, &[Allowed::Empty])?;
        if message.all {
            revisions.push("--all".into());
        } else if message.revision.is_empty() {
            return Err(Status::invalid_argument("empty Revision and false All"));
        } else {
            revisions.push(message.revision.clone());
        }
    } else {
        revisions::check_each(&revisions, &[Allowed::Pseudo])?;
    }
    if message.global_options.as_ref().is_some_and(|options| options.literal_pathspecs) {
        site.variables.push(("GIT_LITERAL_PATHSPECS".into(), "1".into()));
    }
    let mut options: Vec<OsString> = vec!["--count".into()];
    options.extend(message.before.as_ref().map(|time| date("before", time).into()));
    options.extend(message.after.as_ref().map(|time| date("after", time).into()));
    if message.max_count != 0 {
        options.push(format!("--max-count={}", message.max_count).into());
    }
    if message.first_parent {
        options.push("--first-parent".into());
    }
    let paths: Vec<_> = Some(message.path).into_iter().filter(|path| !path.is_empty()).collect();
    let walk = Walk::begin(&site, options, &revisions, &paths).await?;
    let Some(answer) = walk.answer(ANSWER_BYTES_MAX).await? else {
        return Ok(Response::new(CountCommitsResponse { count: 0 }));
    };
    let answer = String::from_utf8_lossy(&answer);
    let count = answer.trim().parse();
    let count = count.map_err(|error| Status::internal(format!("parse count: {error}")))?;
    Ok(Response::new(CountCommitsResponse { count }))
}
