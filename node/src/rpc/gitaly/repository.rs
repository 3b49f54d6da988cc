//! `RepositoryService`: whole repositories.

use super::Resources;
use super::child;
use super::context::Context;
use super::errors;
use super::target::{Target, target};
use crate::storage::{CreateOptions, ObjectFormat, Opened};
use gitring_proto::gitaly::repository_service_server::RepositoryService;
use gitring_proto::gitaly::{
    CreateRepositoryRequest, CreateRepositoryResponse, HasLocalBranchesRequest,
    HasLocalBranchesResponse, ObjectFormat as NamedFormat, ObjectFormatRequest,
    ObjectFormatResponse, RemoveRepositoryRequest, RemoveRepositoryResponse,
    Repository as NamedRepository, RepositoryExistsRequest, RepositoryExistsResponse,
    RepositorySizeRequest, RepositorySizeResponse,
};
use send_wrapper::SendWrapper;
use std::path::PathBuf;
use std::rc::Rc;
use tonic::{Request, Response, Status};

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

    async fn repository_size(
        &self,
        request: Request<RepositorySizeRequest>,
    ) -> Result<Response<RepositorySizeResponse>, Status> {
        SendWrapper::new(size(&self.0, request)).await
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
    let target = changed(&request, request.get_ref().repository.clone())?;
    let request = request.into_inner();
    let object_format = match NamedFormat::try_from(request.object_format) {
        Ok(NamedFormat::Unspecified | NamedFormat::Sha1) => ObjectFormat::Sha1,
        Ok(NamedFormat::Sha256) => ObjectFormat::Sha256,
        Err(_) => {
            let text = format!("unknown object format: \"{}\"", request.object_format);
            return Err(Status::invalid_argument(text));
        }
    };
    let options = CreateOptions { object_format, default_branch: request.default_branch.to_vec() };
    let created = resources.repositories.create(&target.storage, &target.path, options).await;
    created.map_err(|error| errors::create(&error))?;
    Ok(Response::new(CreateRepositoryResponse {}))
}

async fn remove(
    resources: &Resources,
    request: Request<RemoveRepositoryRequest>,
) -> Result<Response<RemoveRepositoryResponse>, Status> {
    let target = changed(&request, request.get_ref().repository.clone())?;
    let removed = resources.repositories.remove(&target.storage, &target.path).await;
    removed.map_err(|error| errors::remove(&error))?;
    Ok(Response::new(RemoveRepositoryResponse {}))
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

/// The repository of a change that nobody votes on.
fn changed<T>(request: &Request<T>, named: Option<NamedRepository>) -> Result<Target, Status> {
    let context = Context::of(request.extensions())?;
    let target = target(&context, named)?;
    context.refuse_transaction()?;
    Ok(target)
}
