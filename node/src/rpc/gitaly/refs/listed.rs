//! Refs in an order, from a snapshot or from `git for-each-ref`, and the commits that they name.
//!
//! Always true: who is asked for the list is decided before anything was answered; objects are read
//! in slices of [`SLICE_REFS`], as the client takes them.
//! Never here: messages of one RPC.

use super::exit_text;
use super::objects_by_git::{GitObject, read_many};
use crate::rpc::gitaly::ask::child::Asked;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::commits::{self, child_answer, text};
use crate::rpc::gitaly::commit::look::unreadable;
use crate::rpc::gitaly::{Resources, errors};
use bytes::Bytes;
use gitring_git::commit::Details;
use gitring_git::ref_list::{ListError, Query, list};
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use gitring_proto::gitaly::{GitCommit, PaginationParameter};
use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use tonic::Status;

/// Refs whose objects are read at once: Gitaly's message has as many branches.
pub(super) const SLICE_REFS: usize = 20;
/// Of a list that git makes: 500,000 refs.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// A list of refs.
#[derive(Debug)]
pub(super) enum Listed {
    Snapshot {
        snapshot: Arc<Snapshot>,
        /// Places in the snapshot's refs.
        refs: Vec<u32>,
    },
    /// Lines `<id> SP <name>`.
    Git { lines: Bytes, ends: Vec<u32> },
}

/// A ref of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Bytes,
    /// In hexadecimal.
    pub(super) id: String,
}

/// Whoever reads objects for a list.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) resources: Rc<Resources>,
    pub(super) context: Rc<Context>,
    pub(super) git_dir: PathBuf,
    /// Where objects can be read in process.
    pub(super) snapshot: Option<Arc<Snapshot>>,
}

/// The list in process, if that does not take too long.
pub(super) fn in_process(
    snapshot: &Arc<Snapshot>,
    query: &Query,
) -> Result<Resolved<Listed>, Status> {
    let refs = match list(snapshot, query) {
        Ok(refs) => refs,
        Err(ListError::TooMuch) => return Ok(Resolved::Unsupported),
        // Dates of what is not there: git dies of it.
        Err(ListError::MissingObject { .. }) => return Ok(Resolved::Unsupported),
        Err(ListError::Store(error)) => return Err(unreadable(&error)),
    };
    let place = |one| snapshot.refs.element_offset(one).and_then(|at| u32::try_from(at).ok());
    let refs = refs.into_iter().filter_map(place).collect();
    Ok(Resolved::Found(Listed::Snapshot { snapshot: Arc::clone(snapshot), refs }))
}

/// The list by git, with these arguments before and these patterns behind `--`. Where git dies,
/// how it ended.
pub(super) async fn by_git(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    options: &[&OsStr],
    patterns: &[&OsStr],
) -> Result<Result<Listed, ExitStatus>, Status> {
    let mut args = vec![OsStr::new("--format=%(objectname) %(refname)")];
    args.extend_from_slice(options);
    args.push(OsStr::new("--"));
    args.extend_from_slice(patterns);
    let asked = Asked {
        subcmd: "for-each-ref",
        args: &args,
        input: b"",
        directory: git_dir.to_owned(),
        answer_bytes_max: LIST_BYTES_MAX,
    };
    let answered = child_answer(resources, context, asked).await?;
    if answered.stdout.len() as u64 == LIST_BYTES_MAX {
        return Err(errors::limited("the list of refs is too long"));
    }
    if !answered.exit.status.success() {
        let status = exit_text(answered.exit.status);
        tracing::warn!(complaint = answered.complaint, status, "git for-each-ref died");
        return Ok(Err(answered.exit.status));
    }
    let lines = Bytes::from(answered.stdout);
    let ends = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let ends = ends.filter_map(|(at, _)| u32::try_from(at).ok()).collect();
    Ok(Ok(Listed::Git { lines, ends }))
}

/// Which of `listed` are on the page; `None` where its token names none of them.
pub(super) fn page(listed: &Listed, asked: Option<&PaginationParameter>) -> Option<Range<usize>> {
    let all = 0..listed.len();
    let Some(asked) = asked else { return Some(all) };
    // A negative limit is none.
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let start = match asked.page_token.as_bytes() {
        [] => 0,
        // Gitaly looks for the token among what it may send.
        _ if limit == 0 => return None,
        token => all.clone().find(|at| listed.name(*at) == token)? + 1,
    };
    Some(start..all.end.min(start.saturating_add(limit)))
}

// === impl Listed ===

impl Listed {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Snapshot { refs, .. } => refs.len(),
            Self::Git { ends, .. } => ends.len(),
        }
    }

    /// The name of one of them.
    pub(super) fn name(&self, at: usize) -> &[u8] {
        match self {
            Self::Snapshot { snapshot, refs } => &snapshot.refs[refs[at] as usize].name,
            Self::Git { .. } => {
                let line = self.line(at);
                line.iter().position(|byte| *byte == b' ').map_or(line, |end| &line[end + 1..])
            }
        }
    }

    /// One of them.
    pub(super) fn entry(&self, at: usize) -> Result<Entry, Status> {
        let name = Bytes::copy_from_slice(self.name(at));
        let id = match self {
            Self::Snapshot { snapshot, refs } => {
                snapshot.refs[refs[at] as usize].target.to_string()
            }
            Self::Git { .. } => {
                text(self.line(at).split(|byte| *byte == b' ').next().unwrap_or_default())?
            }
        };
        Ok(Entry { name, id })
    }

    fn line(&self, at: usize) -> &[u8] {
        match self {
            Self::Snapshot { .. } => b"",
            Self::Git { lines, ends } => {
                let start = at.checked_sub(1).map_or(0, |before| ends[before] as usize + 1);
                &lines[start..ends[at] as usize]
            }
        }
    }
}

// === impl Reader ===

impl Reader {
    /// The commits `<id>^{commit}`, `None` where there is none.
    pub(super) async fn commits(&self, ids: Vec<String>) -> Result<Vec<Option<GitCommit>>, Status> {
        let asked = ids.clone();
        let read = move |snapshot: &Arc<Snapshot>| {
            let find = |id: &String| commits::find(snapshot, id.as_bytes(), false);
            let found: Vec<_> = asked.iter().map(find).collect::<Result<_, _>>()?;
            let known = found.into_iter().map(|one| match one {
                Resolved::Found(commit) => Some(Some(commit)),
                Resolved::Missing => Some(None),
                Resolved::Unsupported => None,
            });
            Ok(known.collect())
        };
        if let Some(commits) = self.in_process(read).await? {
            return Ok(commits);
        }
        let revisions: Vec<_> = ids.iter().map(|id| format!("{id}^{{commit}}")).collect();
        let objects = self.by_git(&revisions).await?;
        objects.into_iter().map(|object| object.map(commit).transpose()).collect()
    }

    /// What `read` finds in the snapshot; `None` where git has to be asked.
    pub(super) async fn in_process<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Arc<Snapshot>) -> Result<Option<T>, Status> + Send + 'static,
    ) -> Result<Option<T>, Status> {
        let Some(snapshot) = self.snapshot.clone() else { return Ok(None) };
        let read = self.resources.services.workers.run(move || read(&snapshot)).await;
        read.map_err(|error| errors::workers(&error))?
    }

    /// Objects that git reads.
    pub(super) async fn by_git(
        &self,
        revisions: &[String],
    ) -> Result<Vec<Option<GitObject>>, Status> {
        read_many(&self.resources, &self.context, &self.git_dir, revisions).await
    }
}

/// A commit that git printed.
pub(super) fn commit(object: GitObject) -> Result<GitCommit, Status> {
    let data = object.data;
    commits::message(object.id, &data, &Details::parse(&data), Vec::new())
}
