//! `RepositoryService`: whole repositories.

mod custom_hooks;

use super::Resources;
use super::ask::child;
use super::call::context::Context;
use super::commit::ancestry;
use super::errors;
use super::ref_change::write_ref::write_ref;
use super::target::{Target, target};
use super::voting;
use crate::rpc::votes::{self, Ballot};
use crate::storage::{CreateOptions, Creation, ObjectFormat, Opened, Removal};
use gitring_proto::gitaly::repository_service_server::RepositoryService;
use gitring_proto::gitaly::{
    BackupCustomHooksRequest, BackupCustomHooksResponse, CreateRepositoryRequest,
    CreateRepositoryResponse, FindMergeBaseRequest, FindMergeBaseResponse, GetCustomHooksRequest,
    GetCustomHooksResponse, HasLocalBranchesRequest, HasLocalBranchesResponse,
    ObjectFormat as NamedFormat, ObjectFormatRequest, ObjectFormatResponse,
    RemoveRepositoryRequest, RemoveRepositoryResponse, Repository as NamedRepository,
    RepositoryExistsRequest, RepositoryExistsResponse, RepositorySizeRequest,
    RepositorySizeResponse, RestoreCustomHooksRequest, RestoreCustomHooksResponse,
    SetCustomHooksRequest, SetCustomHooksResponse, WriteRefRequest, WriteRefResponse,
};
use send_wrapper::SendWrapper;
use std::path::PathBuf;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct Repositories(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl RepositoryService for Repositories {
    async fn repository_exists(
        &self,
        request: Request<RepositoryExistsRequest>,
    ) -> Result<Response<RepositoryExistsResponse>, Status> {
        SendWrapper::new(exists(&self.0, request)).await
    }

    async fn create_repository(
        &self,
        request: Request<CreateRepositoryRequest>,
    ) -> Result<Response<CreateRepositoryResponse>, Status> {
        SendWrapper::new(create(&self.0, request)).await
    }

    async fn remove_repository(
        &self,
        request: Request<RemoveRepositoryRequest>,
    ) -> Result<Response<RemoveRepositoryResponse>, Status> {
        SendWrapper::new(remove(&self.0, request)).await
    }

    async fn object_format(
        &self,
        request: Request<ObjectFormatRequest>,
    ) -> Result<Response<ObjectFormatResponse>, Status> {
        SendWrapper::new(object_format(&self.0, request)).await
    }

    async fn has_local_branches(
        &self,
        request: Request<HasLocalBranchesRequest>,
    ) -> Result<Response<HasLocalBranchesResponse>, Status> {
        SendWrapper::new(has_local_branches(&self.0, request)).await
    }

    async fn write_ref(
        &self,
        request: Request<WriteRefRequest>,
    ) -> Result<Response<WriteRefResponse>, Status> {
        SendWrapper::new(write_ref(&self.0, request)).await
    }

    async fn repository_size(
        &self,
        request: Request<RepositorySizeRequest>,
    ) -> Result<Response<RepositorySizeResponse>, Status> {
        SendWrapper::new(size(&self.0, request)).await
    }

    async fn set_custom_hooks(
        &self,
        request: Request<Streaming<SetCustomHooksRequest>>,
    ) -> Result<Response<SetCustomHooksResponse>, Status> {
        let parts = |message: SetCustomHooksRequest| (message.repository, message.data);
        SendWrapper::new(custom_hooks::set(&self.0, request, parts)).await?;
        Ok(Response::new(SetCustomHooksResponse {}))
    }

    async fn restore_custom_hooks(
        &self,
        request: Request<Streaming<RestoreCustomHooksRequest>>,
    ) -> Result<Response<RestoreCustomHooksResponse>, Status> {
        let parts = |message: RestoreCustomHooksRequest| (message.repository, message.data);
        SendWrapper::new(custom_hooks::set(&self.0, request, parts)).await?;
        Ok(Response::new(RestoreCustomHooksResponse {}))
    }

    async fn get_custom_hooks(
        &self,
        request: Request<GetCustomHooksRequest>,
    ) -> Result<Response<BoxStream<GetCustomHooksResponse>>, Status> {
        let work = async {
            let context = Context::of(request.extensions())?;
            let named = request.into_inner().repository;
            let message = |data| GetCustomHooksResponse { data };
            custom_hooks::get(&self.0, context, named, message).await
        };
        SendWrapper::new(work).await
    }

    async fn backup_custom_hooks(
        &self,
        request: Request<BackupCustomHooksRequest>,
    ) -> Result<Response<BoxStream<BackupCustomHooksResponse>>, Status> {
        let work = async {
            let context = Context::of(request.extensions())?;
            let named = request.into_inner().repository;
            let message = |data| BackupCustomHooksResponse { data };
            custom_hooks::get(&self.0, context, named, message).await
        };
        SendWrapper::new(work).await
    }

    async fn find_merge_base(
        &self,
        request: Request<FindMergeBaseRequest>,
    ) -> Result<Response<FindMergeBaseResponse>, Status> {
        SendWrapper::new(ancestry::find_merge_base(&self.0, request)).await
    }
}

async fn exists(
    resources: &Resources,
    request: Request<RepositoryExistsRequest>,
) -> Result<Response<RepositoryExistsResponse>, Status> {
    let target = accessed(&request, request.get_ref().repository.clone())?;
    let exists = resources.repositories.exists(&target.storage, &target.path).await;
    let exists = exists.map_err(|error| errors::open(&error))?;
    Ok(Response::new(RepositoryExistsResponse { exists }))
}

async fn create(
    resources: &Resources,
    request: Request<CreateRepositoryRequest>,
) -> Result<Response<CreateRepositoryResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let request = request.into_inner();
    let target = target(&context, request.repository)?;
    let ballot = context.ballot(resources)?;
    let object_format = match NamedFormat::try_from(request.object_format) {
        Ok(NamedFormat::Unspecified | NamedFormat::Sha1) => ObjectFormat::Sha1,
        Ok(NamedFormat::Sha256) => ObjectFormat::Sha256,
        Err(_) => {
            let text = format!("unknown object format: \"{}\"", request.object_format);
            return Err(Status::invalid_argument(text));
        }
    };
    let options = CreateOptions { object_format, default_branch: request.default_branch.to_vec() };
    let failed = |error| errors::create(&error);
    let preparing = resources.repositories.prepare_creation(&target.storage, &target.path, options);
    let mut creation = preparing.await.map_err(failed)?;
    let published = publish(&ballot, &mut creation).await;
    creation.release().await.map_err(failed)?;
    published?;
    Ok(Response::new(CreateRepositoryResponse {}))
}

async fn publish(ballot: &Ballot, creation: &mut Creation) -> Result<(), Status> {
    let refused = |step: &'static str| {
        move |error| {
            let what = format!("creating repository: {step} vote");
            voting::failure(Code::FailedPrecondition, &what, &error)
        }
    };
    let vote = votes::hash(creation.content()).map_err(refused("preparatory"))?;
    ballot.prepared(vote).await.map_err(refused("preparatory"))?;
    creation.publish().await.map_err(|error| errors::create(&error))?;
    ballot.committed(vote).await.map_err(refused("committing"))
}

async fn remove(
    resources: &Resources,
    request: Request<RemoveRepositoryRequest>,
) -> Result<Response<RemoveRepositoryResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let named = request.into_inner().repository;
    // As it was named, since all nodes have to vote alike.
    let relative_path = named.as_ref().map(|named| named.relative_path.clone()).unwrap_or_default();
    let target = target(&context, named)?;
    let ballot = context.ballot(resources)?;
    let failed = |error| errors::remove(&error);
    let preparing = resources.repositories.prepare_removal(&target.storage, &target.path);
    let mut removal = preparing.await.map_err(failed)?;
    let removed = vote_and_remove(&ballot, &mut removal, &relative_path).await;
    removal.release().await.map_err(failed)?;
    removed?;
    Ok(Response::new(RemoveRepositoryResponse {}))
}

async fn vote_and_remove(
    ballot: &Ballot,
    removal: &mut Removal,
    relative_path: &str,
) -> Result<(), Status> {
    let refused = |what| move |error| voting::failure(Code::Internal, what, &error);
    let vote = |step: &str| votes::hash(format!("{step} {relative_path}").as_bytes());
    let before = vote("pre-remove").map_err(refused("vote on rename"))?;
    let after = vote("post-remove").map_err(refused("vote on finalizing"))?;
    ballot.prepared(before).await.map_err(refused("vote on rename"))?;
    removal.remove().await.map_err(|error| errors::remove(&error))?;
    ballot.committed(after).await.map_err(refused("vote on finalizing"))
}

async fn object_format(
    resources: &Resources,
    request: Request<ObjectFormatRequest>,
) -> Result<Response<ObjectFormatResponse>, Status> {
    let target = accessed(&request, request.get_ref().repository.clone())?;
    let format = resources.repositories.object_format(&target.storage, &target.path).await;
    let format = match format.map_err(|error| errors::open(&error))? {
        Some(ObjectFormat::Sha1) => NamedFormat::Sha1,
        Some(ObjectFormat::Sha256) => NamedFormat::Sha256,
        None => return Err(Status::internal("detecting object hash: unknown repository format")),
    };
    Ok(Response::new(ObjectFormatResponse { format: format.into() }))
}

async fn has_local_branches(
    resources: &Resources,
    request: Request<HasLocalBranchesRequest>,
) -> Result<Response<HasLocalBranchesResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let target = target(&context, request.into_inner().repository)?;
    let look = |opened: &Opened| {
        let snapshot = &opened.snapshot;
        let is_unreadable = snapshot.unsupported.is_some_and(|reason| reason.is_unreadable());
        if is_unreadable {
            return Err(opened.repository.git_dir().to_owned());
        }
        Ok(snapshot.with_prefix(b"refs/heads/").iter().any(|found| !found.is_broken()))
    };
    let found = resources.repositories.with(&target.storage, &target.path, look).await;
    let value = match found.map_err(|error| errors::open(&error))? {
        Ok(value) => value,
        Err(git_dir) => has_branches(resources, &context, git_dir).await?,
    };
    Ok(Response::new(HasLocalBranchesResponse { value }))
}

/// As git sees it, for refs that are stored in other ways.
async fn has_branches(
    resources: &Resources,
    context: &Context,
    git_dir: PathBuf,
) -> Result<bool, Status> {
    let args = ["--count=1", "--format=%(refname)", "refs/heads/"];
    let answer = child::answer(&resources.services, context, "for-each-ref", &args, git_dir);
    let answer = answer.await.map_err(|error| errors::child("list branches", &error))?;
    Ok(!answer.is_empty())
}

async fn size(
    resources: &Resources,
    request: Request<RepositorySizeRequest>,
) -> Result<Response<RepositorySizeResponse>, Status> {
    let target = accessed(&request, request.get_ref().repository.clone())?;
    let size = resources.repositories.size_kib(&target.storage, &target.path).await;
    let size = size.map_err(|error| errors::open(&error))?;
    Ok(Response::new(RepositorySizeResponse { size: i64::try_from(size).unwrap_or(i64::MAX) }))
}

fn accessed<T>(request: &Request<T>, named: Option<NamedRepository>) -> Result<Target, Status> {
    let context = Context::of(request.extensions())?;
    target(&context, named)
}
