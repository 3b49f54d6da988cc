//! Commits as messages, found in process or by `git cat-file`.
//!
//! Always true: both ways give the same message.
//! Never here: gRPC.

use super::look::unreadable;
use crate::rpc::gitaly::ask::child::{self, Answered, Asked};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::{Resources, errors};
use bytes::{Buf, Bytes};
use gitring_git::commit::{self, Details, Person, Signature, Trailer};
use gitring_git::repository::Snapshot;
use gitring_git::revision::{Resolved, Revision};
use gitring_proto::gitaly::{CommitAuthor, CommitTrailer, GitCommit, SignatureType};
use prost_types::Timestamp;
use std::ffi::OsStr;
use std::path::Path;
use tonic::Status;

/// A commit that git is asked for, held in memory as a whole; larger ones are refused. What people
/// write stays far below 1 MiB.
const COMMIT_BYTES_MAX: u64 = 8 << 20;
/// More trailers than Gitaly reads.
const TRAILERS_BYTES_MAX: u64 = 128 << 10;

/// The commit that `revision` names.
pub(in crate::rpc::gitaly) fn find(
    snapshot: &Snapshot,
    revision: &[u8],
    with_trailers: bool,
) -> Result<Resolved<GitCommit>, Status> {
    let revision = Revision::parse(revision.into());
    let found = commit::find(snapshot, &revision).map_err(|error| unreadable(&error))?;
    let found = match found {
        Resolved::Found(found) => found,
        Resolved::Missing => return Ok(Resolved::Missing),
        Resolved::Unsupported => return Ok(Resolved::Unsupported),
    };
    let data = Bytes::from(found.data);
    let details = Details::parse(&data);
    let trailers = match with_trailers.then(|| commit::trailers(&details, &snapshot.config)) {
        None => Vec::new(),
        Some(Resolved::Found(trailers)) => trailers,
        Some(Resolved::Missing | Resolved::Unsupported) => return Ok(Resolved::Unsupported),
    };
    message(found.id.to_string(), &data, &details, trailers).map(Resolved::Found)
}

/// The same as git sees it.
pub(in crate::rpc::gitaly) async fn ask(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    revision: &[u8],
    with_trailers: bool,
) -> Result<Option<GitCommit>, Status> {
    let mut input = revision.to_vec();
    input.extend_from_slice(b"^{commit}\n");
    let asked = Asked {
        subcmd: "cat-file",
        args: &["--use-mailmap", "--batch"].map(OsStr::new),
        input: &input,
        directory: git_dir.to_owned(),
        answer_bytes_max: COMMIT_BYTES_MAX,
    };
    let Answered { stdout, exit, complaint } = child_answer(resources, context, asked).await?;
    if stdout.len() as u64 == COMMIT_BYTES_MAX {
        return Err(errors::limited("the commit is too large"));
    }
    if !exit.status.success() {
        tracing::warn!(%complaint, "git cat-file died");
        return Err(Status::internal("read info line: EOF"));
    }
    let Some(end) = stdout.iter().position(|byte| *byte == b'\n') else {
        return Err(Status::internal("read info line: EOF"));
    };
    // Slices of what git said: the message copies none of it.
    let mut data = Bytes::from(stdout);
    let line = data.split_to(end);
    data.advance(1);
    if data.ends_with(b"\n") {
        data.truncate(data.len() - 1);
    }
    if line.ends_with(b" missing") {
        return Ok(None);
    }
    let id = match line.split(|byte| *byte == b' ').collect::<Vec<_>>()[..] {
        [id, b"commit", _] => text(id)?,
        _ => {
            let line = String::from_utf8_lossy(&line);
            return Err(Status::internal(format!("invalid info line: {line:?}")));
        }
    };
    let trailers = match with_trailers {
        true => ask_trailers(resources, context, git_dir, &id).await?,
        false => Vec::new(),
    };
    message(id, &data, &Details::parse(&data), trailers).map(Some)
}

async fn ask_trailers(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    id: &str,
) -> Result<Vec<Trailer>, Status> {
    let format = "--format=%(trailers:unfold,separator=%x00)";
    let asked = Asked {
        subcmd: "show",
        args: &["--no-patch", format, "--end-of-options", id].map(OsStr::new),
        input: b"",
        directory: git_dir.to_owned(),
        answer_bytes_max: TRAILERS_BYTES_MAX,
    };
    let Answered { stdout, .. } = child_answer(resources, context, asked).await?;
    let line = stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(commit::read_trailers(line))
}

/// Asks git.
pub(in crate::rpc::gitaly) async fn child_answer(
    resources: &Resources,
    context: &Context,
    asked: Asked<'_>,
) -> Result<Answered, Status> {
    let what = asked.subcmd;
    let answered = child::ask(&resources.services, context, asked).await;
    answered.map_err(|error| errors::child(what, &error))
}

/// A commit as git tells it.
pub(in crate::rpc::gitaly) fn read(id: String, data: &Bytes) -> Result<GitCommit, Status> {
    message(id, data, &Details::parse(data), Vec::new())
}

/// What a commit says, as a message.
pub(in crate::rpc::gitaly) fn message(
    id: String,
    data: &Bytes,
    details: &Details<'_>,
    trailers: Vec<Trailer>,
) -> Result<GitCommit, Status> {
    let parents = details.parents.iter().map(|parent| text(parent));
    let signature = signature_type(details.signature);
    let trailer = |one: Trailer| CommitTrailer { key: one.key.into(), value: one.value.into() };
    Ok(GitCommit {
        id,
        subject: data.slice_ref(details.subject),
        body: data.slice_ref(details.body()),
        author: details.author.map(|person| author(data, &person)),
        committer: details.committer.map(|person| author(data, &person)),
        parent_ids: parents.collect::<Result<_, _>>()?,
        body_size: i64::try_from(details.message.len()).unwrap_or(i64::MAX),
        signature_type: signature.into(),
        tree_id: text(details.tree)?,
        trailers: trailers.into_iter().map(trailer).collect(),
        short_stats: None,
        referenced_by: Vec::new(),
        encoding: text(details.encoding)?,
    })
}

/// The kind of a signature, as a message.
pub(in crate::rpc::gitaly) fn signature_type(signature: Signature) -> SignatureType {
    match signature {
        Signature::None => SignatureType::None,
        Signature::Pgp => SignatureType::Pgp,
        Signature::X509 => SignatureType::X509,
        Signature::Ssh => SignatureType::Ssh,
    }
}

/// A person, as a message.
pub(in crate::rpc::gitaly) fn author(data: &Bytes, person: &Person<'_>) -> CommitAuthor {
    CommitAuthor {
        name: data.slice_ref(person.name),
        email: data.slice_ref(person.email),
        date: person.seconds.map(|seconds| Timestamp { seconds, nanos: 0 }),
        timezone: data.slice_ref(person.timezone),
    }
}

/// What travels as a string has to be one. Gitaly fails at the same place, with these words.
pub(in crate::rpc::gitaly) fn text(bytes: &[u8]) -> Result<String, Status> {
    let refused = "grpc: error while marshaling: string field contains invalid UTF-8";
    String::from_utf8(bytes.to_vec()).map_err(|_| Status::internal(refused))
}
