//! A commit as people are shown it: who, when, the message, its trailers.
//!
//! Always true: every text is taken as a commit, as Gitaly takes it; what is missing or makes no
//! sense is left empty. Names and addresses come through the mailmap.
//! Never here: walks through history (`objects`, `history`), checking signatures.

mod person;
#[cfg(test)]
mod tests;
mod trailers;

use std::borrow::Cow;

use crate::mailmap;
use crate::objects::StoreError;
use crate::repository::Snapshot;
use crate::revision::{FoundCommit, Resolved, Revision};

pub use person::Person;
pub use trailers::{Trailer, read_trailers, trailers};

/// Bytes of a message that are shown at once (Gitaly's `MaxCommitOrTagMessageSize`).
pub const BODY_BYTES_MAX: usize = 10 << 10;

/// What a commit says; borrowed from the content of the object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details<'a> {
    /// The id of the root tree in hexadecimal, as it stands there.
    pub tree: &'a [u8],
    /// The ids of the parents in hexadecimal, as they stand there.
    pub parents: Vec<&'a [u8]>,
    /// Who wrote the change.
    pub author: Option<Person<'a>>,
    /// Who made the commit.
    pub committer: Option<Person<'a>>,
    /// The encoding of the message; empty for UTF-8.
    pub encoding: &'a [u8],
    /// Of the first signature.
    pub signature: Signature,
    /// The first line of the message.
    pub subject: &'a [u8],
    /// The whole message.
    pub message: &'a [u8],
}

/// How a commit is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signature {
    /// Not, or by something unknown.
    #[default]
    None,
    /// By OpenPGP.
    Pgp,
    /// By S/MIME.
    X509,
    /// By an SSH key.
    Ssh,
}

/// Where in the headers the parser is.
enum State {
    Headers,
    Signature,
    /// Headers behind a signature are signed, and not heeded.
    BehindSignature,
}

/// The commit that `revision` names, its persons renamed as the repository's mailmap says.
///
/// # Errors
/// A store that cannot be read.
pub fn find(snapshot: &Snapshot, revision: &Revision) -> Result<Resolved<FoundCommit>, StoreError> {
    let mut found = match revision.commit(snapshot)? {
        Resolved::Found(found) => found,
        other @ (Resolved::Missing | Resolved::Unsupported) => return Ok(other),
    };
    match mailmap::of(snapshot)? {
        Resolved::Found(mailmap) => {
            if let Cow::Owned(renamed) = mailmap.rename(&found.data) {
                found.data = renamed;
            }
        }
        Resolved::Missing => {}
        Resolved::Unsupported => return Ok(Resolved::Unsupported),
    }
    Ok(Resolved::Found(found))
}

// === impl Details ===

impl<'a> Details<'a> {
    /// Reads the content of a commit.
    pub fn parse(data: &'a [u8]) -> Self {
        let mut details = Self::default();
        let mut state = State::Headers;
        let mut rest = data;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            if line.is_empty() {
                details.message = after;
                details.subject = subject(after);
                break;
            }
            state = details.header(state, line);
            rest = after;
        }
        details
    }

    /// As much of the message as is shown at once.
    pub fn body(&self) -> &'a [u8] {
        &self.message[..self.message.len().min(BODY_BYTES_MAX)]
    }

    fn header(&mut self, state: State, line: &'a [u8]) -> State {
        match state {
            State::Headers => {}
            State::Signature if line.starts_with(b" ") => return State::Signature,
            State::Signature => {
                let is_another = cut(line).is_some_and(|(key, _)| is_signature(key));
                return if is_another { State::Signature } else { State::BehindSignature };
            }
            State::BehindSignature => return State::BehindSignature,
        }
        let Some((key, value)) = cut(line) else { return State::Headers };
        match key {
            b"parent" => self.parents.push(value),
            b"author" => self.author = Some(Person::parse(value)),
            b"committer" => self.committer = Some(Person::parse(value)),
            b"tree" => self.tree = value,
            b"encoding" => self.encoding = value,
            key if is_signature(key) => {
                self.signature = Signature::of_first_line(value);
                return State::Signature;
            }
            _ => {}
        }
        State::Headers
    }
}

// === impl Signature ===

impl Signature {
    /// By the first line of a signature.
    pub(crate) fn of_first_line(line: &[u8]) -> Self {
        match line {
            b"-----BEGIN SIGNED MESSAGE-----" => Self::X509,
            b"-----BEGIN PGP MESSAGE-----" | b"-----BEGIN PGP SIGNATURE-----" => Self::Pgp,
            b"-----BEGIN SSH SIGNATURE-----" => Self::Ssh,
            _ => Self::None,
        }
    }
}

/// `gpgsig`, whatever signed, and the signature of the same commit in a repository of SHA-256.
fn is_signature(key: &[u8]) -> bool {
    matches!(key, b"gpgsig" | b"gpgsig-sha256")
}

fn subject(message: &[u8]) -> &[u8] {
    let line = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    &line[..end]
}

/// What stands before the first space and behind it.
fn cut(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}
