//! `ServerService`: the node itself.

use super::Resources;
use super::ask::child;
use super::call::context::Context;
use super::errors;
use gitring_proto::gitaly::server_service_server::ServerService;
use gitring_proto::gitaly::{
    DiskStatisticsRequest, DiskStatisticsResponse, ReadinessCheckRequest, ReadinessCheckResponse,
    ServerInfoRequest, ServerInfoResponse, disk_statistics_response, readiness_check_response,
    server_info_response,
};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::{Request, Response, Status};

/// The version that clients are told: the newest Gitaly whose messages are known here. Rails shows
/// it and compares it as text with the one it was released with; three numbers are what every
/// release of Rails can read, a name of ours is not.
const GITALY_VERSION: &str = "18.9.0";

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct Server(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl ServerService for Server {
    async fn server_info(
        &self,
        request: Request<ServerInfoRequest>,
    ) -> Result<Response<ServerInfoResponse>, Status> {
        SendWrapper::new(info(&self.0, request)).await
    }

    async fn disk_statistics(
        &self,
        _request: Request<DiskStatisticsRequest>,
    ) -> Result<Response<DiskStatisticsResponse>, Status> {
        SendWrapper::new(disks(&self.0)).await
    }

    /// A node that answers is ready; a coordinator has more to check.
    async fn readiness_check(
        &self,
        _request: Request<ReadinessCheckRequest>,
    ) -> Result<Response<ReadinessCheckResponse>, Status> {
        let ok = readiness_check_response::Result::OkResponse(readiness_check_response::Ok {});
        Ok(Response::new(ReadinessCheckResponse { result: Some(ok) }))
    }
}

async fn info(
    resources: &Resources,
    request: Request<ServerInfoRequest>,
) -> Result<Response<ServerInfoResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let statuses = resources.repositories.statuses().await;
    let statuses = statuses.map_err(|error| errors::workers(&error))?;
    let status = |status: crate::storage::Status| server_info_response::StorageStatus {
        storage_name: status.storage.as_str().to_owned(),
        readable: status.is_readable,
        writeable: status.is_writeable,
        fs_type: status.fs_type.to_owned(),
        filesystem_id: status.filesystem_id,
        // A node holds one copy, whatever a coordinator makes of several nodes.
        replication_factor: 1,
    };
    Ok(Response::new(ServerInfoResponse {
        server_version: GITALY_VERSION.to_owned(),
        git_version: git_version(resources, &context).await?,
        storage_statuses: statuses.into_iter().map(status).collect(),
    }))
}

/// Asked anew each time: git may have been upgraded under a running node.
async fn git_version(resources: &Resources, context: &Context) -> Result<String, Status> {
    let answer = child::answer(&resources.services, context, "version", &[], "/".into()).await;
    let answer = answer.map_err(|error| errors::child("ask git for its version", &error))?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.trim().trim_start_matches("git version ").to_owned())
}

async fn disks(resources: &Resources) -> Result<Response<DiskStatisticsResponse>, Status> {
    let disks = resources.repositories.disks().await.map_err(|error| errors::workers(&error))?;
    let clamp = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let status = |disk: crate::storage::Disk| disk_statistics_response::StorageStatus {
        storage_name: disk.storage.as_str().to_owned(),
        available: clamp(disk.available_bytes),
        used: clamp(disk.used_bytes),
    };
    let storage_statuses = disks.into_iter().map(status).collect();
    Ok(Response::new(DiskStatisticsResponse { storage_statuses }))
}
