//! `FindTag`, `FindAllTags`.
//!
//! Always true: messages of a list have less than 1 MiB, as Gitaly's.
//! Never here: how tags and lists are read (`tag_messages`, `listed`).

use super::list_refs::gone;
use super::listed::{self, Entry, Listed, Reader, SLICE_REFS};
use super::tag_messages::{TAGS, tags};
use super::{check_argument, exit_text, quoted};
use crate::rpc::gitaly::ask::child::Asked;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::commits::{child_answer, text};
use crate::rpc::gitaly::commit::look::{Seen, look};
use crate::rpc::gitaly::pieces::{Sender, pieces};
use crate::rpc::gitaly::target::target;
use crate::rpc::gitaly::{Resources, errors};
use bytes::Bytes;
use gitring_git::ref_list::{DateOf, Key, Patterns, Query};
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use gitring_proto::gitaly::find_all_tags_request::{SortBy, sort_by};
use gitring_proto::gitaly::find_tag_error::Error as Detail;
use gitring_proto::gitaly::{
    FindAllTagsRequest, FindAllTagsResponse, FindTagError, FindTagRequest, FindTagResponse,
    ReferenceNotFoundError, SortDirection, Tag,
};
use prost::Message;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};

/// Of a message with tags.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// A line with an id and a name.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What a look says of a list.
struct Found {
    snapshot: Arc<Snapshot>,
    /// `None`: git makes it.
    listed: Option<Listed>,
}

/// How a list is sorted.
struct Order {
    /// `None`: only git can sort so.
    key: Option<Key>,
    is_descending: bool,
    /// For git.
    option: String,
}

/// Answers `FindTag`.
pub(super) async fn find_tag(
    resources: &Rc<Resources>,
    request: Request<FindTagRequest>,
) -> Result<Response<FindTagResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let FindTagRequest { repository, tag_name } = request.into_inner();
    let target = target(&context, repository)?;
    let asked = tag_name.clone();
    let find = look(resources, &target, move |snapshot| {
        check(&asked)?;
        let is_pattern = asked.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
        if is_pattern {
            return Ok(Resolved::Found((Arc::clone(snapshot), None)));
        }
        let name = [TAGS.as_bytes(), &asked].concat();
        let found = snapshot.find(name.as_slice().into()).filter(|found| !found.is_broken());
        let entry = found.map(|found| Entry { name: name.into(), id: found.target.to_string() });
        Ok(entry.map_or(Resolved::Missing, |entry| {
            Resolved::Found((Arc::clone(snapshot), Some(entry)))
        }))
    });
    let (snapshot, git_dir, entry) = match find.await? {
        Seen::Missing => return Err(no_tag(&tag_name)),
        Seen::Found((snapshot, Some(entry))) => {
            let git_dir = snapshot.git_dir().to_owned();
            (Some(snapshot), git_dir, Some(entry))
        }
        Seen::Found((snapshot, None)) => {
            let git_dir = snapshot.git_dir().to_owned();
            let entry = ask_tag(resources, &context, &git_dir, &tag_name).await?;
            (Some(snapshot), git_dir, entry)
        }
        Seen::AskGit(git_dir) => {
            check(&tag_name)?;
            let entry = ask_tag(resources, &context, &git_dir, &tag_name).await?;
            (None, git_dir, entry)
        }
    };
    let Some(entry) = entry else { return Err(no_tag(&tag_name)) };
    let reader = Reader { resources: Rc::clone(resources), context, git_dir, snapshot };
    let tag = tags(&reader, vec![entry]).await?.into_iter().next().flatten();
    // git lists no tag whose object it cannot read.
    let tag = Some(tag.ok_or_else(|| no_tag(&tag_name))?);
    Ok(Response::new(FindTagResponse { tag }))
}

fn check(name: &[u8]) -> Result<(), Status> {
    if name.is_empty() {
        return Err(Status::invalid_argument("tag name is empty"));
    }
    let refused = |text: &str| Status::internal(format!("for-each-ref error: {text}"));
    check_argument(name).map_err(|status| refused(status.message()))?;
    if name.starts_with(b"-") {
        let name = quoted(name);
        let text = format!("positional arg {name} cannot start with dash '-': invalid argument");
        return Err(refused(&text));
    }
    Ok(())
}

fn no_tag(name: &[u8]) -> Status {
    let reference_name = [TAGS.as_bytes(), name].concat().into();
    let detail = Detail::TagNotFound(ReferenceNotFoundError { reference_name });
    let detail = FindTagError { error: Some(detail) };
    errors::detailed(Code::NotFound, "tag does not exist", "FindTagError", &detail)
}

/// The first tag that fits a pattern.
async fn ask_tag(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    pattern: &[u8],
) -> Result<Option<Entry>, Status> {
    let format = OsStr::new("--format=%(objectname) %(objecttype) %(refname)");
    let asked = Asked {
        subcmd: "tag",
        args: &[OsStr::new("-l"), format, OsStr::new("--"), OsStr::from_bytes(pattern)],
        input: b"",
        directory: git_dir.to_owned(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let answered = child_answer(resources, context, asked).await?;
    let all = Bytes::from(answered.stdout);
    let line = all.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut fields = line.splitn(3, |byte| *byte == b' ');
    let (Some(id), Some(_), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
        return Ok(None);
    };
    Ok(Some(Entry { id: text(id)?, name: all.slice_ref(name) }))
}

/// Answers `FindAllTags`.
pub(super) async fn find_all_tags(
    resources: &Rc<Resources>,
    request: Request<FindAllTagsRequest>,
) -> Result<Response<BoxStream<FindAllTagsResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let FindAllTagsRequest { repository, sort_by, pagination_params } = request.into_inner();
    let target = target(&context, repository)?;
    let find = look(resources, &target, move |snapshot| found(snapshot, sort_by));
    let (snapshot, listed, git_dir) = match find.await? {
        Seen::Found(Found { snapshot, listed }) => {
            let git_dir = snapshot.git_dir().to_owned();
            (Some(snapshot), listed, git_dir)
        }
        Seen::Missing => (None, None, PathBuf::new()),
        Seen::AskGit(git_dir) => (None, None, git_dir),
    };
    let listed = match listed {
        Some(listed) => listed,
        None => {
            let order = Order::of(sort_by)?;
            let (options, patterns) = ([OsStr::new(&order.option)], [OsStr::new(TAGS)]);
            let made = listed::by_git(resources, &context, &git_dir, &options, &patterns);
            made.await?.map_err(|status| {
                let status = exit_text(status);
                Status::internal(format!("iterating over tags: for-each-ref pipeline: {status}"))
            })?
        }
    };
    let page = listed::page(&listed, pagination_params.as_ref());
    let page = page.ok_or_else(|| Status::invalid_argument("could not find page token"))?;
    let reader =
        Reader { resources: Rc::clone(resources), context: Rc::clone(&context), git_dir, snapshot };
    let stream = pieces(context.lease(), |sender| Box::pin(send(listed, page, reader, sender)));
    Ok(Response::new(stream.boxed()))
}

fn found(snapshot: &Arc<Snapshot>, sort_by: Option<SortBy>) -> Result<Resolved<Found>, Status> {
    let Order { key, is_descending, .. } = Order::of(sort_by)?;
    let listed = match key {
        None => None,
        Some(key) => {
            let patterns = Patterns::new(vec![TAGS.into()]);
            let query = Query { patterns, key, is_descending, ..Query::default() };
            match listed::in_process(snapshot, &query)? {
                Resolved::Found(listed) => Some(listed),
                Resolved::Missing | Resolved::Unsupported => None,
            }
        }
    };
    Ok(Resolved::Found(Found { snapshot: Arc::clone(snapshot), listed }))
}

async fn send(
    listed: Listed,
    page: Range<usize>,
    reader: Reader,
    sender: Sender<FindAllTagsResponse>,
) -> Result<(), Status> {
    let mut waiting: Vec<Tag> = Vec::new();
    let mut bytes = 0;
    for start in page.clone().step_by(SLICE_REFS) {
        let slice = start..page.end.min(start + SLICE_REFS);
        let entries = slice.map(|at| listed.entry(at)).collect::<Result<_, _>>()?;
        for tag in tags(&reader, entries).await? {
            let tag =
                tag.ok_or_else(|| Status::internal("iterating over tags: object not found"))?;
            let more = tag.encoded_len();
            if bytes + more >= MESSAGE_BYTES_MAX && !waiting.is_empty() {
                let tags = std::mem::take(&mut waiting);
                sender.send(FindAllTagsResponse { tags }).await.map_err(gone)?;
                bytes = 0;
            }
            bytes += more;
            waiting.push(tag);
        }
    }
    if waiting.is_empty() {
        return Ok(());
    }
    sender.send(FindAllTagsResponse { tags: waiting }).await.map_err(gone)
}

// === impl Order ===

impl Order {
    fn of(sort_by: Option<SortBy>) -> Result<Self, Status> {
        let SortBy { key, direction } = sort_by.unwrap_or_default();
        let is_descending = match SortDirection::try_from(direction) {
            Ok(direction) => direction == SortDirection::Descending,
            Err(_) => {
                let text = format!("unsupported sorting direction: {direction}");
                return Err(Status::invalid_argument(text));
            }
        };
        let (key, name) = match sort_by::Key::try_from(key) {
            Ok(sort_by::Key::Refname) => (Some(Key::Name), "refname"),
            Ok(sort_by::Key::Creatordate) => (Some(Key::Date(DateOf::Creator)), "creatordate"),
            Ok(sort_by::Key::VersionRefname) => (None, "version:refname"),
            Err(_) => {
                let text = format!("unsupported sorting key: {key}");
                return Err(Status::invalid_argument(text));
            }
        };
        let sign = if is_descending { "-" } else { "" };
        Ok(Self { key, is_descending, option: format!("--sort={sign}{name}") })
    }
}
