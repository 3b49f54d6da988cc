//! `SmartHTTPService`: fetches of Workhorse (gitprotocol-http).

use super::Resources;
use super::context::Context;
use super::fetching::{self, Asked, Heard, Manner};
use super::hashed::Hashed;
use super::pieces::{PieceOutput, pieces};
use super::sidechannels::{self, HttpOutput, SidechannelInput};
use crate::rpc::fetch;
use crate::rpc::wire::{Call, NoInput, Operation, Output};
use bytes::Bytes;
use gitring_proto::gitaly::smart_http_service_server::SmartHttpService;
use gitring_proto::gitaly::{
    InfoRefsRequest, InfoRefsResponse, PostUploadPackWithSidechannelRequest,
    PostUploadPackWithSidechannelResponse,
};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};

/// What stands before every advertisement, in version 2 as well: Gitaly's clients expect it.
const SERVICE: &[u8] = b"001e# service=git-upload-pack\n0000";

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct SmartHttp(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl SmartHttpService for SmartHttp {
    async fn info_refs_upload_pack(
        &self,
        request: Request<InfoRefsRequest>,
    ) -> Result<Response<BoxStream<InfoRefsResponse>>, Status> {
        SendWrapper::new(info_refs(&self.0, request)).await
    }

    async fn post_upload_pack_with_sidechannel(
        &self,
        request: Request<PostUploadPackWithSidechannelRequest>,
    ) -> Result<Response<PostUploadPackWithSidechannelResponse>, Status> {
        SendWrapper::new(upload_pack(&self.0, request)).await
    }
}

async fn info_refs(
    resources: &Rc<Resources>,
    request: Request<InfoRefsRequest>,
) -> Result<Response<BoxStream<InfoRefsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let message = request.into_inner();
    let asked = Asked {
        repository: message.repository,
        git_protocol: message.git_protocol,
        git_config_options: message.git_config_options,
    };
    let manner = Manner { operation: Operation::AdvertiseRefs, stateless: true, nested: false };
    let call = fetching::prepare(resources, &context, asked, manner).await?;
    let resources = Rc::clone(resources);
    let stream = pieces(context.deadline(), |sender| {
        let output = PieceOutput::new(sender, |data| InfoRefsResponse { data }, None);
        Box::pin(async move { advertise(&resources, call, output).await })
    });
    Ok(Response::new(stream.boxed()))
}

async fn advertise(
    resources: &Resources,
    call: Call,
    mut output: PieceOutput<InfoRefsResponse>,
) -> Result<(), Status> {
    let failure = |error| fetching::failure(Code::Internal, &error);
    output.write(Bytes::from_static(SERVICE)).await.map_err(|gone| failure(gone.into()))?;
    let summary = fetch::serve(&resources.services, call, &mut NoInput, &mut output).await;
    summary.map_err(failure).map(drop)
}

async fn upload_pack(
    resources: &Resources,
    request: Request<PostUploadPackWithSidechannelRequest>,
) -> Result<Response<PostUploadPackWithSidechannelResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let message = request.into_inner();
    let asked = Asked {
        repository: message.repository,
        git_protocol: message.git_protocol,
        git_config_options: message.git_config_options,
    };
    let manner = Manner { operation: Operation::UploadPack, stateless: true, nested: false };
    let call = fetching::prepare(resources, &context, asked, manner).await?;
    let end = sidechannels::open(&context).await;
    let mut end = end.map_err(|error| Status::internal(format!("open sidechannel: {error}")))?;
    let (served, negotiation, request_sha) = {
        let (reader, writer) = end.split();
        let mut input = Heard::new(Hashed::new(SidechannelInput::of_http(reader)), None);
        let mut output = HttpOutput(writer);
        let served = fetch::serve(&resources.services, call, &mut input, &mut output).await;
        (fetching::refusals_are_failures(served), input.negotiation, input.input.finish())
    };
    negotiation.count(&resources.negotiations.smarthttp);
    // The client waits for the end of the stream before it looks at the answer. A pack that broke
    // off says so itself.
    let closed = sidechannels::close(end, &served).await;
    let summary = match served {
        // Of a client that draws a boundary Gitaly expects that git ends with an error: the first
        // round of its negotiation is over before its request is.
        Err(error) if error.is_of_upload_pack() && negotiation.has_deepened() => None,
        served => {
            Some(served.map_err(|error| fetching::failure(Code::FailedPrecondition, &error))?)
        }
    };
    if let Some(summary) = summary {
        context.record.borrow_mut().fetched(request_sha.as_deref(), summary);
    }
    closed.map_err(|error| Status::internal(format!("close sidechannel connection: {error}")))?;
    let statistics = negotiation.statistics();
    Ok(Response::new(PostUploadPackWithSidechannelResponse {
        packfile_negotiation_statistics: Some(statistics),
    }))
}
