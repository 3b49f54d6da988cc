//! `RefService`: refs by name, the default branch.

mod branches;
mod list_by_git;
pub(super) mod list_refs;
mod listed;
mod objects_by_git;
mod pages;
mod refs_by_oid;
mod tag_messages;
mod tags;

use self::branches::{find_all_branches, find_local_branches};
use self::refs_by_oid::find_refs_by_oid;
use self::tags::{find_all_tags, find_tag};
use super::Resources;
use super::ask::child::{Answered, Asked};
use super::call::context::Context;
use super::commit::commits::{self, child_answer};
use super::commit::look::{Seen, glance, look, unreadable};
use super::ref_change::delete_refs::delete_refs;
use super::ref_change::update_references::update_references;
use super::target::target;
use gitring_git::ref_list::{Patterns, default_branch, head_reference};
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use gitring_proto::gitaly::ref_service_server::RefService;
use gitring_proto::gitaly::{
    Branch, DeleteRefsRequest, DeleteRefsResponse, FindAllBranchesRequest, FindAllBranchesResponse,
    FindAllTagsRequest, FindAllTagsResponse, FindBranchRequest, FindBranchResponse,
    FindDefaultBranchNameRequest, FindDefaultBranchNameResponse, FindLocalBranchesRequest,
    FindLocalBranchesResponse, FindRefsByOidRequest, FindRefsByOidResponse, FindTagRequest,
    FindTagResponse, GitCommit, ListRefsRequest, ListRefsResponse, RefExistsRequest,
    RefExistsResponse, UpdateReferencesRequest, UpdateReferencesResponse,
};
use send_wrapper::SendWrapper;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitStatus;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// A ref's name, an id, or a few of them.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Where branches are.
const BRANCHES: &str = "refs/heads/";

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct Refs(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl RefService for Refs {
    async fn find_default_branch_name(
        &self,
        request: Request<FindDefaultBranchNameRequest>,
    ) -> Result<Response<FindDefaultBranchNameResponse>, Status> {
        SendWrapper::new(find_default_branch(&self.0, request)).await
    }

    async fn ref_exists(
        &self,
        request: Request<RefExistsRequest>,
    ) -> Result<Response<RefExistsResponse>, Status> {
        SendWrapper::new(ref_exists(&self.0, request)).await
    }

    async fn find_branch(
        &self,
        request: Request<FindBranchRequest>,
    ) -> Result<Response<FindBranchResponse>, Status> {
        SendWrapper::new(find_branch(&self.0, request)).await
    }

    async fn find_tag(
        &self,
        request: Request<FindTagRequest>,
    ) -> Result<Response<FindTagResponse>, Status> {
        SendWrapper::new(find_tag(&self.0, request)).await
    }

    async fn find_all_tags(
        &self,
        request: Request<FindAllTagsRequest>,
    ) -> Result<Response<BoxStream<FindAllTagsResponse>>, Status> {
        SendWrapper::new(find_all_tags(&self.0, request)).await
    }

    async fn find_local_branches(
        &self,
        request: Request<FindLocalBranchesRequest>,
    ) -> Result<Response<BoxStream<FindLocalBranchesResponse>>, Status> {
        SendWrapper::new(find_local_branches(&self.0, request)).await
    }

    async fn find_all_branches(
        &self,
        request: Request<FindAllBranchesRequest>,
    ) -> Result<Response<BoxStream<FindAllBranchesResponse>>, Status> {
        SendWrapper::new(find_all_branches(&self.0, request)).await
    }

    async fn find_refs_by_oid(
        &self,
        request: Request<FindRefsByOidRequest>,
    ) -> Result<Response<FindRefsByOidResponse>, Status> {
        SendWrapper::new(find_refs_by_oid(&self.0, request)).await
    }

    async fn update_references(
        &self,
        request: Request<Streaming<UpdateReferencesRequest>>,
    ) -> Result<Response<UpdateReferencesResponse>, Status> {
        SendWrapper::new(update_references(&self.0, request)).await
    }

    async fn delete_refs(
        &self,
        request: Request<DeleteRefsRequest>,
    ) -> Result<Response<DeleteRefsResponse>, Status> {
        SendWrapper::new(delete_refs(&self.0, request)).await
    }

    async fn list_refs(
        &self,
        request: Request<ListRefsRequest>,
    ) -> Result<Response<BoxStream<ListRefsResponse>>, Status> {
        SendWrapper::new(list_refs::list_refs(&self.0, request)).await
    }
}

async fn find_default_branch(
    resources: &Resources,
    request: Request<FindDefaultBranchNameRequest>,
) -> Result<Response<FindDefaultBranchNameResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let FindDefaultBranchNameRequest { repository, head_only } = request.into_inner();
    let target = target(&context, repository)?;
    let find = move |snapshot: &Snapshot| {
        let what = if head_only { "head reference" } else { "get default branch" };
        // As where `git symbolic-ref` fails.
        let none = || Status::internal(format!("{what}: exit status 128"));
        let head = head_reference(snapshot).ok_or_else(none)?;
        if head_only {
            return Ok(Resolved::Found(head.to_owned()));
        }
        default_branch(snapshot, head).map_err(|error| unreadable(&error))
    };
    let name = match glance(resources, &target, move |snapshot| find(snapshot)).await? {
        Seen::Found(name) => Vec::from(name),
        Seen::Missing => Vec::new(),
        Seen::AskGit(git_dir) => {
            ask_default_branch(resources, &context, &git_dir, head_only).await?
        }
    };
    Ok(Response::new(FindDefaultBranchNameResponse { name: name.into() }))
}

/// The same as git sees it.
pub(super) async fn ask_default_branch(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    head_only: bool,
) -> Result<Vec<u8>, Status> {
    let what = if head_only { "head reference" } else { "get default branch" };
    let failed = |status| Status::internal(format!("{what}: {}", exit_text(status)));
    let ask = async |subcmd, args: &[&OsStr]| {
        let directory = git_dir.to_owned();
        let answer_bytes_max = ANSWER_BYTES_MAX;
        let asked = Asked { subcmd, args, input: b"", directory, answer_bytes_max };
        let Answered { stdout, exit, .. } = child_answer(resources, context, asked).await?;
        if exit.status.success() { Ok(stdout) } else { Err(failed(exit.status)) }
    };
    let head = ask("symbolic-ref", &[OsStr::new("HEAD")]).await?;
    let head = head.strip_suffix(b"\n").unwrap_or(&head);
    if head_only {
        return Ok(head.to_vec());
    }
    let format = OsStr::new("--format=%(refname)");
    let candidates = [head, b"refs/heads/main", b"refs/heads/master"];
    let [first, second, third] = candidates.map(OsStr::from_bytes);
    let found = ask("for-each-ref", &[format, OsStr::new("--"), first, second, third]).await?;
    let exists = |name: &[u8]| found.split(|byte| *byte == b'\n').any(|line| line == name);
    if let Some(name) = candidates.into_iter().find(|name| exists(name)) {
        return Ok(name.to_vec());
    }
    let any = ["--count=1", "--format=%(refname)", BRANCHES].map(OsStr::new);
    let first = ask("for-each-ref", &any).await?;
    Ok(first.strip_suffix(b"\n").unwrap_or(&first).to_vec())
}

async fn ref_exists(
    resources: &Resources,
    request: Request<RefExistsRequest>,
) -> Result<Response<RefExistsResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let RefExistsRequest { repository, r#ref: name } = request.into_inner();
    let target = target(&context, repository)?;
    let asked = name.clone();
    let find = glance(resources, &target, move |snapshot| {
        check_ref(&asked)?;
        let found = match snapshot.find(asked.as_ref().into()) {
            None => return Ok(Resolved::Missing),
            Some(found) if found.is_broken() => return Ok(Resolved::Unsupported),
            Some(found) => found,
        };
        let contains = snapshot.store.contains(&found.target);
        match contains.map_err(|error| unreadable(&error))? {
            true => Ok(Resolved::Found(())),
            // `git show-ref` dies of it.
            false => Err(Status::internal("exit status 128")),
        }
    });
    let value = match find.await? {
        Seen::Found(()) => true,
        Seen::Missing => false,
        Seen::AskGit(git_dir) => ask_ref_exists(resources, &context, &git_dir, &name).await?,
    };
    Ok(Response::new(RefExistsResponse { value }))
}

fn check_ref(name: &[u8]) -> Result<(), Status> {
    if !name.starts_with(b"refs/") {
        return Err(Status::invalid_argument("invalid refname"));
    }
    check_argument(name)
}

async fn ask_ref_exists(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    name: &[u8],
) -> Result<bool, Status> {
    check_ref(name)?;
    let [verify, quiet, end] = ["--verify", "--quiet", "--"].map(OsStr::new);
    let asked = Asked {
        subcmd: "show-ref",
        args: &[verify, quiet, end, OsStr::from_bytes(name)],
        input: b"",
        directory: git_dir.to_owned(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let status = child_answer(resources, context, asked).await?.exit.status;
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        Some(_) | None => Err(Status::internal(exit_text(status))),
    }
}

async fn find_branch(
    resources: &Resources,
    request: Request<FindBranchRequest>,
) -> Result<Response<FindBranchResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let FindBranchRequest { repository, name } = request.into_inner();
    let target = target(&context, repository)?;
    let full = [BRANCHES.as_bytes(), &name].concat();
    let asked = full.clone();
    let find = look(resources, &target, move |snapshot| {
        check_branch(&asked)?;
        branch(snapshot, &asked)
    });
    let commit = match find.await? {
        Seen::Found(commit) => Some(commit),
        Seen::Missing => None,
        Seen::AskGit(git_dir) => {
            check_branch(&full)?;
            ask_branch(resources, &context, &git_dir, &full).await?
        }
    };
    let branch = commit.map(|commit| Branch { name, target_commit: Some(commit) });
    Ok(Response::new(FindBranchResponse { branch }))
}

fn check_branch(full: &[u8]) -> Result<(), Status> {
    if full.len() == BRANCHES.len() {
        return Err(Status::invalid_argument("Branch name cannot be empty"));
    }
    check_argument(full)
}

/// The commit of a branch. The name is a pattern to git, and another branch may fit it first.
fn branch(snapshot: &Snapshot, full: &[u8]) -> Result<Resolved<GitCommit>, Status> {
    let patterns = Patterns::new(vec![full.into()]);
    let Some(mut found) = patterns.of(snapshot) else { return Ok(Resolved::Unsupported) };
    let Some(found) = found.next() else { return Ok(Resolved::Missing) };
    if found.name != full {
        return Err(conflict(&found.name));
    }
    let id = found.target.to_string();
    match commits::find(snapshot, id.as_bytes(), false)? {
        Resolved::Missing => Err(Status::internal("object not found")),
        found @ (Resolved::Found(_) | Resolved::Unsupported) => Ok(found),
    }
}

async fn ask_branch(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    full: &[u8],
) -> Result<Option<GitCommit>, Status> {
    let [count, format, end] =
        ["--count=1", "--format=%(objectname) %(refname)", "--"].map(OsStr::new);
    let asked = Asked {
        subcmd: "for-each-ref",
        args: &[count, format, end, OsStr::from_bytes(full)],
        input: b"",
        directory: git_dir.to_owned(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let Answered { stdout, exit, .. } = child_answer(resources, context, asked).await?;
    if !exit.status.success() {
        return Err(Status::internal(exit_text(exit.status)));
    }
    let line = stdout.strip_suffix(b"\n").unwrap_or(&stdout);
    let Some(at) = line.iter().position(|byte| *byte == b' ') else { return Ok(None) };
    let (id, name) = (&line[..at], &line[at + 1..]);
    if name != full {
        return Err(conflict(name));
    }
    let commit = commits::ask(resources, context, git_dir, id, false).await?;
    commit.map(Some).ok_or_else(|| Status::internal("object not found"))
}

fn conflict(name: &[u8]) -> Status {
    let name = quoted(name);
    let text = "target reference is ambiguous: reference is ambiguous: conflicts with";
    Status::invalid_argument(format!("{text} {name}"))
}

/// Refuses what no program can be given as an argument.
pub(super) fn check_argument(argument: &[u8]) -> Result<(), Status> {
    if argument.contains(&0) {
        let text = format!("detected null byte in command argument {}", quoted(argument));
        return Err(Status::internal(text));
    }
    Ok(())
}

/// As Go's `%q` shows it.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let part = |part: &str| {
        let quoted = format!("{part:?}");
        quoted[1..quoted.len() - 1].to_owned()
    };
    format!("\"{}\"", text.split('\0').map(part).collect::<Vec<_>>().join("\\x00"))
}

/// As Go shows how a process ended.
pub(super) fn exit_text(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}
