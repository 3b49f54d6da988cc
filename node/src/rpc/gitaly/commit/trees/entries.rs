//! `GetTreeEntries`: what lies in a directory of a revision, or below it.
//!
//! Always true: entries that no order and no page holds back are sent as git lists them; others
//! are at most [`ENTRIES_MAX`].

use super::entry::{Entries, Entry, EntryKind, joined};
use super::finder::{Finder, TREE_BYTES_MAX};
use super::page::Page;
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::cat_file::{CatFile, Header};
use crate::rpc::gitaly::ask::revisions;
use crate::rpc::gitaly::ask::site::{Site, site};
use crate::rpc::gitaly::ask::talk::{Command, Talk};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::chunks::Chunks;
use crate::rpc::gitaly::errors;
use crate::rpc::gitaly::pieces::{Sender, pieces};
use bytes::Bytes;
use gitring_git::objects::Kind;
use gitring_proto::gitaly::get_tree_entries_request::SortBy;
use gitring_proto::gitaly::{
    GetTreeEntriesError, GetTreeEntriesRequest, GetTreeEntriesResponse, PaginationCursor,
    PathError, ResolveRevisionError, TreeEntry, get_tree_entries_error, path_error,
};
use std::rc::Rc;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};

/// Entries that are held in memory to be sorted or cut: about 150 MB.
const ENTRIES_MAX: usize = 500_000;
/// Directories that a flat path leads through.
const FLAT_LEVELS: usize = 10;
/// Directories that are asked for at once.
const BATCH: usize = 100;
/// Under which name the details of failures travel.
const ERROR: &str = "GetTreeEntriesError";

/// A list on its way to a client.
struct Listing<'s> {
    site: &'s Site,
    message: GetTreeEntriesRequest,
    /// As clients named it.
    revision: String,
    cat_file: CatFile,
}

/// Answers `GetTreeEntries`.
pub(in crate::rpc::gitaly) async fn get_tree_entries(
    resources: &Rc<Resources>,
    request: Request<GetTreeEntriesRequest>,
) -> Result<Response<BoxStream<GetTreeEntriesResponse>>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let site = site(resources, context, message.repository.take()).await?;
    revisions::check(&message.revision, &[])?;
    if message.path.is_empty() {
        let error_type = path_error::ErrorType::EmptyPath.into();
        let error =
            get_tree_entries_error::Error::Path(PathError { path: Bytes::new(), error_type });
        let detail = GetTreeEntriesError { error: Some(error) };
        return Err(errors::detailed(Code::InvalidArgument, "empty path", ERROR, &detail));
    }
    if message.path == "." {
        message.path.clear();
    }
    let lease = site.context.lease();
    let stream = pieces(lease, |sender| {
        Box::pin(async move {
            let cat_file = CatFile::begin(&site).await?;
            let revision = String::from_utf8_lossy(&message.revision).into_owned();
            Listing { site: &site, message, revision, cat_file }.send(&sender).await
        })
    });
    Ok(Response::new(stream.boxed()))
}

// === impl Listing ===

impl Listing<'_> {
    async fn send(mut self, sender: &Sender<GetTreeEntriesResponse>) -> Result<(), Status> {
        let page = self.message.pagination_params.as_ref().map(Page::new);
        let token_tree = page.as_ref().and_then(|page| page.tree.clone());
        let Some(tree) = self.tree(token_tree).await? else { return Ok(()) };
        if page.is_none() && self.message.recursive && self.message.sort() == SortBy::Default {
            return self.relay(tree, sender).await;
        }
        let mut entries = self.collect(&tree).await?;
        match self.message.sort() {
            SortBy::Default => {}
            SortBy::TreesFirst => entries.sort_by_key(|entry| EntryKind::of(entry.mode)),
            SortBy::Filesystem => entries.sort_by(|one, other| one.path.cmp(&other.path)),
        }
        let mut cursor = String::new();
        if let Some(page) = page {
            cursor = page.cut(&mut entries, &tree.id)?;
        }
        if !self.message.recursive && !self.message.skip_flat_paths {
            self.flatten(&mut entries).await?;
        }
        let mut chunks = Chunks::new(sender, responses(cursor));
        for entry in entries {
            chunks.put(entry).await?;
        }
        chunks.finish().await
    }

    /// The tree that is to be listed; `None` where Gitaly lists nothing.
    async fn tree(&mut self, from_token: Option<String>) -> Result<Option<Header>, Status> {
        let path = &self.message.path;
        let name = match from_token {
            Some(tree) => [tree.as_bytes(), b":"].concat(),
            None => [&self.message.revision, &b":"[..], path].concat(),
        };
        // git takes these for paths in a work tree, and dies of having none.
        let is_relative = path.starts_with(b"./") || path.starts_with(b"../");
        let found = if is_relative { None } else { self.cat_file.info(&name).await? };
        if let Some(header) = found {
            return match header.kind {
                Kind::Tree => Ok(Some(header)),
                Kind::Commit | Kind::Blob | Kind::Tag if !self.message.recursive => Ok(None),
                Kind::Commit | Kind::Blob | Kind::Tag => {
                    Err(self.unresolved(Code::InvalidArgument, "revision doesn't exist"))
                }
            };
        }
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let revision = &self.message.revision;
        let entry = Finder::default().find(&mut self.cat_file, revision, path).await?;
        // What is there and has no object is a commit of another repository.
        let code = match (&entry, self.message.recursive) {
            (Some(_), false) => Code::NotFound,
            (Some(_), true) | (None, _) => Code::InvalidArgument,
        };
        let missing = || "invalid revision or path";
        Err(self.unresolved(code, entry.map_or_else(missing, |_| "revision doesn't exist")))
    }

    fn unresolved(&self, code: Code, text: &str) -> Status {
        let revision = self.message.revision.clone();
        let error = get_tree_entries_error::Error::ResolveTree(ResolveRevisionError { revision });
        let detail = GetTreeEntriesError { error: Some(error) };
        errors::detailed(code, text, ERROR, &detail)
    }

    /// Sends everything below a tree as git lists it.
    async fn relay(
        self,
        tree: Header,
        sender: &Sender<GetTreeEntriesResponse>,
    ) -> Result<(), Status> {
        let mut listed = below(self.site, &tree).await?;
        let mut chunks = Chunks::new(sender, responses(String::new()));
        while let Some(line) = listed.line(b'\0').await? {
            chunks.put(self.entry_of(&line)?).await?;
        }
        listed.end().await?.as_result("listing tree entries")?;
        chunks.finish().await
    }

    async fn collect(&mut self, tree: &Header) -> Result<Vec<TreeEntry>, Status> {
        let mut entries = Vec::new();
        let checked = |entries: &Vec<TreeEntry>| match entries.len() {
            ..ENTRIES_MAX => Ok(()),
            ENTRIES_MAX.. => Err(errors::limited(format!("more than {ENTRIES_MAX} tree entries"))),
        };
        if self.message.recursive {
            let mut listed = below(self.site, tree).await?;
            while let Some(line) = listed.line(b'\0').await? {
                checked(&entries)?;
                entries.push(self.entry_of(&line)?);
            }
            listed.end().await?.as_result("listing tree entries")?;
            return Ok(entries);
        }
        let content = self.content(tree.id.as_bytes()).await?.unwrap_or_default();
        for entry in Entries::of(content, &tree.id) {
            checked(&entries)?;
            entries.push(entry?.message(&self.revision, &self.message.path));
        }
        Ok(entries)
    }

    fn entry_of(&self, line: &Bytes) -> Result<TreeEntry, Status> {
        let entry = Entry::of_line(line).ok_or_else(|| Status::internal("parsing tree entry"))?;
        Ok(entry.message(&self.revision, &self.message.path))
    }

    async fn content(&mut self, id: &[u8]) -> Result<Option<Bytes>, Status> {
        let Some(header) = self.cat_file.open(id).await? else { return Ok(None) };
        if header.kind != Kind::Tree {
            self.cat_file.skip(header.size).await?;
            return Ok(None);
        }
        self.cat_file.whole(&header, TREE_BYTES_MAX).await.map(Some)
    }

    /// Gives every entry a path on which directories that hold nothing but one directory are
    /// passed.
    async fn flatten(&mut self, entries: &mut [TreeEntry]) -> Result<(), Status> {
        let mut open = Vec::new();
        for (at, entry) in entries.iter_mut().enumerate() {
            entry.flat_path = entry.path.clone();
            if EntryKind::of(entry.mode) == EntryKind::Tree {
                open.push((at, entry.oid.clone()));
            }
        }
        for _ in 1..FLAT_LEVELS {
            let mut next = Vec::new();
            for batch in open.chunks(BATCH) {
                batch.iter().for_each(|(_, id)| self.cat_file.ask_contents(id.as_bytes()));
                self.cat_file.flush();
                for (at, id) in batch {
                    let Some(header) = self.cat_file.header(id.as_bytes()).await? else { continue };
                    let content = self.cat_file.whole(&header, TREE_BYTES_MAX).await?;
                    if let Some(only) = only_directory(content, id)? {
                        let flat_path = &mut entries[*at].flat_path;
                        *flat_path = joined(flat_path, &only.name);
                        next.push((*at, only.id));
                    }
                }
            }
            open = next;
        }
        Ok(())
    }
}

/// The directory that is all there is in a tree.
fn only_directory(content: Bytes, id: &str) -> Result<Option<Entry>, Status> {
    let mut entries = Entries::of(content, id);
    let first = entries.next().transpose()?;
    let is_alone = entries.next().is_none();
    Ok(first.filter(|first| is_alone && first.kind == EntryKind::Tree))
}

/// git, listing everything below a tree.
async fn below(site: &Site, tree: &Header) -> Result<Talk, Status> {
    let args = ["-r", "-t", "-z", "--end-of-options", &tree.id];
    let args = args.iter().map(Into::into).collect();
    Talk::ask(site, Command { subcmd: "ls-tree", args, input: Vec::new() }).await
}

/// What makes messages of entries; the first has the cursor.
fn responses(cursor: String) -> impl FnMut(Vec<TreeEntry>) -> GetTreeEntriesResponse {
    let mut cursor = Some(PaginationCursor { next_cursor: cursor });
    move |entries| GetTreeEntriesResponse { entries, pagination_cursor: cursor.take() }
}
