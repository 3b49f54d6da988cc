//! `DeleteRefs`: refs by name, or all but those below some prefixes.
//!
//! Always true: symbolic refs are deleted themselves, not what they lead to.
//! Never here: how refs are changed (`ref_change`).

use super::by_git::{Asking, GitUpdate};
use super::refusal::Refusal;
use super::{ChangeError, Changed, RefChange, Steps, change};
use crate::rpc::gitaly::ask::child::Asked;
use crate::rpc::gitaly::ask::revisions::refusal;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::commits::child_answer;
use crate::rpc::gitaly::commit::look::{Seen, look};
use crate::rpc::gitaly::target::target;
use crate::rpc::gitaly::{Resources, errors, voting};
use crate::rpc::votes::{self, Ballot, Vote};
use bytes::Bytes;
use gitring_git::ref_transaction::{Change, Expected, Update};
use gitring_git::refs::is_valid_name;
use gitring_git::revision::Resolved;
use gitring_proto::gitaly::delete_refs_error::Error as Detail;
use gitring_proto::gitaly::{
    DeleteRefsError, DeleteRefsRequest, DeleteRefsResponse, InvalidRefFormatError,
    ReferencesLockedError,
};
use std::ffi::OsStr;
use std::path::Path;
use tonic::{Code, Request, Response, Status};

/// Of a list of refs that git makes: 600,000 of them.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// In Gitaly's words.
const STEPS: Steps = Steps {
    preparing: "unable to prepare",
    preparatory_vote: "preparatory vote",
    committing: "unable to commit",
    committing_vote: "committing vote",
};

/// Answers `DeleteRefs`.
pub(in crate::rpc::gitaly) async fn delete_refs(
    resources: &Resources,
    request: Request<DeleteRefsRequest>,
) -> Result<Response<DeleteRefsResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let mut message = request.into_inner();
    let target = target(&context, message.repository.take())?;
    let ballot = context.ballot(resources)?;
    let asked = message.clone();
    let find = look(resources, &target, move |snapshot| {
        check(&asked)?;
        if !asked.refs.is_empty() {
            return Ok(Resolved::Found(asked.refs));
        }
        let refs = snapshot.refs.iter().filter(|one| !one.is_broken());
        let names = refs.map(|one| Bytes::copy_from_slice(&one.name));
        Ok(Resolved::Found(
            names.filter(|name| is_to_go(name, &asked.except_with_prefix)).collect(),
        ))
    });
    let (names, mut git_dir) = match find.await? {
        Seen::Found(names) => (names, None),
        Seen::Missing => (Vec::new(), None),
        Seen::AskGit(git_dir) => {
            check(&message)?;
            let names = match message.refs.is_empty() {
                true => ask_names(resources, &context, &git_dir, &message).await?,
                false => message.refs,
            };
            (names, Some(git_dir))
        }
    };
    check_names(&names)?;
    let lines: Vec<u8> = names.iter().flat_map(|name| [name, &b"\n"[..]].concat()).collect();
    let vote = votes::hash(&lines).map_err(|error| Status::internal(error.to_string()))?;
    if names.is_empty() {
        vote_on_nothing(&ballot, vote).await?;
        return Ok(Response::new(DeleteRefsResponse::default()));
    }
    if git_dir.is_none() {
        let updates = names
            .iter()
            .map(|name| Update::of_itself(name.to_vec(), Expected::Any, Change::Delete));
        let updates = updates.collect();
        let plan = move |_: &_| Ok(RefChange { updates, vote: Some(vote) });
        match change(resources, &target, &ballot, plan).await.map_err(failure)? {
            Changed::Done => {}
            Changed::AskGit(found) => git_dir = Some(found),
        }
    }
    if let Some(git_dir) = git_dir {
        let asking = Asking { resources, context: &context, git_dir: &git_dir, ballot: &ballot };
        delete_by_git(asking, names).await?;
    }
    Ok(Response::new(DeleteRefsResponse::default()))
}

fn check(message: &DeleteRefsRequest) -> Result<(), Status> {
    let (names, prefixes) = (&message.refs, &message.except_with_prefix);
    let text = match (names.is_empty(), prefixes.is_empty()) {
        (false, false) => "ExceptWithPrefix and Refs are mutually exclusive",
        (true, true) => "empty ExceptWithPrefix and Refs",
        _ if prefixes.iter().any(Bytes::is_empty) => "empty prefix for exclusion",
        _ if names.iter().any(Bytes::is_empty) => "empty ref",
        _ => return Ok(()),
    };
    Err(Status::invalid_argument(text))
}

fn is_to_go(name: &[u8], except_with_prefix: &[Bytes]) -> bool {
    !except_with_prefix.iter().any(|prefix| name.starts_with(prefix))
}

fn check_names(names: &[Bytes]) -> Result<(), Status> {
    // Without HEAD there is no repository any more; Gitaly deletes it.
    let invalid = names.iter().filter(|name| refusal(name, &[]).is_some() || &name[..] == b"HEAD");
    let invalid: Vec<_> = invalid.cloned().collect();
    if invalid.is_empty() {
        // git takes one component, and refuses the name later.
        let is_formed = |name: &Bytes| is_valid_name(&[b"refs/", &name[..]].concat());
        return match names.iter().all(is_formed) {
            true => Ok(()),
            false => Err(failure(ChangeError::Refused(Refusal::BadName))),
        };
    }
    let detail = Detail::InvalidFormat(InvalidRefFormatError { refs: invalid });
    Err(detailed(Code::InvalidArgument, "invalid references", detail))
}

/// Other nodes may have refs that this one lacks.
async fn vote_on_nothing(ballot: &Ballot, vote: Vote) -> Result<(), Status> {
    let refused = |what| move |error| voting::failure(Code::Internal, what, &error);
    ballot.prepared(vote).await.map_err(refused(STEPS.preparatory_vote))?;
    ballot.committed(vote).await.map_err(refused(STEPS.committing_vote))
}

fn failure(error: ChangeError) -> Status {
    if let ChangeError::Refused(Refusal::Locked(name)) = error {
        let refs = vec![Vec::from(name).into()];
        let detail = Detail::ReferencesLocked(ReferencesLockedError { refs });
        return detailed(Code::Aborted, "cannot lock references", detail);
    }
    error.into_status(STEPS)
}

fn detailed(code: Code, text: &str, detail: Detail) -> Status {
    errors::detailed(code, text, "DeleteRefsError", &DeleteRefsError { error: Some(detail) })
}

async fn ask_names(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    message: &DeleteRefsRequest,
) -> Result<Vec<Bytes>, Status> {
    let asked = Asked {
        subcmd: "for-each-ref",
        args: &[OsStr::new("--format=%(refname)")],
        input: b"",
        directory: git_dir.to_owned(),
        answer_bytes_max: LIST_BYTES_MAX,
    };
    let answered = child_answer(resources, context, asked).await?;
    if answered.stdout.len() as u64 == LIST_BYTES_MAX {
        return Err(errors::limited("the list of refs is too long"));
    }
    if !answered.exit.status.success() {
        return Err(Status::internal("list refs"));
    }
    let all = Bytes::from(answered.stdout);
    let names = all.split(|byte| *byte == b'\n').filter(|name| !name.is_empty());
    let to_go = names.filter(|name| is_to_go(name, &message.except_with_prefix));
    Ok(to_go.map(|name| all.slice_ref(name)).collect())
}

async fn delete_by_git(asking: Asking<'_>, names: Vec<Bytes>) -> Result<(), Status> {
    // git takes zeros of SHA-1's length in a repository of SHA-256 for a malformed id.
    let format = asking.object_id_digits().await?;
    let zeros = Bytes::from(vec![b'0'; format]);
    let delete = |name| GitUpdate { name, new: zeros.clone(), old: Bytes::new() };
    let updates: Vec<_> = names.into_iter().map(delete).collect();
    asking.change(&updates, false).await.map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_message(refs: &[&str], except: &[&str], expected: Option<&str>) {
        let bytes = |names: &[&str]| names.iter().map(|name| name.to_string().into()).collect();
        let (refs, except_with_prefix) = (bytes(refs), bytes(except));
        let message = DeleteRefsRequest { repository: None, refs, except_with_prefix };
        let found = check(&message).err().map(|status| status.message().to_owned());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn what_is_to_be_deleted_must_be_said_in_one_way() {
        check_message(&["refs/heads/a"], &[], None);
        check_message(&[], &["refs/heads/"], None);
        let both = "ExceptWithPrefix and Refs are mutually exclusive";
        check_message(&["refs/heads/a"], &["refs/heads/"], Some(both));
        check_message(&[], &[], Some("empty ExceptWithPrefix and Refs"));
        check_message(&[], &["refs/", ""], Some("empty prefix for exclusion"));
        check_message(&["refs/heads/a", ""], &[], Some("empty ref"));
    }
}
