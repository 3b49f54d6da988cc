//! `ListRefs` by a git child: its lines become messages as they come.
//!
//! Always true: what waits is one line and one message.
//! Never here: what git is asked for when refs can be read in process.

use super::list_refs::{Wanted, died, finish, gone, head};
use super::pages::{Pages, Put};
use crate::reactor::children::{ChildCommand, CommandName, Need};
use crate::rpc::fallback;
use crate::rpc::gitaly::ask::child::{Answered, Asked, ChildError};
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::commits::child_answer;
use crate::rpc::gitaly::pieces::Sender;
use crate::rpc::gitaly::{Resources, errors};
use crate::rpc::wire::{FetchError, Gone, NoInput, Output};
use bytes::Bytes;
use gitring_git::ref_list::{DateOf, Key};
use gitring_proto::gitaly::list_refs_response::Reference;
use gitring_proto::gitaly::{ListRefsResponse, PaginationParameter};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::rc::Rc;
use tonic::Status;

/// What git is told to do.
const SUBCMD: &str = "for-each-ref";
/// An id.
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// A line: a name of at most 4 KiB and two ids.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A list that git makes.
pub(super) struct Asking {
    pub(super) resources: Rc<Resources>,
    pub(super) context: Rc<Context>,
    pub(super) git_dir: PathBuf,
    pub(super) wanted: Wanted,
    pub(super) page: Option<PaginationParameter>,
}

/// What git prints.
struct Lines<'a> {
    sender: &'a Sender<ListRefsResponse>,
    pages: Pages,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// Why no more of it is wanted, unless the client has left.
    stopped: Option<Stopped>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// The page is full.
    PageFull,
    LineTooLong,
}

// === impl Asking ===

impl Asking {
    /// Sends the list.
    pub(super) async fn run(self, sender: Sender<ListRefsResponse>) -> Result<(), Status> {
        let head = if self.wanted.head { self.head().await? } else { None };
        let pages = Pages::new(head, self.page.clone())?;
        let mut lines = Lines { sender: &sender, pages, rest: Vec::new(), stopped: None };
        let services = &self.resources.services;
        let command = ChildCommand {
            name: CommandName { cmd: "git", subcmd: SUBCMD },
            account: self.context.account(),
            need: Need::question(),
            program: services.git.program.clone(),
            args: self.args(),
            env: services.git.plain_environment(),
            current_dir: self.git_dir.clone(),
        };
        let relayed =
            fallback::relay(services, command, Bytes::new(), &mut NoInput, &mut lines).await;
        match relayed {
            Err(FetchError::Gone(left)) => match lines.stopped {
                Some(Stopped::PageFull) => {}
                Some(Stopped::LineTooLong) => return Err(too_long()),
                None => return Err(gone(left)),
            },
            Err(error) => return Err(failure(error)),
            Ok(relayed) => {
                if !relayed.status.success() {
                    tracing::warn!(complaint = relayed.complaint, "git for-each-ref died");
                    return Err(died(relayed.status.code().unwrap_or(-1)));
                }
            }
        }
        finish(lines.pages, &sender).await
    }

    async fn head(&self) -> Result<Option<Reference>, Status> {
        let asked = Asked {
            subcmd: "rev-parse",
            args: &["--verify", "--quiet", "HEAD"].map(OsStr::new),
            input: b"",
            directory: self.git_dir.clone(),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answered = child_answer(&self.resources, &self.context, asked).await?;
        let Answered { stdout, exit, .. } = answered;
        let id = String::from_utf8_lossy(&stdout);
        Ok(exit.status.success().then(|| head(id.trim_end())))
    }

    fn args(&self) -> Vec<OsString> {
        let wanted = &self.wanted;
        let peeled = if wanted.peel { "%00%(*objectname)" } else { "" };
        let key = match wanted.key {
            Key::Name => "refname",
            Key::Date(DateOf::Creator) => "creatordate",
            Key::Date(DateOf::Author) => "authordate",
            Key::Date(DateOf::Committer) => "committerdate",
        };
        let sign = if wanted.is_descending { "-" } else { "" };
        let mut args: Vec<OsString> = vec![
            SUBCMD.into(),
            format!("--format=%(refname)%00%(objectname){peeled}").into(),
            format!("--sort={sign}{key}").into(),
        ];
        for revision in &wanted.points_at {
            args.push(OsString::from_vec([b"--points-at=", &revision[..]].concat()));
        }
        args.push("--".into());
        args.extend(wanted.patterns.iter().map(|one| OsString::from_vec(one.to_vec())));
        args
    }
}

/// git did not run, or could not be listened to.
fn failure(error: FetchError) -> Status {
    match error {
        FetchError::Spawn(error) => errors::child(SUBCMD, &ChildError::Spawn(error)),
        FetchError::Gone(_)
        | FetchError::Input(_)
        | FetchError::Client(_)
        | FetchError::Config(_)
        | FetchError::Desk(_)
        | FetchError::Workers(_)
        | FetchError::Pipe(_)
        | FetchError::Build(_)
        | FetchError::Stream(_)
        | FetchError::Cache(_)
        | FetchError::Limited(_)
        | FetchError::Child { .. } => errors::internal(SUBCMD, &error),
    }
}

fn too_long() -> Status {
    Status::internal(format!("git {SUBCMD} printed a line of more than {LINE_BYTES_MAX} bytes"))
}

// === impl Lines ===

impl Lines<'_> {
    async fn line(&mut self, line: &[u8]) -> Result<(), Gone> {
        let mut fields = line.split(|byte| *byte == 0);
        let name = Bytes::copy_from_slice(fields.next().unwrap_or_default());
        let mut id = || String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
        let (target, peeled_target) = (id(), id());
        match self.pages.put(Reference { name, target, peeled_target }) {
            Put::Waits => Ok(()),
            Put::Message(message) => self.sender.send(message).await,
            Put::Full => {
                self.stopped = Some(Stopped::PageFull);
                Err(Gone)
            }
        }
    }
}

impl Output for Lines<'_> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let mut bytes = &bytes[..];
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&bytes[..end]);
            self.line(&line).await?;
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > LINE_BYTES_MAX {
            self.stopped = Some(Stopped::LineTooLong);
            return Err(Gone);
        }
        Ok(())
    }

    fn complain(&mut self, text: &[u8]) {
        tracing::warn!("git: {}", String::from_utf8_lossy(text).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::gitaly::call::context::Lease;
    use crate::rpc::gitaly::pieces::pieces;
    use tonic::codegen::tokio_stream::StreamExt;

    /// `chunks` of what git prints, of which a page takes `limit` refs: the refs that arrive.
    async fn check(chunks: &[&[u8]], limit: i32, expected: Result<&[&str], Stopped>) {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect();
        let mut stream = pieces(Lease::default(), |sender| {
            Box::pin(async move {
                let page = PaginationParameter { page_token: String::new(), limit };
                let pages = Pages::new(None, Some(page))?;
                let mut lines = Lines { sender: &sender, pages, rest: Vec::new(), stopped: None };
                for chunk in chunks {
                    if lines.write(chunk).await.is_err() {
                        break;
                    }
                }
                match lines.stopped {
                    Some(stopped @ Stopped::LineTooLong) => {
                        Err(Status::internal(format!("{stopped:?}")))
                    }
                    Some(Stopped::PageFull) | None => finish(lines.pages, &sender).await,
                }
            })
        });
        let mut names = Vec::new();
        let mut failure = None;
        while let Some(next) = stream.next().await {
            match next {
                Ok(message) => names.extend(message.references.into_iter().map(|one| one.name)),
                Err(status) => failure = Some(status.message().to_owned()),
            }
        }
        let found = failure.map_or(Ok(names), Err);
        let expected =
            expected.map(|names| names.iter().map(|name| name.to_string().into()).collect());
        assert_eq!(found, expected.map_err(|stopped| format!("{stopped:?}")));
    }

    #[tokio::test]
    async fn lines_of_git_become_refs() {
        tokio::task::LocalSet::new().run_until(check_lines()).await;
    }

    async fn check_lines() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        check(&[], -1, Ok(&[])).await;
        check(&[b"a\x001\nb\x00", b"2\n", b"c\x003\nd"], -1, Ok(&["a", "b", "c"])).await;
        check(&[b"a\x001\nb\x002\n"], 1, Ok(&["a"])).await;
        check(&[b"a\x001\n", &long, b"\n"], 1, Ok(&["a"])).await;
        check(&[&long, b"x"], -1, Err(Stopped::LineTooLong)).await;
    }
}
