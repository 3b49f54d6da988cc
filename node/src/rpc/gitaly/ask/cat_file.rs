//! `git cat-file`, asked for one object after the other.
//!
//! Always true: answers are read in the order of the questions; of an object no more is in memory
//! than one piece, commits excepted.
//! Never here: what objects say.

use super::site::Site;
use super::talk::{Command, Talk};
use crate::rpc::access_log::random;
use crate::rpc::gitaly::errors;
use crate::rpc::gitaly::pieces::PIECE_BYTES_MAX;
use crate::rpc::gitaly::refs::quoted;
use bstr::ByteSlice;
use bytes::{Bytes, BytesMut};
use gitring_git::objects::Kind;
use tonic::Status;

/// A commit, held in memory as a whole. What people write stays far below 1 MiB.
const COMMIT_BYTES_MAX: usize = 8 << 20;

/// The child, and what it was asked.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct CatFile {
    talk: Talk,
    /// Of a child that renames people: what it is asked behind each commit. It names no object.
    guard: Option<String>,
}

/// What git says of an object before its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rpc::gitaly) struct Header {
    pub(in crate::rpc::gitaly) id: String,
    pub(in crate::rpc::gitaly) kind: Kind,
    pub(in crate::rpc::gitaly) size: u64,
}

// === impl CatFile ===

impl CatFile {
    pub(in crate::rpc::gitaly) async fn begin(site: &Site) -> Result<Self, Status> {
        let options = ["--batch-command", "-z", "--buffer"];
        let args = options.iter().map(Into::into).collect();
        let command = Command { subcmd: "cat-file", args, input: Vec::new() };
        Ok(Self { talk: Talk::begin(site, command).await?, guard: None })
    }

    /// One that tells commits, and their people by the names that the mailmap has for them.
    pub(in crate::rpc::gitaly) async fn begin_commits(site: &Site) -> Result<Self, Status> {
        let options = ["--use-mailmap", "--batch-command", "-z", "--buffer"];
        let args = options.iter().map(Into::into).collect();
        let command = Command { subcmd: "cat-file", args, input: Vec::new() };
        let guard = Some(format!("{:016x}{:016x}-no-object", random(), random()));
        Ok(Self { talk: Talk::begin(site, command).await?, guard })
    }

    /// Asks what an object is; [`Self::header`] tells.
    pub(in crate::rpc::gitaly) fn ask_info(&mut self, name: &[u8]) {
        self.talk.tell(&[b"info ", askable(name), b"\0"]);
    }

    /// Asks what an object is and what it holds; [`Self::header`] tells the first.
    pub(in crate::rpc::gitaly) fn ask_contents(&mut self, name: &[u8]) {
        self.talk.tell(&[b"contents ", askable(name), b"\0"]);
    }

    /// Asks for a commit; [`Self::commit`] tells.
    pub(in crate::rpc::gitaly) fn ask_commit(&mut self, name: &[u8]) {
        self.ask_contents(name);
        if let Some(guard) = &self.guard {
            self.talk.tell(&[b"info ", guard.as_bytes(), b"\0"]);
        }
    }

    /// Nothing is answered before this was called.
    pub(in crate::rpc::gitaly) fn flush(&mut self) {
        self.talk.tell(&[b"flush\0"]);
    }

    /// What an object is.
    pub(in crate::rpc::gitaly) async fn info(
        &mut self,
        name: &[u8],
    ) -> Result<Option<Header>, Status> {
        self.ask_info(name);
        self.flush();
        self.header(name).await
    }

    /// What an object is; then [`Self::piece`] gives what it holds.
    pub(in crate::rpc::gitaly) async fn open(
        &mut self,
        name: &[u8],
    ) -> Result<Option<Header>, Status> {
        self.ask_contents(name);
        self.flush();
        self.header(name).await
    }

    /// The beginning of the next answer. `None`: `name` names nothing.
    pub(in crate::rpc::gitaly) async fn header(
        &mut self,
        name: &[u8],
    ) -> Result<Option<Header>, Status> {
        let mut line = self.line().await?;
        if let Some(header) = Header::parse(&line) {
            return Ok(Some(header));
        }
        // The name is repeated, and a path may have lines.
        let lines = askable(name).find_iter(b"\n").count();
        if lines > 0 {
            let mut whole = BytesMut::from(line);
            for _ in 0..lines {
                whole.extend_from_slice(b"\n");
                whole.extend_from_slice(&self.line().await?);
            }
            line = whole.freeze();
        }
        if line.ends_with(b" missing") || line.ends_with(b" submodule") {
            return Ok(None);
        }
        Err(Status::internal(format!("invalid info line: {}", quoted(&line))))
    }

    /// The next bytes of an object of which `left` were not read yet; none at its end.
    pub(in crate::rpc::gitaly) async fn piece(&mut self, left: &mut u64) -> Result<Bytes, Status> {
        if *left == 0 {
            return Ok(Bytes::new());
        }
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
        let piece = self.talk.some(wanted).await?;
        if piece.is_empty() {
            return Err(ended());
        }
        *left -= piece.len() as u64;
        Ok(piece)
    }

    /// Reads over what is left of an object, and over the line's end behind it.
    pub(in crate::rpc::gitaly) async fn skip(&mut self, mut left: u64) -> Result<(), Status> {
        while left > 0 {
            self.piece(&mut left).await?;
        }
        match &self.talk.some(1).await?[..] {
            b"\n" => Ok(()),
            _ => Err(ended()),
        }
    }

    /// A whole object, if it is no larger than that.
    pub(in crate::rpc::gitaly) async fn whole(
        &mut self,
        header: &Header,
        bytes_max: u64,
    ) -> Result<Bytes, Status> {
        if header.size > bytes_max {
            let text = format!("object {} has more than {bytes_max} bytes", header.id);
            return Err(errors::limited(text));
        }
        let mut content = BytesMut::new();
        let mut left = header.size;
        while left > 0 {
            content.extend_from_slice(&self.piece(&mut left).await?);
        }
        self.skip(0).await?;
        Ok(content.freeze())
    }

    /// The next commit that was asked for, as an id and its content. `None`: `name` names none.
    pub(in crate::rpc::gitaly) async fn commit(
        &mut self,
        name: &[u8],
    ) -> Result<Option<(String, Bytes)>, Status> {
        let Some(guard) = &self.guard else {
            let Some(header) = self.header(name).await? else { return Ok(None) };
            let content = self.whole(&header, COMMIT_BYTES_MAX as u64).await?;
            return Ok(Some((header.id, content)));
        };
        // Where people were renamed, git before 2.40 tells the size that the commit had before.
        let end = format!("{guard} missing\n").into_bytes();
        let Some(header) = self.header(name).await? else {
            self.line().await?;
            return Ok(None);
        };
        let content = self.talk.until(&end, COMMIT_BYTES_MAX).await?.ok_or_else(ended)?;
        let content = content.strip_suffix(b"\n").map(|stripped| content.slice_ref(stripped));
        if header.kind != Kind::Commit {
            return Err(Status::internal(format!("object {} is not a commit", header.id)));
        }
        Ok(Some((header.id, content.ok_or_else(ended)?)))
    }

    async fn line(&mut self) -> Result<Bytes, Status> {
        let line = self.talk.line(b'\n').await?;
        line.ok_or_else(|| Status::internal("read info line: EOF"))
    }
}

/// A name that ends where it should. Nothing is called by one with NUL in it, nor by the other.
fn askable(name: &[u8]) -> &[u8] {
    if name.contains(&0) { b"//" } else { name }
}

/// It died, or tells what it was not asked.
fn ended() -> Status {
    Status::internal("git cat-file: the answer ends early")
}

// === impl Header ===

impl Header {
    /// `<id> SP <type> SP <size>` (git-cat-file(1), BATCH OUTPUT).
    pub(in crate::rpc::gitaly) fn parse(line: &[u8]) -> Option<Self> {
        let [id, kind, size] = line.split(|byte| *byte == b' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let is_id = matches!(id.len(), 40 | 64) && id.iter().all(u8::is_ascii_hexdigit);
        let kind = Kind::from_bytes(kind).ok().filter(|_| is_id)?;
        let size = std::str::from_utf8(size).ok()?.parse().ok()?;
        Some(Self { id: id.to_str_lossy().into_owned(), kind, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(Kind, u64)>) {
        let found = Header::parse(line.as_bytes()).map(|found| (found.kind, found.size));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn lines_of_git() {
        let (sha1, sha256) = ("0123456789".repeat(4), "01234567".repeat(8));
        check(&format!("{sha1} commit 12"), Some((Kind::Commit, 12)));
        check(&format!("{sha256} blob 0"), Some((Kind::Blob, 0)));
        check(&format!("{sha1} missing"), None);
        check(&format!("{sha1} ambiguous"), None);
        check(&format!("{sha1} commit 12 "), None);
        check(&format!("{sha1} commit -1"), None);
        check(&format!("{sha1} monument 1"), None);
        check("HEAD:x commit 1", None);
        check("", None);
    }
}
