//! `BlobService`: contents of files.

mod blobs;

use super::Resources;
use gitring_proto::gitaly::blob_service_server::BlobService;
use gitring_proto::gitaly::{
    GetBlobsRequest, GetBlobsResponse, ListAllBlobsRequest, ListAllBlobsResponse,
    ListAllLfsPointersRequest, ListAllLfsPointersResponse, ListBlobsRequest, ListBlobsResponse,
    ListLfsPointersRequest, ListLfsPointersResponse,
};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct Blobs(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl BlobService for Blobs {
    async fn get_blobs(
        &self,
        request: Request<GetBlobsRequest>,
    ) -> Result<Response<BoxStream<GetBlobsResponse>>, Status> {
        SendWrapper::new(blobs::get_blobs(&self.0, request)).await
    }

    async fn list_blobs(
        &self,
        request: Request<ListBlobsRequest>,
    ) -> Result<Response<BoxStream<ListBlobsResponse>>, Status> {
        SendWrapper::new(blobs::list_blobs(&self.0, request)).await
    }

    async fn list_all_blobs(
        &self,
        request: Request<ListAllBlobsRequest>,
    ) -> Result<Response<BoxStream<ListAllBlobsResponse>>, Status> {
        SendWrapper::new(blobs::list_all_blobs(&self.0, request)).await
    }

    async fn list_lfs_pointers(
        &self,
        request: Request<ListLfsPointersRequest>,
    ) -> Result<Response<BoxStream<ListLfsPointersResponse>>, Status> {
        SendWrapper::new(blobs::list_lfs_pointers(&self.0, request)).await
    }

    async fn list_all_lfs_pointers(
        &self,
        request: Request<ListAllLfsPointersRequest>,
    ) -> Result<Response<BoxStream<ListAllLfsPointersResponse>>, Status> {
        SendWrapper::new(blobs::list_all_lfs_pointers(&self.0, request)).await
    }
}
