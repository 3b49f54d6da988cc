//! `DiffService`: what differs between revisions.

mod changed_paths;

use super::Resources;
use gitring_proto::gitaly::diff_service_server::DiffService;
use gitring_proto::gitaly::{FindChangedPathsRequest, FindChangedPathsResponse};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct Diffs(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl DiffService for Diffs {
    async fn find_changed_paths(
        &self,
        request: Request<FindChangedPathsRequest>,
    ) -> Result<Response<BoxStream<FindChangedPathsResponse>>, Status> {
        SendWrapper::new(changed_paths::find_changed_paths(&self.0, request)).await
    }
}
