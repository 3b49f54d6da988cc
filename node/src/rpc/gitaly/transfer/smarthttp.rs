//! `SmartHTTPService`: fetches and pushes of Workhorse (gitprotocol-http).

use super::fetching::{self, Asked, Heard, Manner};
use super::hashed::Hashed;
use super::message_input::MessageInput;
use super::pushing;
use super::sidechannels::{self, HttpOutput, SidechannelInput};
use crate::hooks::Protocol;
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::pieces::{PieceOutput, pieces};
use crate::rpc::wire::{Call, NoInput, Operation, Output};
use crate::rpc::{fetch, push};
use bytes::Bytes;
use gitring_proto::gitaly::smart_http_service_server::SmartHttpService;
use gitring_proto::gitaly::{
    InfoRefsRequest, InfoRefsResponse, PostReceivePackRequest, PostReceivePackResponse,
    PostUploadPackWithSidechannelRequest, PostUploadPackWithSidechannelResponse,
};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// What stands before every advertisement, in version 2 as well: Gitaly's clients expect it.
const SERVICE: &[u8] = b"001e# service=git-upload-pack\n0000";
/// The same before that of a push.
const PUSH_SERVICE: &[u8] = b"001f# service=git-receive-pack\n0000";

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct SmartHttp(pub(in crate::rpc::gitaly) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl SmartHttpService for SmartHttp {
    async fn info_refs_upload_pack(
        &self,
        request: Request<InfoRefsRequest>,
    ) -> Result<Response<BoxStream<InfoRefsResponse>>, Status> {
        SendWrapper::new(info_refs(&self.0, request)).await
    }

    async fn info_refs_receive_pack(
        &self,
        request: Request<InfoRefsRequest>,
    ) -> Result<Response<BoxStream<InfoRefsResponse>>, Status> {
        SendWrapper::new(push_info_refs(&self.0, request)).await
    }

    async fn post_receive_pack(
        &self,
        request: Request<Streaming<PostReceivePackRequest>>,
    ) -> Result<Response<BoxStream<PostReceivePackResponse>>, Status> {
        SendWrapper::new(receive_pack(&self.0, request)).await
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
    let stream = pieces(context.lease(), |sender| {
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

async fn push_info_refs(
    resources: &Rc<Resources>,
    request: Request<InfoRefsRequest>,
) -> Result<Response<BoxStream<InfoRefsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let message = request.into_inner();
    let asked = pushing::Asked {
        repository: message.repository,
        gl_id: String::new(),
        gl_repository: String::new(),
        gl_username: String::new(),
        git_protocol: message.git_protocol,
        git_config_options: message.git_config_options,
        protocol: Protocol::Http,
    };
    let operation = push::Operation::AdvertiseRefs;
    let call = pushing::prepare(resources, &context, asked, operation).await?;
    let resources = Rc::clone(resources);
    let stream = pieces(context.lease(), |sender| {
        let mut output = PieceOutput::new(sender, |data| InfoRefsResponse { data }, None);
        Box::pin(async move {
            let failure = |error| pushing::failure(Code::Internal, &error);
            let service = Bytes::from_static(PUSH_SERVICE);
            output.write(service).await.map_err(|gone| failure(gone.into()))?;
            let told = push::serve(&resources.services, call, &mut NoInput, &mut output).await;
            told.map_err(failure).map(drop)
        })
    });
    Ok(Response::new(stream.boxed()))
}

async fn receive_pack(
    resources: &Rc<Resources>,
    request: Request<Streaming<PostReceivePackRequest>>,
) -> Result<Response<BoxStream<PostReceivePackResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut messages = request.into_inner();
    let first = messages.message().await?.unwrap_or_default();
    pushing::check(&first.gl_id, &first.data, "non-empty Data")?;
    let asked = pushing::Asked {
        repository: first.repository,
        gl_id: first.gl_id,
        gl_repository: first.gl_repository,
        gl_username: first.gl_username,
        git_protocol: first.git_protocol,
        git_config_options: first.git_config_options,
        protocol: Protocol::Http,
    };
    let operation = push::Operation::ReceivePack;
    let call = pushing::prepare(resources, &context, asked, operation).await?;
    let mut input = MessageInput::new(messages, |message: PostReceivePackRequest| message.data);
    let resources = Rc::clone(resources);
    let stream = pieces(context.lease(), |sender| {
        let mut output = PieceOutput::new(sender, |data| PostReceivePackResponse { data }, None);
        Box::pin(async move {
            let ballot = call.ballot.clone();
            let served = push::serve(&resources.services, call, &mut input, &mut output).await;
            let served = pushing::refusals_are_failures(served);
            let failure = |error| pushing::failure(Code::FailedPrecondition, &error);
            served.map_err(failure)?;
            pushing::finish(&ballot).await
        })
    });
    Ok(Response::new(stream.boxed()))
}
