//! Tags as messages, read in process or by git.
//!
//! Always true: both ways give the same message.
//! Never here: which tags.

use super::listed::{self, Entry, Reader};
use super::objects_by_git::GitObject;
use crate::rpc::gitaly::commit::commits::{self, author, signature_type};
use crate::rpc::gitaly::commit::look::unreadable;
use bytes::Bytes;
use gitring_git::ObjectId;
use gitring_git::commit::BODY_BYTES_MAX;
use gitring_git::objects::{Kind, StoreError};
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use gitring_git::tag::{self, Details};
use gitring_proto::gitaly::{GitCommit, Tag};
use std::sync::Arc;
use tonic::Status;

/// Where tags are.
pub(super) const TAGS: &str = "refs/tags/";

/// The tags of these refs; `None` where a ref names an object that is not there.
pub(super) async fn tags(reader: &Reader, entries: Vec<Entry>) -> Result<Vec<Option<Tag>>, Status> {
    let asked = entries.clone();
    let read = move |snapshot: &Arc<Snapshot>| {
        let mut tags = Vec::with_capacity(asked.len());
        for entry in &asked {
            match in_process(snapshot, entry)? {
                Resolved::Found(tag) => tags.push(Some(tag)),
                Resolved::Missing => tags.push(None),
                Resolved::Unsupported => return Ok(None),
            }
        }
        Ok(Some(tags))
    };
    match reader.in_process(read).await? {
        Some(tags) => Ok(tags),
        None => by_git(reader, entries).await,
    }
}

fn in_process(snapshot: &Snapshot, entry: &Entry) -> Result<Resolved<Tag>, Status> {
    let Ok(id) = ObjectId::from_hex(entry.id.as_bytes()) else { return Ok(Resolved::Unsupported) };
    let store = &snapshot.store;
    let failed = |error: StoreError| unreadable(&error);
    match store.kind(&id).map_err(failed)? {
        None => Ok(Resolved::Missing),
        Some(Kind::Tree | Kind::Blob) => Ok(Resolved::Found(entry.tag(None))),
        Some(Kind::Commit) => {
            let commit = commits::find(snapshot, entry.id.as_bytes(), false)?;
            Ok(with(commit, |commit| entry.tag(Some(commit))))
        }
        Some(Kind::Tag) => {
            let data = match tag::find(snapshot, &id).map_err(failed)? {
                Resolved::Found(data) => Bytes::from(data),
                Resolved::Missing => return Ok(Resolved::Missing),
                Resolved::Unsupported => return Ok(Resolved::Unsupported),
            };
            let target = match store.peel(&id) {
                Ok(target) => target.unwrap_or(id),
                // Something on the way is missing.
                Err(StoreError::Object { .. }) => return Ok(Resolved::Missing),
                Err(error) => return Err(failed(error)),
            };
            if store.kind(&target).map_err(failed)? != Some(Kind::Commit) {
                return Ok(Resolved::Found(entry.annotated(&data, None)));
            }
            let commit = commits::find(snapshot, target.to_string().as_bytes(), false)?;
            Ok(with(commit, |commit| entry.annotated(&data, Some(commit))))
        }
    }
}

fn with(commit: Resolved<GitCommit>, tag: impl FnOnce(GitCommit) -> Tag) -> Resolved<Tag> {
    match commit {
        Resolved::Found(commit) => Resolved::Found(tag(commit)),
        Resolved::Missing => Resolved::Missing,
        Resolved::Unsupported => Resolved::Unsupported,
    }
}

async fn by_git(reader: &Reader, entries: Vec<Entry>) -> Result<Vec<Option<Tag>>, Status> {
    let revisions = entries.iter().flat_map(|entry| {
        let peeled = format!("{}^{{}}", entry.id);
        [entry.id.clone(), peeled]
    });
    let revisions: Vec<_> = revisions.collect();
    let mut objects = reader.by_git(&revisions).await?.into_iter();
    let mut tags = Vec::with_capacity(entries.len());
    for entry in entries {
        let (object, peeled) = (objects.next().flatten(), objects.next().flatten());
        tags.push(match (object, peeled) {
            (Some(object), Some(peeled)) => {
                let is_commit = &peeled.kind[..] == b"commit";
                let commit = is_commit.then(|| listed::commit(peeled)).transpose()?;
                Some(entry.by_git(&object, commit))
            }
            (None, _) | (_, None) => None,
        });
    }
    Ok(tags)
}

// === impl Entry ===

impl Entry {
    fn by_git(&self, object: &GitObject, commit: Option<GitCommit>) -> Tag {
        match &object.kind[..] {
            b"tag" => self.annotated(&object.data, commit),
            _ => self.tag(commit),
        }
    }

    /// A tag that is no object of its own.
    fn tag(&self, target_commit: Option<GitCommit>) -> Tag {
        let short = self.name.strip_prefix(TAGS.as_bytes()).unwrap_or(&self.name);
        let name = self.name.slice_ref(short);
        Tag { name, id: self.id.clone(), target_commit, ..Tag::default() }
    }

    fn annotated(&self, data: &Bytes, target_commit: Option<GitCommit>) -> Tag {
        let details = Details::parse(data);
        let end = details.message.iter().rposition(|byte| *byte != b'\n').map_or(0, |at| at + 1);
        let message = &details.message[..end];
        Tag {
            message: data.slice_ref(&message[..end.min(BODY_BYTES_MAX)]),
            // Of what there is, also where less is shown.
            message_size: i64::try_from(end).unwrap_or(i64::MAX),
            tagger: details.tagger.map(|person| author(data, &person)),
            signature_type: signature_type(details.signature).into(),
            ..self.tag(target_commit)
        }
    }
}
