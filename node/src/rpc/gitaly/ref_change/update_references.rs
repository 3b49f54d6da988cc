//! `UpdateReferences`: many refs, all or none.
//!
//! Always true: nothing is changed before the client has said all; what it says is bounded.
//! Never here: how refs are changed (`ref_change`).

use super::by_git::{Asking, GitUpdate};
use super::names::{check_id, check_reference};
use super::refusal::Refusal;
use super::{ChangeError, Changed, RefChange, Steps, change};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::target::target;
use crate::rpc::gitaly::{Resources, errors};
use crate::storage::{ObjectFormat, Opened};
use gitring_git::ObjectId;
use gitring_git::ref_transaction::{Change, Expected, UPDATES_MAX, Update};
use gitring_git::repository::Unsupported;
use gitring_proto::gitaly::update_references_error::Error as Detail;
use gitring_proto::gitaly::update_references_request::Update as Named;
use gitring_proto::gitaly::{
    InvalidRefFormatError, ReferenceStateMismatchError, ReferencesLockedError,
    UpdateReferencesError, UpdateReferencesRequest, UpdateReferencesResponse,
};
use tonic::{Code, Request, Response, Status, Streaming};

/// Bytes of all updates of a call together. A hundred refs with long names take 20 KiB.
const UPDATES_BYTES_MAX: usize = 32 << 20;

/// In Gitaly's words.
const STEPS: Steps = Steps {
    preparing: "committing update",
    preparatory_vote: "committing update: preparatory vote",
    committing: "committing update",
    committing_vote: "committing update: committing vote",
};

/// Updates as they come in.
struct Gathered {
    /// Of an id in hexadecimal.
    digits: usize,
    updates: Vec<GitUpdate>,
    bytes: usize,
}

/// Answers `UpdateReferences`.
pub(in crate::rpc::gitaly) async fn update_references(
    resources: &Resources,
    request: Request<Streaming<UpdateReferencesRequest>>,
) -> Result<Response<UpdateReferencesResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let mut messages = request.into_inner();
    let first = messages.message().await?;
    let mut first = first.ok_or_else(|| Status::internal("receiving initial request: EOF"))?;
    let target = target(&context, first.repository.take())?;
    let ballot = context.ballot(resources)?;
    let format = |opened: &Opened| match opened.snapshot.unsupported {
        Some(Unsupported::Sha256) => ObjectFormat::Sha256,
        _ => ObjectFormat::Sha1,
    };
    let format = resources.repositories.write(&target.storage, &target.path, format).await;
    let digits = match format.map_err(|error| errors::open(&error))? {
        ObjectFormat::Sha1 => 40,
        ObjectFormat::Sha256 => 64,
    };
    let mut gathered = Gathered { digits, updates: Vec::new(), bytes: 0 };
    gathered.add(first)?;
    while let Some(message) = messages.message().await? {
        gathered.add(message)?;
    }
    let asked = gathered.updates.clone();
    let plan = move |_: &_| {
        let updates = asked.iter().map(update).collect::<Result<_, _>>()?;
        Ok(RefChange { updates, vote: None })
    };
    match change(resources, &target, &ballot, plan).await.map_err(failure)? {
        Changed::Done => {}
        Changed::AskGit(git_dir) => {
            let asking =
                Asking { resources, context: &context, git_dir: &git_dir, ballot: &ballot };
            asking.change(&gathered.updates, true).await.map_err(failure)?;
        }
    }
    Ok(Response::new(UpdateReferencesResponse {}))
}

fn update(named: &GitUpdate) -> Result<Update, Status> {
    let id = |hex: &[u8]| {
        ObjectId::from_hex(hex).map_err(|_| Status::internal("the repository's format has changed"))
    };
    let old = match &named.old[..] {
        [] => Expected::Any,
        old => Expected::Is(id(old)?),
    };
    Ok(Update::new(named.name.to_vec(), old, Change::Set(id(&named.new)?)))
}

fn failure(error: ChangeError) -> Status {
    let ChangeError::Refused(refusal) = error else { return error.into_status(STEPS) };
    let text = refusal.to_string();
    match refusal {
        Refusal::Locked(name) => {
            let refs = vec![Vec::from(name).into()];
            let detail = Detail::ReferencesLocked(ReferencesLockedError { refs });
            detailed(Code::Aborted, text, detail)
        }
        Refusal::Stale { name, expected, found } => {
            let detail = Detail::ReferenceStateMismatch(ReferenceStateMismatchError {
                reference_name: Vec::from(name).into(),
                expected_object_id: expected.into(),
                actual_object_id: found.into(),
            });
            detailed(Code::Aborted, text, detail)
        }
        Refusal::NoObject => Status::not_found(text),
        Refusal::PackedRefsLocked
        | Refusal::BadName
        | Refusal::Exists
        | Refusal::Conflict
        | Refusal::ConflictWithin
        | Refusal::NotACommit
        | Refusal::Duplicate
        | Refusal::Other => ChangeError::Refused(refusal).into_status(STEPS),
    }
}

fn detailed(code: Code, text: String, detail: Detail) -> Status {
    let detail = UpdateReferencesError { error: Some(detail) };
    errors::detailed(code, text, "UpdateReferencesError", &detail)
}

// === impl Gathered ===

impl Gathered {
    fn add(&mut self, message: UpdateReferencesRequest) -> Result<(), Status> {
        if message.repository.is_some() {
            return Err(Status::invalid_argument("repository set in subsequent request"));
        }
        if message.updates.is_empty() {
            return Err(Status::invalid_argument("no updates specified"));
        }
        message.updates.into_iter().try_for_each(|named| self.add_one(named))
    }

    fn add_one(&mut self, named: Named) -> Result<(), Status> {
        let Named { reference, old_object_id, new_object_id } = named;
        if let Err(reason) = check_reference(&reference) {
            let detail = InvalidRefFormatError { refs: vec![reference] };
            let text = format!("validating reference: {reason}");
            let detail = Detail::InvalidFormat(detail);
            return Err(detailed(Code::InvalidArgument, text, detail));
        }
        let check = |which: &str, id: &[u8]| {
            check_id(id, self.digits).map_err(|reason| {
                Status::invalid_argument(format!("validating {which} object ID: {reason}"))
            })
        };
        if !old_object_id.is_empty() {
            check("old", &old_object_id)?;
        }
        check("new", &new_object_id)?;
        self.bytes += reference.len() + 2 * self.digits;
        if self.updates.len() == UPDATES_MAX || self.bytes > UPDATES_BYTES_MAX {
            let text = format!("more than {UPDATES_MAX} updates, or {UPDATES_BYTES_MAX} bytes");
            return Err(errors::limited(text));
        }
        let update = GitUpdate { name: reference, new: new_object_id, old: old_object_id };
        self.updates.push(update);
        Ok(())
    }
}
