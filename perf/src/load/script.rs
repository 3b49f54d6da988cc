//! Every request as bytes, made before the first one is sent.
//!
//! Always true: a kind of the mix has at least one message.
//!
//! Never here: connections.

use bytes::Bytes;
use gitring_proto::gitaly::{
    FindCommitRequest, FindDefaultBranchNameRequest, InfoRefsRequest,
    PostUploadPackWithSidechannelRequest, RefExistsRequest, Repository, RepositoryExistsRequest,
    SshUploadPackWithSidechannelRequest, WriteRefRequest,
};
use gitring_tests::pktline;
use gitring_tests::random::Random;
use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;

use super::kind::Kind;
use super::mix::Mix;
use super::targets::Targets;

/// How clients of today ask for the newest protocol.
const VERSION: &str = "version=2";

/// Requests of one kind.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) path: PathAndQuery,
    messages: Messages,
    pub(super) manner: Manner,
}

/// What is sent.
#[derive(Debug)]
enum Messages {
    /// One of these.
    Any(Vec<Bytes>),
    /// A new ref to one of these commits.
    Writes { repository: Repository, commits: Vec<Bytes> },
}

/// How an answer comes.
#[derive(Debug)]
pub(super) enum Manner {
    /// One message.
    Unary,
    /// One message that says no more than that it is done.
    Done,
    /// Many messages.
    Stream,
    /// On a sidechannel, to a request that is sent there.
    Sidechannel {
        /// The request.
        body: Bytes,
        /// Whether the server speaks first.
        is_greeted: bool,
    },
}

/// Requests by their kind.
#[derive(Debug)]
pub(super) struct Script(Vec<(Kind, Ask)>);

/// The repository has nothing that a kind could be about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the repository has {missing}: {kind} cannot be asked for")]
pub struct ScriptError {
    kind: Kind,
    missing: &'static str,
}

// === impl Script ===

impl Script {
    pub(super) fn new(
        repository: &Repository,
        targets: &Targets,
        kinds: impl Iterator<Item = Kind>,
    ) -> Result<Self, ScriptError> {
        let asks = kinds.map(|kind| Ok((kind, Ask::new(kind, repository, targets)?)));
        Ok(Self(asks.collect::<Result<_, ScriptError>>()?))
    }

    /// The next kind of the mix and what is asked.
    pub(super) fn choose(&self, mix: &Mix, random: &mut Random) -> (Kind, &Ask) {
        let kind = mix.choose(random);
        (kind, self.of(kind))
    }

    /// What is asked for a kind that the script was made with.
    pub(super) fn of(&self, kind: Kind) -> &Ask {
        let found = self.0.iter().find(|(known, _)| *known == kind);
        &found.expect("the script was made with this kind").1
    }
}

// === impl Ask ===

impl Ask {
    /// One of the messages.
    pub(super) fn message(&self, random: &mut Random) -> Bytes {
        match &self.messages {
            Messages::Any(messages) => messages[random.below(messages.len())].clone(),
            Messages::Writes { repository, commits } => {
                let name = format!("refs/keep-around/{:016x}", random.next_u64());
                let message = WriteRefRequest {
                    repository: Some(repository.clone()),
                    r#ref: name.into(),
                    revision: commits[random.below(commits.len())].clone(),
                    ..Default::default()
                };
                message.encode_to_vec().into()
            }
        }
    }

    fn new(kind: Kind, repository: &Repository, targets: &Targets) -> Result<Self, ScriptError> {
        let messages = messages(kind, repository, targets);
        let missing = |missing| ScriptError { kind, missing };
        let is_empty = match &messages {
            Messages::Any(all) | Messages::Writes { commits: all, .. } => all.is_empty(),
        };
        if is_empty {
            return Err(missing("no refs or no commits"));
        }
        let sidechannel = |lines: Vec<String>, is_greeted| Manner::Sidechannel {
            body: request(&lines),
            is_greeted,
        };
        let format = object_format(targets);
        let manner = match kind {
            Kind::RepositoryExists
            | Kind::RefExists
            | Kind::FindCommit
            | Kind::FindDefaultBranchName => Manner::Unary,
            Kind::InfoRefs => Manner::Stream,
            Kind::WriteRef => Manner::Done,
            Kind::LsRefs => sidechannel(list(format), false),
            // The flush packet behind it says that no further command comes.
            Kind::SshLsRefs => sidechannel(with_flush(list(format)), true),
            Kind::Clone | Kind::SshClone if targets.wants.is_empty() => {
                return Err(missing("no branches or tags"));
            }
            Kind::Clone => sidechannel(fetch(format, &targets.wants, None), false),
            Kind::SshClone => sidechannel(with_flush(fetch(format, &targets.wants, None)), true),
            Kind::Fetch => {
                let step = targets.step.as_ref().ok_or_else(|| missing("no commit at HEAD"))?;
                let wants = std::slice::from_ref(&step.want);
                sidechannel(fetch(format, wants, step.have.as_deref()), false)
            }
        };
        Ok(Self { path: PathAndQuery::from_static(kind.method()), messages, manner })
    }
}

fn messages(kind: Kind, repository: &Repository, targets: &Targets) -> Messages {
    let named = repository;
    let repository = Some(named.clone());
    let git_protocol = VERSION.to_owned();
    let message = match kind {
        Kind::RefExists => {
            let names = targets.refs.iter().map(|name| Bytes::from(name.clone()));
            let ask = |name| RefExistsRequest { repository: repository.clone(), r#ref: name };
            return Messages::Any(names.map(|name| ask(name).encode_to_vec().into()).collect());
        }
        Kind::FindCommit => {
            let ids = targets.commits.iter().map(|id| Bytes::from(id.clone()));
            let ask = |revision| FindCommitRequest {
                repository: repository.clone(),
                revision,
                ..Default::default()
            };
            return Messages::Any(ids.map(|id| ask(id).encode_to_vec().into()).collect());
        }
        Kind::WriteRef => {
            let commits = targets.commits.iter().map(|id| Bytes::from(id.clone())).collect();
            return Messages::Writes { repository: named.clone(), commits };
        }
        Kind::RepositoryExists => RepositoryExistsRequest { repository }.encode_to_vec(),
        Kind::FindDefaultBranchName => {
            FindDefaultBranchNameRequest { repository, ..Default::default() }.encode_to_vec()
        }
        Kind::LsRefs | Kind::Clone | Kind::Fetch => {
            let git_config_options = Vec::new();
            PostUploadPackWithSidechannelRequest { repository, git_config_options, git_protocol }
                .encode_to_vec()
        }
        Kind::SshLsRefs | Kind::SshClone => {
            let git_config_options = Vec::new();
            SshUploadPackWithSidechannelRequest { repository, git_config_options, git_protocol }
                .encode_to_vec()
        }
        Kind::InfoRefs => {
            let git_config_options = Vec::new();
            InfoRefsRequest { repository, git_config_options, git_protocol }.encode_to_vec()
        }
    };
    Messages::Any(vec![message.into()])
}

/// The request of [`Kind::LsRefs`], as it goes over the sidechannel.
pub fn list_request(object_format: &str) -> Bytes {
    request(&list(object_format))
}

fn request(lines: &[String]) -> Bytes {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    pktline::request(&lines).into()
}

/// Ids tell the format of objects by their length.
fn object_format(targets: &Targets) -> &'static str {
    let any = targets.wants.first().or(targets.commits.first());
    if any.is_some_and(|id| id.len() == 64) { "sha256" } else { "sha1" }
}

/// A listing as a clone asks for it (gitprotocol-v2, "ls-refs").
fn list(format: &str) -> Vec<String> {
    let lines = ["command=ls-refs", &format!("object-format={format}"), "delim"];
    let options = ["peel", "symrefs", "ref-prefix HEAD", "ref-prefix refs/heads/"];
    let lines = lines.iter().chain(&options).chain(&["ref-prefix refs/tags/", "flush"]);
    lines.map(ToString::to_string).collect()
}

/// gitprotocol-v2, "fetch".
fn fetch(format: &str, wants: &[String], have: Option<&str>) -> Vec<String> {
    let head = ["command=fetch", &format!("object-format={format}"), "delim"];
    let options = ["thin-pack", "no-progress", "ofs-delta"];
    let mut lines: Vec<String> = head.iter().chain(&options).map(ToString::to_string).collect();
    lines.extend(wants.iter().map(|id| format!("want {id}")));
    lines.extend(have.map(|id| format!("have {id}")));
    lines.extend(["done", "flush"].map(str::to_owned));
    lines
}

fn with_flush(mut lines: Vec<String>) -> Vec<String> {
    lines.push("flush".to_owned());
    lines
}
