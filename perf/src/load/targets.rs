//! Which refs and commits are asked for.
//!
//! Always true: lists are bounded, whatever the repository has, and the seed decides which part of
//! a longer list is taken.
//!
//! Never here: requests.

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::list_refs_response::Reference;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::{FindCommitRequest, GitCommit, ListRefsRequest, Repository};
use gitring_tests::random::Random;
use tonic::Status;

use super::kind::Kind;
use super::mix::Mix;

/// Distinct refs, and distinct commits, that requests are about.
pub const TARGETS_MAX: usize = 1_000;

/// Refs that are read of a repository that has more; a clone wants no others.
const REFS_READ_MAX: usize = 100_000;

/// How far behind the default branch the client of a fetch is.
const STEPS_BACK: usize = 20;

/// What requests are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Names of refs.
    pub refs: Vec<String>,
    /// Ids of commits.
    pub commits: Vec<String>,
    /// What a clone wants: the ids of branches and tags.
    pub wants: Vec<String>,
    /// What a fetch wants, and what it has.
    pub step: Option<Step>,
}

/// A fetch of a few commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The new tip.
    pub want: String,
    /// The tip that the client has; none if the history is a single commit.
    pub have: Option<String>,
}

/// A line of a file that names no ref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: '{text}' is no object id and name of a ref")]
pub struct LineError {
    line: usize,
    text: String,
}

/// A ref as it was listed.
#[derive(Debug)]
struct Listed {
    name: String,
    id: String,
    peeled: Option<String>,
}

// === impl Targets ===

impl Targets {
    /// Reads lines of `<object id> <name>`, as `git show-ref -d` and `git ls-remote` print them.
    /// They name no parents: the client of a fetch has one of the other commits.
    pub fn parse(text: &str, random: &mut Random) -> Result<Self, LineError> {
        let (mut refs, mut head) = (Vec::<Listed>::new(), None);
        for (at, line) in text.lines().enumerate().take(REFS_READ_MAX) {
            let fault = || LineError { line: at + 1, text: line.to_owned() };
            let (id, name) = line.split_once([' ', '\t']).ok_or_else(fault)?;
            let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_id || name.is_empty() {
                return Err(fault());
            }
            if name == "HEAD" {
                head = Some(id.to_owned());
            } else if let Some(name) = name.strip_suffix("^{}") {
                let tag = refs.last_mut().filter(|tag| tag.name == name).ok_or_else(fault)?;
                tag.peeled = Some(id.to_owned());
            } else {
                refs.push(Listed { name: name.to_owned(), id: id.to_owned(), peeled: None });
            }
        }
        let mut targets = Self::of(refs, random);
        let have = targets.commits.iter().find(|id| Some(*id) != head.as_ref()).cloned();
        targets.step = head.map(|want| Step { want, have });
        Ok(targets)
    }

    /// Asks the server: `ListRefs`, and `FindCommit` for what the mix needs: which objects are
    /// commits, and the way back for a fetch.
    pub async fn list(
        client: &Client,
        repository: &Repository,
        random: &mut Random,
        mix: &Mix,
    ) -> Result<Self, Status> {
        let (mut refs, mut head) = (Vec::new(), None);
        let request = ListRefsRequest {
            repository: Some(repository.clone()),
            patterns: vec![Bytes::from_static(b"refs/")],
            head: true,
            peel_tags: true,
            ..Default::default()
        };
        let mut answers =
            RefServiceClient::new(client.clone()).list_refs(request).await?.into_inner();
        'reading: while let Some(answer) = answers.message().await? {
            for found in answer.references {
                if found.name == "HEAD" {
                    head = Some(found.target);
                } else if refs.len() < REFS_READ_MAX {
                    refs.push(Listed::from(found));
                } else {
                    break 'reading;
                }
            }
        }
        let mut targets = Self::of(refs, random);
        let asks_for = |wanted| mix.kinds().any(|kind| kind == wanted);
        if asks_for(Kind::FindCommit) {
            targets.commits = commits_of(client, repository, targets.commits).await?;
        }
        if let Some(want) = head.filter(|_| asks_for(Kind::Fetch)) {
            let have = ancestor(client, repository, &want).await?;
            targets.step = Some(Step { want, have });
        }
        Ok(targets)
    }

    fn of(refs: Vec<Listed>, random: &mut Random) -> Self {
        let is_tag = |listed: &&Listed| listed.name.starts_with("refs/tags/");
        let is_wanted = |listed: &&Listed| is_tag(listed) || listed.name.starts_with("refs/heads/");
        let wants = refs.iter().filter(is_wanted).map(|listed| listed.id.clone());
        let wants = distinct(wants.collect());
        // What an unannotated tag names nobody tells.
        let commits = refs.iter().filter_map(|listed| match &listed.peeled {
            Some(peeled) => Some(peeled.clone()),
            None if is_tag(&listed) => None,
            None => Some(listed.id.clone()),
        });
        let commits = sample(distinct(commits.collect()), random);
        let refs = refs.into_iter().map(|listed| listed.name).collect();
        Self { refs: sample(distinct(refs), random), commits, wants, step: None }
    }
}

/// Steps back along first parents.
async fn ancestor(
    client: &Client,
    repository: &Repository,
    tip: &str,
) -> Result<Option<String>, Status> {
    let mut at = tip.to_owned();
    for _ in 0..STEPS_BACK {
        let commit = find(client, repository, &at).await?;
        match commit.and_then(|commit| commit.parent_ids.into_iter().next()) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    Ok((at != tip).then_some(at))
}

/// Those that are commits: a tag may name a tree or a blob.
async fn commits_of(
    client: &Client,
    repository: &Repository,
    ids: Vec<String>,
) -> Result<Vec<String>, Status> {
    let mut commits = Vec::with_capacity(ids.len());
    for id in ids {
        if find(client, repository, &id).await?.is_some() {
            commits.push(id);
        }
    }
    Ok(commits)
}

async fn find(
    client: &Client,
    repository: &Repository,
    id: &str,
) -> Result<Option<GitCommit>, Status> {
    let (repository, revision) = (Some(repository.clone()), Bytes::from(id.to_owned()));
    let request = FindCommitRequest { repository, revision, ..Default::default() };
    let answer = CommitServiceClient::new(client.clone()).find_commit(request).await?;
    Ok(answer.into_inner().commit)
}

fn distinct(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

fn sample(mut all: Vec<String>, random: &mut Random) -> Vec<String> {
    for at in 0..all.len().min(TARGETS_MAX) {
        let other = at + random.below(all.len() - at);
        all.swap(at, other);
    }
    all.truncate(TARGETS_MAX);
    all
}

// === impl Listed ===

impl From<Reference> for Listed {
    fn from(found: Reference) -> Self {
        let name = String::from_utf8_lossy(&found.name).into_owned();
        let peeled = (!found.peeled_target.is_empty()).then_some(found.peeled_target);
        Self { name, id: found.target, peeled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(usize, usize, usize), &str>) {
        let found = Targets::parse(text, &mut Random::new(1));
        let lengths = found.map(|targets| {
            assert_eq!(targets.step.is_some(), text.contains("HEAD"), "{text}");
            (targets.refs.len(), targets.commits.len(), targets.wants.len())
        });
        let lengths = lengths.map_err(|error| error.to_string());
        assert_eq!(lengths, expected.map_err(str::to_owned), "{text}");
    }

    /// A line about object number `id`.
    fn line(id: usize, name: &str) -> String {
        format!("{id:040x} {name}\n")
    }

    #[test]
    fn lists_of_git() {
        check("", Ok((0, 0, 0)));
        let branches = line(1, "HEAD") + &line(1, "refs/heads/a") + &line(1, "refs/heads/b");
        check(&branches, Ok((2, 1, 1)));
        let tags = line(2, "refs/tags/a") + &line(3, "refs/tags/a^{}") + &line(4, "refs/tags/blob");
        check(&tags, Ok((2, 1, 2)));
        check(&line(1, "refs/merge-requests/1/head").replace(' ', "\t"), Ok((1, 1, 0)));
        let many: String = (0..3_000).map(|n| line(n, &format!("refs/heads/{n}"))).collect();
        check(&many, Ok((1_000, 1_000, 3_000)));
        check("main\n", Err("line 1: 'main' is no object id and name of a ref"));
        check(
            "abc refs/heads/a",
            Err("line 1: 'abc refs/heads/a' is no object id and name of a ref"),
        );
        let alone = line(3, "refs/tags/a^{}");
        check(
            &alone,
            Err(&format!("line 1: '{}' is no object id and name of a ref", alone.trim())),
        );
    }
}
