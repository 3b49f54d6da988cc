//! What is to be compared, and how.
//!
//! Always true: git is given ids alone.

use crate::rpc::gitaly::ask::cat_file::CatFile;
use crate::rpc::gitaly::ask::site::Site;
use crate::rpc::gitaly::commit::lists::prefixed;
use crate::rpc::gitaly::commit::look::{Seen, look, unreadable};
use crate::rpc::gitaly::refs::quoted;
use gitring_git::repository::Snapshot;
use gitring_git::revision::{Resolved, Revision, Target};
use gitring_proto::gitaly::FindChangedPathsRequest;
use gitring_proto::gitaly::find_changed_paths_request::request::{
    CommitRequest, TreeRequest, Type,
};
use gitring_proto::gitaly::find_changed_paths_request::{
    DiffStatus, MergeCommitDiffMode, Request as One,
};
use tonic::Status;

/// Revisions that are asked for at once.
const BATCH: usize = 100;

/// A request whose form is right.
#[derive(Debug)]
pub(super) struct Comparison {
    lines: Vec<Type>,
    mode: i32,
    finds_renames: bool,
    filters: Vec<i32>,
}

/// A revision, what it has to name, and what it is in the request.
#[derive(Debug)]
struct Name<'a> {
    revision: &'a str,
    target: Target,
    role: &'static str,
}

/// Finds ids, in process or by a child that is asked for all of them.
struct Resolver<'s> {
    site: &'s Site,
    /// Once the repository was found to be one that git has to read.
    cat_file: Option<CatFile>,
}

// === impl Comparison ===

impl Comparison {
    pub(super) fn of(message: FindChangedPathsRequest) -> Result<Self, Status> {
        let mode = message.merge_commit_diff_mode;
        #[expect(deprecated, reason = "old clients name commits so")]
        let commits = message.commits;
        if !commits.is_empty() && !message.requests.is_empty() {
            let text = "cannot specify both commits and requests";
            return Err(Status::invalid_argument(text));
        }
        let commit = |commit_revision| {
            let parent_commit_revisions = Vec::new();
            Type::CommitRequest(CommitRequest { commit_revision, parent_commit_revisions })
        };
        let mut lines: Vec<_> = commits.into_iter().map(commit).collect();
        for One { r#type } in message.requests {
            let unknown = || Status::internal("unknown FindChangedPathsRequest type");
            lines.push(r#type.ok_or_else(unknown)?);
        }
        let (finds_renames, filters) = (message.find_renames, message.diff_filters);
        Ok(Self { lines, mode, finds_renames, filters })
    }

    /// Whether the answer says which commit a path belongs to.
    pub(super) fn tells_commits(&self) -> bool {
        self.lines.iter().all(|line| matches!(line, Type::CommitRequest(_)))
    }

    /// Arguments of diff-tree (git-diff-tree(1)).
    pub(super) fn options(&self) -> Result<Vec<String>, Status> {
        let mut options: Vec<String> =
            ["-z", "--stdin", "-r", "--root"].iter().map(|option| (*option).to_owned()).collect();
        options.push(format!("--diff-filter={}", self.filter()?));
        if !self.tells_commits() {
            options.push("--no-commit-id".to_owned());
        }
        let renames = if self.finds_renames { "--find-renames=30%" } else { "--no-renames" };
        options.push(renames.to_owned());
        match MergeCommitDiffMode::try_from(self.mode) {
            // The differences to each parent.
            Ok(MergeCommitDiffMode::IncludeMerges | MergeCommitDiffMode::Unspecified) => {
                options.push("-m".to_owned());
            }
            // Only what differs from all parents.
            Ok(MergeCommitDiffMode::AllParents) => options.push("-c".to_owned()),
            Err(_) => {}
        }
        Ok(options)
    }

    fn filter(&self) -> Result<String, Status> {
        if self.filters.is_empty() {
            return Ok("AMDTCR".to_owned());
        }
        let mut filter = String::new();
        for status in &self.filters {
            let letter = match DiffStatus::try_from(*status) {
                Ok(DiffStatus::Added) => 'A',
                Ok(DiffStatus::Modified) => 'M',
                Ok(DiffStatus::Deleted) => 'D',
                Ok(DiffStatus::TypeChange) => 'T',
                Ok(DiffStatus::Copied) => 'C',
                Ok(DiffStatus::Renamed) => 'R',
                Ok(DiffStatus::Unspecified) | Err(_) => {
                    return Err(Status::invalid_argument("invalid diff filter requested"));
                }
            };
            if !filter.contains(letter) {
                filter.push(letter);
            }
        }
        Ok(filter)
    }

    /// The input of diff-tree: a line for each comparison.
    pub(super) async fn resolve(&self, site: &Site) -> Result<Vec<u8>, Status> {
        let mut input = Vec::new();
        let mut resolver = Resolver { site, cat_file: None };
        for lines in self.lines.chunks(BATCH) {
            let names: Vec<Vec<Name<'_>>> = lines.iter().map(names).collect();
            let mut found = resolver.find(names.iter().flatten()).await?.into_iter();
            for line in &names {
                for (at, name) in line.iter().enumerate() {
                    let separator: &[u8] = if at == 0 { b"" } else { b" " };
                    input.extend_from_slice(separator);
                    let id = name.judge(found.next().flatten())?;
                    input.extend_from_slice(id.as_bytes());
                }
                input.push(b'\n');
            }
        }
        Ok(input)
    }
}

// === impl Resolver ===

impl Resolver<'_> {
    /// The ids of what these names name, `None` where one names nothing of its kind.
    async fn find<'n>(
        &mut self,
        names: impl Iterator<Item = &'n Name<'n>>,
    ) -> Result<Vec<Option<String>>, Status> {
        let names: Vec<_> = names.map(|name| (name.revision.to_owned(), name.target)).collect();
        if self.cat_file.is_none() {
            let asked = names.clone();
            let Site { resources, target, .. } = self.site;
            let find = look(resources, target, move |snapshot| find_each(snapshot, &asked));
            if let Seen::Found(found) = find.await? {
                return Ok(found);
            }
        }
        let cat_file = match self.cat_file.take() {
            Some(cat_file) => cat_file,
            None => CatFile::begin(self.site).await?,
        };
        let cat_file = self.cat_file.insert(cat_file);
        let names = names.iter().map(|(revision, target)| {
            let kind = if *target == Target::Tree { "tree" } else { "commit" };
            format!("{revision}^{{{kind}}}")
        });
        let names: Vec<_> = names.collect();
        names.iter().for_each(|name| cat_file.ask_info(name.as_bytes()));
        cat_file.flush();
        let mut found = Vec::with_capacity(names.len());
        for name in &names {
            found.push(cat_file.header(name.as_bytes()).await?.map(|header| header.id));
        }
        Ok(found)
    }
}

fn find_each(
    snapshot: &Snapshot,
    names: &[(String, Target)],
) -> Result<Resolved<Vec<Option<String>>>, Status> {
    let mut found = Vec::with_capacity(names.len());
    for (revision, target) in names {
        let revision = Revision::parse(revision.as_bytes().into());
        let resolved = revision.resolve_to(snapshot, *target);
        match resolved.map_err(|error| unreadable(&error))? {
            Resolved::Found(id) => found.push(Some(id.to_string())),
            Resolved::Missing => found.push(None),
            Resolved::Unsupported => return Ok(Resolved::Unsupported),
        }
    }
    Ok(Resolved::Found(found))
}

fn names(line: &Type) -> Vec<Name<'_>> {
    match line {
        Type::CommitRequest(CommitRequest { commit_revision, parent_commit_revisions }) => {
            let name = |role, revision| Name { revision, target: Target::Commit, role };
            let parents = parent_commit_revisions.iter();
            let parents = parents.map(|parent| name("resolving commit parent", &**parent));
            std::iter::once(name("resolving commit", commit_revision)).chain(parents).collect()
        }
        Type::TreeRequest(TreeRequest { left_tree_revision, right_tree_revision }) => {
            let name = |role, revision| Name { revision, target: Target::Tree, role };
            let left = name("resolving left tree", left_tree_revision);
            vec![left, name("resolving right tree", right_tree_revision)]
        }
    }
}

// === impl Name ===

impl Name<'_> {
    /// The id that was found, or why there is none.
    fn judge(&self, found: Option<String>) -> Result<String, Status> {
        let failed = |status: Status| prefixed(self.role, &status);
        if self.revision.is_empty() {
            return Err(failed(Status::invalid_argument("revision cannot be empty")));
        }
        let missing = || {
            let revision = quoted(self.revision.as_bytes());
            failed(Status::not_found(format!("revision can not be found: {revision}")))
        };
        found.ok_or_else(missing)
    }
}
