//! Commits by name, many at once: in process, or by a git child that is asked for all of them.
//!
//! Always true: at most one child a reader, begun when it is needed first.

use super::commits;
use super::look::{Seen, look};
use crate::rpc::gitaly::ask::cat_file::CatFile;
use crate::rpc::gitaly::ask::site::Site;
use bytes::Bytes;
use gitring_git::repository::Snapshot;
use gitring_git::revision::Resolved;
use gitring_proto::gitaly::GitCommit;
use tonic::Status;

/// Commits that are asked for at once: 3 ms of a worker's time.
pub(super) const BATCH: usize = 100;

/// Reads commits.
#[derive(Debug)]
pub(super) struct CommitReader<'s> {
    site: &'s Site,
    /// Once the repository was found to be one that git has to read.
    cat_file: Option<CatFile>,
}

// === impl CommitReader ===

impl<'s> CommitReader<'s> {
    pub(super) fn new(site: &'s Site) -> Self {
        Self { site, cat_file: None }
    }

    /// The commits that these revisions name, at most [`BATCH`]; `None` where one names none.
    pub(super) async fn read(
        &mut self,
        names: Vec<Bytes>,
    ) -> Result<Vec<Option<GitCommit>>, Status> {
        if self.cat_file.is_none() {
            let asked = names.clone();
            let Site { resources, target, .. } = self.site;
            let find = look(resources, target, move |snapshot| find_each(snapshot, &asked));
            if let Seen::Found(found) = find.await? {
                return Ok(found);
            }
        }
        self.ask(&names).await
    }

    async fn ask(&mut self, names: &[Bytes]) -> Result<Vec<Option<GitCommit>>, Status> {
        let cat_file = match self.cat_file.take() {
            Some(cat_file) => cat_file,
            None => CatFile::begin_commits(self.site).await?,
        };
        let cat_file = self.cat_file.insert(cat_file);
        let names: Vec<_> = names.iter().map(|name| [name, &b"^{commit}"[..]].concat()).collect();
        names.iter().for_each(|name| cat_file.ask_commit(name));
        cat_file.flush();
        let mut found = Vec::with_capacity(names.len());
        for name in &names {
            let commit = cat_file.commit(name).await?;
            let commit = commit.map(|(id, content)| commits::read(id, &content));
            found.push(commit.transpose()?);
        }
        Ok(found)
    }
}

fn find_each(
    snapshot: &Snapshot,
    names: &[Bytes],
) -> Result<Resolved<Vec<Option<GitCommit>>>, Status> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        match commits::find(snapshot, name, false)? {
            Resolved::Found(commit) => found.push(Some(commit)),
            Resolved::Missing => found.push(None),
            Resolved::Unsupported => return Ok(Resolved::Unsupported),
        }
    }
    Ok(Resolved::Found(found))
}
