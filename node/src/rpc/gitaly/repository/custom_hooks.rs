//! Custom hooks as archives: set and read, under their present and their old names.
//!
//! Always true: of an archive that comes in, one message is held.
//! Never here: what archives may hold.

use crate::hooks::{ArchiveError, ArchiveLimits, Intake, ReplaceError, pack};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::pieces::{PieceOutput, STALL_MAX, Sender, pieces};
use crate::rpc::gitaly::target::{Target, target};
use crate::rpc::gitaly::voting;
use crate::rpc::gitaly::{Resources, errors};
use crate::rpc::wire::{Gone, Output};
use crate::storage::Opened;
use bytes::Bytes;
use gitring_proto::gitaly::Repository;
use std::path::PathBuf;
use std::rc::Rc;
use tokio::time::timeout;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// A repository on the disk.
struct Place {
    /// Of its storage.
    root: PathBuf,
    git_dir: PathBuf,
}

/// `SetCustomHooks`; `parts` takes a message apart.
pub(super) async fn set<M>(
    resources: &Resources,
    request: Request<Streaming<M>>,
    parts: fn(M) -> (Option<Repository>, Bytes),
) -> Result<(), Status> {
    let context = Context::of(request.extensions())?;
    let mut messages = request.into_inner();
    let first = next(&mut messages).await?;
    let first = first.ok_or_else(|| Status::internal("getting first request: EOF"))?;
    let (named, mut piece) = parts(first);
    let target = target(&context, named)?;
    let ballot = context.ballot(resources)?;
    let Place { root, git_dir } = place(resources, &target).await?;
    let failed = |error| failure("setting custom hooks", error);
    let (workers, limits) = (&resources.services.workers, ArchiveLimits::default());
    let mut intake = Intake::begin(workers, &root, &git_dir, limits).await.map_err(failed)?;
    loop {
        if !piece.is_empty() {
            intake.put(piece).await.map_err(failed)?;
        }
        match next(&mut messages).await? {
            Some(message) => piece = parts(message).1,
            None => break,
        }
    }
    let mut replacement = intake.unpack().await.map_err(failed)?;
    let vote = replacement.vote();
    let unvoted =
        |error| voting::failure(Code::Aborted, "setting custom hooks: casting vote", &error);
    // Dropping the replacement leaves the hooks as they are.
    let _carried = ballot.prepared(vote).await.map_err(unvoted)?;
    replacement.publish().await.map_err(failed)?;
    let voted = ballot.committed(vote).await;
    replacement.finish().await;
    voted.map_err(unvoted)
}

/// `GetCustomHooks`; a repository without hooks has no archive.
pub(super) async fn get<M: Send + 'static>(
    resources: &Rc<Resources>,
    context: Rc<Context>,
    named: Option<Repository>,
    message: fn(Bytes) -> M,
) -> Result<Response<BoxStream<M>>, Status> {
    let target = target(&context, named)?;
    let place = place(resources, &target).await?;
    let resources = Rc::clone(resources);
    let stream = pieces(context.lease(), |sender| {
        Box::pin(async move { send(&resources, place, sender, message).await })
    });
    Ok(Response::new(stream.boxed()))
}

async fn send<M>(
    resources: &Resources,
    Place { root, git_dir }: Place,
    sender: Sender<M>,
    message: fn(Bytes) -> M,
) -> Result<(), Status> {
    let failed = |error| failure("reading custom hooks", error);
    let (workers, limits) = (&resources.services.workers, ArchiveLimits::default());
    let packed = pack(workers, &root, &git_dir, limits).await.map_err(failed)?;
    let Some(mut packed) = packed else { return Ok(()) };
    let mut output = PieceOutput::new(sender, message, None);
    while let Some(piece) = packed.next().await.map_err(failed)? {
        let sent = output.write(piece).await;
        sent.map_err(|Gone| Status::cancelled("reading custom hooks: the client left"))?;
    }
    Ok(())
}

async fn next<M>(messages: &mut Streaming<M>) -> Result<Option<M>, Status> {
    let silent = |_| Status::deadline_exceeded("setting custom hooks: the client is silent");
    timeout(STALL_MAX, messages.message()).await.map_err(silent)?
}

async fn place(resources: &Resources, target: &Target) -> Result<Place, Status> {
    let look = |opened: &Opened| opened.repository.git_dir().to_owned();
    let found = resources.repositories.with(&target.storage, &target.path, look).await;
    let git_dir = found.map_err(|error| errors::open(&error))?;
    let root = resources.repositories.storages().root(&target.storage);
    let root = root.ok_or_else(|| Status::invalid_argument("storage name not found"))?.to_owned();
    Ok(Place { root, git_dir })
}

fn failure(what: &str, error: ReplaceError) -> Status {
    let code = match &error {
        ReplaceError::Workers(error) => return errors::workers(error),
        ReplaceError::Archive(ArchiveError::TooLong(_) | ArchiveError::TooMany(_)) => {
            return errors::limited(format!("{what}: {error}"));
        }
        ReplaceError::Archive(ArchiveError::Path(_) | ArchiveError::Kind { .. }) => {
            Code::InvalidArgument
        }
        ReplaceError::Archive(ArchiveError::Malformed(_)) | ReplaceError::Locked => Code::Internal,
        ReplaceError::Archive(ArchiveError::Io { .. }) | ReplaceError::Io { .. } => {
            return errors::internal(&format!("{what}: {error}"), &error);
        }
    };
    Status::new(code, format!("{what}: {error}"))
}
