//! `CommitService`: commits and the trees below them.

pub(super) mod ancestry;
pub(super) mod commits;
mod existence;
pub(super) mod lists;
pub(super) mod look;
mod reader;
pub(super) mod trees;

use self::look::{Seen, glance};
use self::reader::CommitReader;
use super::Resources;
use super::ask::revisions;
use super::ask::site::Site;
use super::call::context::Context;
use super::target::target;
use gitring_proto::gitaly::commit_service_server::CommitService;
use gitring_proto::gitaly::{
    CheckObjectsExistRequest, CheckObjectsExistResponse, CommitIsAncestorRequest,
    CommitIsAncestorResponse, CountCommitsRequest, CountCommitsResponse, FindCommitRequest,
    FindCommitResponse, GetTreeEntriesRequest, GetTreeEntriesResponse, ListAllCommitsRequest,
    ListAllCommitsResponse, ListCommitsByOidRequest, ListCommitsByOidResponse, ListCommitsRequest,
    ListCommitsResponse, TreeEntryRequest, TreeEntryResponse,
};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct Commits(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl CommitService for Commits {
    async fn find_commit(
        &self,
        request: Request<FindCommitRequest>,
    ) -> Result<Response<FindCommitResponse>, Status> {
        SendWrapper::new(find_commit(&self.0, request)).await
    }

    async fn commit_is_ancestor(
        &self,
        request: Request<CommitIsAncestorRequest>,
    ) -> Result<Response<CommitIsAncestorResponse>, Status> {
        SendWrapper::new(ancestry::commit_is_ancestor(&self.0, request)).await
    }

    async fn count_commits(
        &self,
        request: Request<CountCommitsRequest>,
    ) -> Result<Response<CountCommitsResponse>, Status> {
        SendWrapper::new(ancestry::count_commits(&self.0, request)).await
    }

    async fn list_commits(
        &self,
        request: Request<ListCommitsRequest>,
    ) -> Result<Response<BoxStream<ListCommitsResponse>>, Status> {
        SendWrapper::new(lists::list(&self.0, request)).await
    }

    async fn list_all_commits(
        &self,
        request: Request<ListAllCommitsRequest>,
    ) -> Result<Response<BoxStream<ListAllCommitsResponse>>, Status> {
        SendWrapper::new(lists::list_all(&self.0, request)).await
    }

    async fn list_commits_by_oid(
        &self,
        request: Request<ListCommitsByOidRequest>,
    ) -> Result<Response<BoxStream<ListCommitsByOidResponse>>, Status> {
        SendWrapper::new(lists::list_by_oid(&self.0, request)).await
    }

    async fn check_objects_exist(
        &self,
        request: Request<Streaming<CheckObjectsExistRequest>>,
    ) -> Result<Response<BoxStream<CheckObjectsExistResponse>>, Status> {
        SendWrapper::new(existence::check_objects_exist(&self.0, request)).await
    }

    async fn get_tree_entries(
        &self,
        request: Request<GetTreeEntriesRequest>,
    ) -> Result<Response<BoxStream<GetTreeEntriesResponse>>, Status> {
        SendWrapper::new(trees::get_tree_entries(&self.0, request)).await
    }

    async fn tree_entry(
        &self,
        request: Request<TreeEntryRequest>,
    ) -> Result<Response<BoxStream<TreeEntryResponse>>, Status> {
        SendWrapper::new(trees::tree_entry(&self.0, request)).await
    }
}

async fn find_commit(
    resources: &Rc<Resources>,
    request: Request<FindCommitRequest>,
) -> Result<Response<FindCommitResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let FindCommitRequest { repository, revision, trailers } = request.into_inner();
    let target = target(&context, repository)?;
    let asked = revision.clone();
    let find = glance(resources, &target, move |snapshot| {
        revisions::check(&asked, &[])?;
        commits::find(snapshot, &asked, trailers)
    });
    let commit = match find.await? {
        Seen::Found(commit) => Some(commit),
        Seen::Missing => None,
        Seen::AskGit(_) if target.objects.is_some() && !trailers => {
            revisions::check(&revision, &[])?;
            let site = Site::of(resources, context, target).await?;
            let found = CommitReader::new(&site).read(vec![revision]).await?;
            found.into_iter().next().flatten()
        }
        Seen::AskGit(git_dir) => {
            revisions::check(&revision, &[])?;
            commits::ask(resources, &context, &git_dir, &revision, trailers).await?
        }
    };
    Ok(Response::new(FindCommitResponse { commit }))
}
