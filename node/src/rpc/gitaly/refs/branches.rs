//! `FindLocalBranches`, `FindAllBranches`: branches and their commits.
//!
//! Always true: 20 branches to a message, as Gitaly puts there.
//! Never here: how lists and commits are read (`listed`).

use super::list_refs::gone;
use super::listed::{self, Entry, Listed, Reader, SLICE_REFS};
use super::{ask_default_branch, check_argument, quoted};
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::look::{Seen, look, unreadable};
use crate::rpc::gitaly::pieces::{Sender, pieces};
use crate::rpc::gitaly::target::target;
use gitring_git::ref_list::{DateOf, Key, Patterns, Query, default_branch, head_reference};
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use gitring_proto::gitaly::find_all_branches_response::Branch as AnyBranch;
use gitring_proto::gitaly::find_local_branches_request::SortBy;
use gitring_proto::gitaly::{
    Branch, FindAllBranchesRequest, FindAllBranchesResponse, FindLocalBranchesRequest,
    FindLocalBranchesResponse, GitCommit,
};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

const LOCAL: &str = "refs/heads";
const REMOTE: &str = "refs/remotes";

/// What a look says of a list.
struct Found {
    /// Where objects can be read in process.
    snapshot: Option<Arc<Snapshot>>,
    /// `None`: git makes it.
    listed: Option<Listed>,
    git_dir: PathBuf,
    /// Of whom only merged branches are wanted, if that is asked for.
    default_branch: Vec<u8>,
}

/// Answers `FindLocalBranches`.
pub(super) async fn find_local_branches(
    resources: &Rc<Resources>,
    request: Request<FindLocalBranchesRequest>,
) -> Result<Response<BoxStream<FindLocalBranchesResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let message = request.into_inner();
    let target = target(&context, message.repository)?;
    let (key, is_descending, sort) = match SortBy::try_from(message.sort_by) {
        Ok(SortBy::Name) => (Key::Name, false, "--sort=refname"),
        Ok(SortBy::UpdatedAsc) => (Key::Date(DateOf::Committer), false, "--sort=committerdate"),
        Ok(SortBy::UpdatedDesc) => (Key::Date(DateOf::Committer), true, "--sort=-committerdate"),
        Err(_) => return Err(Status::invalid_argument("sorting key is not supported")),
    };
    let patterns = Patterns::new(vec![LOCAL.into()]);
    let query = Query { patterns, key, is_descending, ..Query::default() };
    let find = look(resources, &target, move |snapshot| found(snapshot, &query));
    let found = match find.await? {
        Seen::Found(found) => found,
        Seen::Missing => return Ok(Response::new(pieces(context.lease(), |_| done()).boxed())),
        Seen::AskGit(git_dir) => Found::by_git(git_dir),
    };
    let listed = match found.listed {
        Some(listed) => listed,
        None => {
            let (options, patterns) = ([OsStr::new(sort)], [OsStr::new(LOCAL)]);
            let (context, git_dir) = (&context, &found.git_dir);
            let made = listed::by_git(resources, context, git_dir, &options, &patterns);
            made.await?.map_err(died)?
        }
    };
    let page = listed::page(&listed, message.pagination_params.as_ref());
    let page = page.ok_or_else(|| {
        let text = "invalid page token: sending lines: could not find page token";
        Status::invalid_argument(text)
    })?;
    let reader = Reader {
        resources: Rc::clone(resources),
        context: Rc::clone(&context),
        git_dir: found.git_dir,
        snapshot: found.snapshot,
    };
    let stream = pieces(context.lease(), |sender| {
        Box::pin(send(listed, page, reader, sender, |branches| {
            let branch = |(entry, commit): (Entry, GitCommit)| Branch {
                name: entry.name,
                target_commit: Some(commit),
            };
            let local_branches = branches.into_iter().map(branch).collect();
            FindLocalBranchesResponse { local_branches }
        }))
    });
    Ok(Response::new(stream.boxed()))
}

/// Answers `FindAllBranches`.
pub(super) async fn find_all_branches(
    resources: &Rc<Resources>,
    request: Request<FindAllBranchesRequest>,
) -> Result<Response<BoxStream<FindAllBranchesResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let message = request.into_inner();
    let target = target(&context, message.repository)?;
    let merged_only = message.merged_only;
    let find = look(resources, &target, move |snapshot| {
        if merged_only { merged(snapshot) } else { found(snapshot, &all_branches()) }
    });
    let found = match find.await? {
        Seen::Found(found) => found,
        Seen::Missing => return Ok(Response::new(pieces(context.lease(), |_| done()).boxed())),
        Seen::AskGit(git_dir) => {
            let mut found = Found::by_git(git_dir);
            if merged_only {
                let asking = ask_default_branch(resources, &context, &found.git_dir, false);
                found.default_branch = asking.await.map_err(|status| {
                    Status::internal(format!("default branch name: {}", status.message()))
                })?;
            }
            found
        }
    };
    let listed = match found.listed {
        Some(listed) => listed,
        None => {
            let named = if merged_only { &message.merged_branches[..] } else { &[] };
            for pattern in named {
                check_pattern(pattern)?;
            }
            let merged = [b"--merged=", &found.default_branch[..]].concat();
            let merged = [OsStr::from_bytes(&merged)];
            let options = if merged_only { &merged[..] } else { &[] };
            let mut patterns: Vec<_> = named.iter().map(|one| OsStr::from_bytes(one)).collect();
            if patterns.is_empty() {
                patterns = vec![OsStr::new(LOCAL), OsStr::new(REMOTE)];
            }
            let (context, git_dir) = (&context, &found.git_dir);
            let made = listed::by_git(resources, context, git_dir, options, &patterns);
            made.await?.map_err(died)?
        }
    };
    let reader = Reader {
        resources: Rc::clone(resources),
        context: Rc::clone(&context),
        git_dir: found.git_dir,
        snapshot: found.snapshot,
    };
    let page = 0..listed.len();
    let stream = pieces(context.lease(), |sender| {
        Box::pin(send(listed, page, reader, sender, |branches| {
            let branch = |(entry, commit): (Entry, GitCommit)| AnyBranch {
                name: entry.name,
                target: Some(commit),
            };
            FindAllBranchesResponse { branches: branches.into_iter().map(branch).collect() }
        }))
    });
    Ok(Response::new(stream.boxed()))
}

fn all_branches() -> Query {
    let patterns = Patterns::new(vec![LOCAL.into(), REMOTE.into()]);
    Query { patterns, ..Query::default() }
}

fn found(snapshot: &Arc<Snapshot>, query: &Query) -> Result<Resolved<Found>, Status> {
    let listed = match listed::in_process(snapshot, query)? {
        Resolved::Found(listed) => Some(listed),
        Resolved::Missing | Resolved::Unsupported => None,
    };
    Ok(Resolved::Found(Found {
        snapshot: Some(Arc::clone(snapshot)),
        listed,
        git_dir: snapshot.git_dir().to_owned(),
        default_branch: Vec::new(),
    }))
}

/// git walks history for the list; commits are read here.
fn merged(snapshot: &Arc<Snapshot>) -> Result<Resolved<Found>, Status> {
    let none =
        || Status::internal("default branch name: get symbolic ref: exit status 128".to_owned());
    let head = head_reference(snapshot).ok_or_else(none)?;
    let name = match default_branch(snapshot, head).map_err(|error| unreadable(&error))? {
        Resolved::Found(name) => Vec::from(name),
        Resolved::Missing => Vec::new(),
        Resolved::Unsupported => return Ok(Resolved::Unsupported),
    };
    Ok(Resolved::Found(Found {
        snapshot: Some(Arc::clone(snapshot)),
        listed: None,
        git_dir: snapshot.git_dir().to_owned(),
        default_branch: name,
    }))
}

fn check_pattern(pattern: &[u8]) -> Result<(), Status> {
    let refused =
        |text: &str| Status::internal(format!("finding refs: spawning for-each-ref: {text}"));
    check_argument(pattern).map_err(|status| refused(status.message()))?;
    if pattern.starts_with(b"-") {
        let pattern = quoted(pattern);
        let text = format!("positional arg {pattern} cannot start with dash '-': invalid argument");
        return Err(refused(&text));
    }
    Ok(())
}

fn died(status: ExitStatus) -> Status {
    let code = status.code().unwrap_or(-1);
    Status::internal(format!("finding refs: listing failed with exit code {code}"))
}

fn done() -> crate::rpc::gitaly::pieces::Work {
    Box::pin(std::future::ready(Ok(())))
}

async fn send<M>(
    listed: Listed,
    page: Range<usize>,
    reader: Reader,
    sender: Sender<M>,
    message: fn(Vec<(Entry, GitCommit)>) -> M,
) -> Result<(), Status> {
    for start in page.clone().step_by(SLICE_REFS) {
        let slice = start..page.end.min(start + SLICE_REFS);
        let entries: Vec<_> = slice.map(|at| listed.entry(at)).collect::<Result<_, _>>()?;
        let commits =
            reader.commits(entries.iter().map(|entry| entry.id.clone()).collect()).await?;
        let missing =
            || Status::internal("finding refs: sending lines: object not found".to_owned());
        let branches = entries.into_iter().zip(commits);
        let branches = branches.map(|(entry, commit)| Ok((entry, commit.ok_or_else(missing)?)));
        let branches = branches.collect::<Result<_, Status>>()?;
        sender.send(message(branches)).await.map_err(gone)?;
    }
    Ok(())
}

// === impl Found ===

impl Found {
    fn by_git(git_dir: PathBuf) -> Self {
        Self { snapshot: None, listed: None, git_dir, default_branch: Vec::new() }
    }
}
