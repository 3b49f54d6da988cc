//! `SSHService`: fetches, pushes and archives of gitlab-shell (gitprotocol-pack).
//!
//! Without sidechannels, as old clients ask for it, the pack travels in messages.

use super::fetching::{self, Asked, Heard, Manner, Patience};
use super::message_input::MessageInput;
use super::negotiation::Negotiation;
use super::pushing;
use super::sidechannels::{self, SidechannelInput, SshOutput};
use crate::hooks::Protocol;
use crate::reactor::children::{ChildCommand, CommandName, Need};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::pieces::{PieceOutput, pieces};
use crate::rpc::gitaly::target::target;
use crate::rpc::gitaly::{Resources, errors};
use crate::rpc::wire::{Call, FetchError, Operation, Output};
use crate::rpc::{fallback, fetch, push};
use bytes::Bytes;
use gitring_proto::gitaly::ssh_service_server::SshService;
use gitring_proto::gitaly::{
    ExitStatus, SshReceivePackRequest, SshReceivePackResponse, SshUploadArchiveRequest,
    SshUploadArchiveResponse, SshUploadPackRequest, SshUploadPackResponse,
    SshUploadPackWithSidechannelRequest, SshUploadPackWithSidechannelResponse,
};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tokio::time::Instant;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// git's exit status when it has to give up.
const FATAL: i32 = 128;

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Ssh(pub(in crate::rpc::gitaly) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl SshService for Ssh {
    async fn ssh_upload_pack(
        &self,
        request: Request<Streaming<SshUploadPackRequest>>,
    ) -> Result<Response<BoxStream<SshUploadPackResponse>>, Status> {
        SendWrapper::new(upload_pack(&self.0, request)).await
    }

    async fn ssh_upload_pack_with_sidechannel(
        &self,
        request: Request<SshUploadPackWithSidechannelRequest>,
    ) -> Result<Response<SshUploadPackWithSidechannelResponse>, Status> {
        SendWrapper::new(upload_pack_with_sidechannel(&self.0, request)).await
    }

    async fn ssh_receive_pack(
        &self,
        request: Request<Streaming<SshReceivePackRequest>>,
    ) -> Result<Response<BoxStream<SshReceivePackResponse>>, Status> {
        SendWrapper::new(receive_pack(&self.0, request)).await
    }

    async fn ssh_upload_archive(
        &self,
        request: Request<Streaming<SshUploadArchiveRequest>>,
    ) -> Result<Response<BoxStream<SshUploadArchiveResponse>>, Status> {
        SendWrapper::new(upload_archive(&self.0, request)).await
    }
}

async fn upload_pack_with_sidechannel(
    resources: &Resources,
    request: Request<SshUploadPackWithSidechannelRequest>,
) -> Result<Response<SshUploadPackWithSidechannelResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let message = request.into_inner();
    let asked = Asked {
        repository: message.repository,
        git_protocol: message.git_protocol,
        git_config_options: message.git_config_options,
    };
    let manner = Manner { operation: Operation::UploadPack, stateless: false, nested: true };
    let call = fetching::prepare(resources, &context, asked, manner).await?;
    let end = sidechannels::open(&context).await;
    let mut end = end.map_err(|error| Status::aborted(format!("opening sidechannel: {error}")))?;
    let (served, negotiation) = {
        let (reader, writer) = end.split();
        let mut input = Heard::new(SidechannelInput::of_ssh(reader), Some(done_in_time(resources)));
        let mut output = SshOutput::new(writer);
        let served = fetch::serve(&resources.services, call, &mut input, &mut output).await;
        let mut served = fetching::refusals_are_failures(served);
        if let Err(error) = &served {
            output.complain(format!("fatal: {}\n", fetching::told(error)).as_bytes());
        }
        if !matches!(served, Err(FetchError::Gone(_)))
            && let Err(gone) = output.finish().await
        {
            served = served.and(Err(gone.into()));
        }
        (served, input.negotiation)
    };
    negotiation.count(&resources.negotiations.ssh);
    let closed = sidechannels::close(end, &served).await;
    let summary = served.map_err(|error| fetching::ssh_failure(&error))?;
    context.record.borrow_mut().fetched(None, summary);
    closed.map_err(|error| Status::internal(format!("close sidechannel: {error}")))?;
    let statistics = negotiation.counted();
    Ok(Response::new(SshUploadPackWithSidechannelResponse {
        packfile_negotiation_statistics: Some(statistics),
    }))
}

async fn upload_pack(
    resources: &Rc<Resources>,
    request: Request<Streaming<SshUploadPackRequest>>,
) -> Result<Response<BoxStream<SshUploadPackResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut messages = request.into_inner();
    let first = messages.message().await?.unwrap_or_default();
    if !first.stdin.is_empty() {
        return Err(Status::invalid_argument("non-empty stdin in first request"));
    }
    let asked = Asked {
        repository: first.repository,
        git_protocol: first.git_protocol,
        git_config_options: first.git_config_options,
    };
    let manner = Manner { operation: Operation::UploadPack, stateless: false, nested: false };
    let call = fetching::prepare(resources, &context, asked, manner).await?;
    let input = MessageInput::new(messages, |message: SshUploadPackRequest| message.stdin);
    let input = Heard::new(input, Some(done_in_time(resources)));
    let resources = Rc::clone(resources);
    let stream = pieces(context.lease(), |sender| {
        let stdout = |stdout| SshUploadPackResponse { stdout, ..Default::default() };
        let stderr = |stderr| SshUploadPackResponse { stderr, ..Default::default() };
        let output = PieceOutput::new(sender, stdout, Some(stderr));
        Box::pin(async move { stream_pack(&resources, &context, call, input, output).await })
    });
    Ok(Response::new(stream.boxed()))
}

async fn stream_pack(
    resources: &Resources,
    context: &Context,
    call: Call,
    mut input: Heard<MessageInput<SshUploadPackRequest>>,
    mut output: PieceOutput<SshUploadPackResponse>,
) -> Result<(), Status> {
    let served = fetch::serve(&resources.services, call, &mut input, &mut output).await;
    let served = fetching::refusals_are_failures(served);
    input.negotiation.count(&resources.negotiations.ssh);
    match served {
        Ok(summary) => {
            context.record.borrow_mut().fetched(None, summary);
            let gone =
                |gone: crate::rpc::wire::Gone| fetching::failure(Code::Internal, &gone.into());
            output.finish().await.map(drop).map_err(gone)
        }
        Err(error) => {
            output.complain(format!("fatal: {}\n", fetching::told(&error)).as_bytes());
            if let Ok(sender) = output.finish().await {
                let exit_status = Some(ExitStatus { value: FATAL });
                let last = SshUploadPackResponse { exit_status, ..Default::default() };
                // A client that has left needs no status.
                let _ = sender.send(last).await;
            }
            Err(fetching::ssh_failure(&error))
        }
    }
}

async fn receive_pack(
    resources: &Rc<Resources>,
    request: Request<Streaming<SshReceivePackRequest>>,
) -> Result<Response<BoxStream<SshReceivePackResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut messages = request.into_inner();
    let first = messages.message().await?.unwrap_or_default();
    pushing::check(&first.gl_id, &first.stdin, "non-empty data in first request")?;
    let asked = pushing::Asked {
        repository: first.repository,
        gl_id: first.gl_id,
        gl_repository: first.gl_repository,
        gl_username: first.gl_username,
        git_protocol: first.git_protocol,
        git_config_options: first.git_config_options,
        protocol: Protocol::Ssh,
    };
    let operation = push::Operation::ReceivePack;
    let call = pushing::prepare(resources, &context, asked, operation).await?;
    let input = MessageInput::new(messages, |message: SshReceivePackRequest| message.stdin);
    let resources = Rc::clone(resources);
    let stream = pieces(context.lease(), |sender| {
        let stdout = |stdout| SshReceivePackResponse { stdout, ..Default::default() };
        let stderr = |stderr| SshReceivePackResponse { stderr, ..Default::default() };
        let output = PieceOutput::new(sender, stdout, Some(stderr));
        Box::pin(async move { stream_push(&resources, call, input, output).await })
    });
    Ok(Response::new(stream.boxed()))
}

async fn stream_push(
    resources: &Resources,
    call: push::Call,
    mut input: MessageInput<SshReceivePackRequest>,
    mut output: PieceOutput<SshReceivePackResponse>,
) -> Result<(), Status> {
    let ballot = call.ballot.clone();
    let served = push::serve(&resources.services, call, &mut input, &mut output).await;
    let failure = |error| pushing::failure(Code::Internal, &error);
    match pushing::refusals_are_failures(served) {
        Ok(_) => {
            output.finish().await.map_err(|gone| failure(gone.into()))?;
            pushing::finish(&ballot).await
        }
        Err(error) => {
            output.complain(format!("fatal: {}\n", pushing::told(&error)).as_bytes());
            if let Ok(sender) = output.finish().await {
                let exit_status = Some(ExitStatus { value: FATAL });
                let last = SshReceivePackResponse { exit_status, ..Default::default() };
                // A client that has left needs no status.
                let _ = sender.send(last).await;
            }
            Err(failure(error))
        }
    }
}

async fn upload_archive(
    resources: &Rc<Resources>,
    request: Request<Streaming<SshUploadArchiveRequest>>,
) -> Result<Response<BoxStream<SshUploadArchiveResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut messages = request.into_inner();
    let first = messages.message().await?.unwrap_or_default();
    if !first.stdin.is_empty() {
        return Err(Status::invalid_argument("non-empty stdin in first request"));
    }
    let target = target(&context, first.repository)?;
    let opened = resources.repositories.open(&target.storage, &target.path).await;
    let opened = opened.map_err(|error| errors::open(&error))?;
    let services = &resources.services;
    let command = ChildCommand {
        name: CommandName { cmd: "git", subcmd: "upload-archive" },
        account: context.account(),
        need: Need::server(),
        program: services.git.program.clone(),
        // Absolute, so it cannot be taken for an option; upload-archive knows no --end-of-options.
        args: vec!["upload-archive".into(), opened.repository.git_dir().into()],
        env: services.git.plain_environment(),
        current_dir: "/".into(),
    };
    let input = MessageInput::new(messages, |message: SshUploadArchiveRequest| message.stdin);
    let until = Instant::now() + resources.timeouts.load().upload_archive_negotiation;
    let input = Heard::new(input, Some(Patience { until, ended: Negotiation::has_flushed }));
    let resources = Rc::clone(resources);
    let stream = pieces(context.lease(), |sender| {
        let stdout = |stdout| SshUploadArchiveResponse { stdout, ..Default::default() };
        let stderr = |stderr| SshUploadArchiveResponse { stderr, ..Default::default() };
        let output = PieceOutput::new(sender, stdout, Some(stderr));
        Box::pin(async move { stream_archive(&resources, &context, command, input, output).await })
    });
    Ok(Response::new(stream.boxed()))
}

async fn stream_archive(
    resources: &Resources,
    context: &Context,
    command: ChildCommand,
    mut input: Heard<MessageInput<SshUploadArchiveRequest>>,
    mut output: PieceOutput<SshUploadArchiveResponse>,
) -> Result<(), Status> {
    let (services, nothing) = (&resources.services, Bytes::new());
    let relayed = fallback::relay(services, command, nothing, &mut input, &mut output).await;
    let failure = |error: FetchError| match fetching::failure(Code::Internal, &error) {
        status if status.code() == Code::Internal => {
            Status::internal(format!("running upload-archive: {error}"))
        }
        status => status,
    };
    let relayed = relayed.map_err(failure)?;
    if !relayed.complaint.is_empty() {
        output.complain(format!("{}\n", relayed.complaint).as_bytes());
    }
    let sender = output.finish().await.map_err(|gone| failure(gone.into()))?;
    let value = relayed.status.code().unwrap_or(FATAL);
    let exit_status = Some(ExitStatus { value });
    let last = SshUploadArchiveResponse { exit_status, ..Default::default() };
    sender.send(last).await.map_err(|gone| failure(gone.into()))?;
    if relayed.status.success() {
        context.record.borrow().tell_details(None, relayed.response_bytes);
        return Ok(());
    }
    Err(Status::internal(format!("running upload-archive: {}", relayed.status)))
}

fn done_in_time(resources: &Resources) -> Patience {
    let until = Instant::now() + resources.timeouts.load().upload_pack_negotiation;
    Patience { until, ended: Negotiation::is_done }
}
