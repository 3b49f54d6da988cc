//! Reference transactions by a git child: where refs are stored in ways that are not written here, or
//! where more of them change at once.
//!
//! Always true: nobody votes on them, so a call that belongs to a transaction is refused.
//! Never here: refs in files.

use super::ChangeError;
use super::refusal::Refusal;
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::ask::child::{Answered, Asked};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::commits::child_answer;
use crate::rpc::votes::Ballot;
use bytes::Bytes;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tonic::Status;

/// `start: ok`, `prepare: ok`, `commit: ok`; an id.
const ANSWER_BYTES_MAX: u64 = 4 << 10;

/// One update, as `git update-ref --stdin -z` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitUpdate {
    pub(super) name: Bytes,
    /// In hexadecimal; zeros delete.
    pub(super) new: Bytes,
    /// In hexadecimal; empty where it does not matter, zeros where there must be none.
    pub(super) old: Bytes,
}

/// How git is to be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) resources: &'a Resources,
    pub(super) context: &'a Context,
    pub(super) git_dir: &'a Path,
    pub(super) ballot: &'a Ballot,
}

// === impl Asking ===

impl Asking<'_> {
    /// Changes refs, all or none.
    pub(super) async fn change(
        self,
        updates: &[GitUpdate],
        is_followed: bool,
    ) -> Result<(), ChangeError> {
        self.refuse_votes()?;
        let mut input = b"start\0".to_vec();
        for GitUpdate { name, new, old } in updates {
            if !is_followed {
                input.extend_from_slice(b"option no-deref\0");
            }
            let parts = [b"update ", &name[..], b"\0", new, b"\0", old, b"\0"];
            input.extend(parts.concat());
        }
        input.extend_from_slice(b"prepare\0commit\0");
        let answered = self.ask("update-ref", &["-z", "--stdin"].map(OsStr::new), &input).await?;
        if answered.exit.status.success() && answered.stdout.ends_with(b"commit: ok\n") {
            return Ok(());
        }
        let complaint = answered.complaint.as_str();
        tracing::warn!(complaint, "git update-ref refused");
        Err(ChangeError::Refused(Refusal::of_complaint(complaint.as_bytes())))
    }

    /// Lets HEAD point to the ref `target`.
    pub(super) async fn point_head(self, target: &[u8]) -> Result<(), ChangeError> {
        self.refuse_votes()?;
        let args = [OsStr::new("HEAD"), OsStr::from_bytes(target)];
        let answered = self.ask("symbolic-ref", &args, b"").await?;
        if answered.exit.status.success() {
            return Ok(());
        }
        tracing::warn!(complaint = answered.complaint, "git symbolic-ref refused");
        Err(ChangeError::Refused(Refusal::of_complaint(answered.complaint.as_bytes())))
    }

    /// The id of `<revision>^{object}` in hexadecimal, if there is one.
    pub(super) async fn resolve(self, revision: &[u8]) -> Result<Option<Bytes>, Status> {
        let revision = [revision, b"^{object}"].concat();
        let args = [OsStr::new("--verify"), OsStr::new("-q"), OsStr::from_bytes(&revision)];
        let answered = self.run("rev-parse", &args, b"").await?;
        let mut stdout = answered.stdout;
        let end = stdout.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        stdout.truncate(end);
        Ok(answered.exit.status.success().then(|| stdout.into()))
    }

    /// Of an id in hexadecimal, in this repository.
    pub(super) async fn object_id_digits(self) -> Result<usize, Status> {
        let args = [OsStr::new("--show-object-format")];
        let answered = self.run("rev-parse", &args, b"").await?;
        Ok(if answered.stdout.starts_with(b"sha256") { 64 } else { 40 })
    }

    async fn ask(
        self,
        subcmd: &'static str,
        args: &[&OsStr],
        input: &[u8],
    ) -> Result<Answered, ChangeError> {
        self.run(subcmd, args, input).await.map_err(ChangeError::Status)
    }

    async fn run(
        self,
        subcmd: &'static str,
        args: &[&OsStr],
        input: &[u8],
    ) -> Result<Answered, Status> {
        let directory = self.git_dir.to_owned();
        let asked = Asked { subcmd, args, input, directory, answer_bytes_max: ANSWER_BYTES_MAX };
        child_answer(self.resources, self.context, asked).await
    }

    fn refuse_votes(self) -> Result<(), ChangeError> {
        if self.ballot.is_alone() {
            return Ok(());
        }
        let text = "only git can make this change, and nobody can vote on what it does";
        Err(ChangeError::Status(Status::failed_precondition(text)))
    }
}
