//! Objects that a git child reads, several by one.
//!
//! Always true: an answer is bounded; no content of an object can be taken for the end of it.
//! Never here: what objects mean.

use crate::rpc::gitaly::ask::child::Asked;
use crate::rpc::gitaly::call::context::Context;
use crate::rpc::gitaly::commit::commits::{child_answer, text};
use crate::rpc::gitaly::{Resources, errors};
use bstr::ByteSlice;
use bytes::{Buf, Bytes};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use tonic::Status;

/// Of all objects of one child together.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// An object as git prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitObject {
    pub(super) id: String,
    /// `commit`, `tag`, `tree`, `blob`
    pub(super) kind: Bytes,
    pub(super) data: Bytes,
}

/// The objects that these revisions name, each with the repository's mailmap; `None` where there is
/// none.
pub(super) async fn read_many(
    resources: &Resources,
    context: &Context,
    git_dir: &Path,
    revisions: &[String],
) -> Result<Vec<Option<GitObject>>, Status> {
    // git before 2.51 prints the size that an object had without the mailmap. So each is followed
    // by something that is missing, under a name that nobody could have put into an object.
    let mark = mark();
    let mut input = Vec::new();
    for revision in revisions {
        for line in [revision.as_bytes(), b"\n", &mark, b"\n"] {
            input.extend_from_slice(line);
        }
    }
    let asked = Asked {
        subcmd: "cat-file",
        args: &["--use-mailmap", "--batch"].map(OsStr::new),
        input: &input,
        directory: git_dir.to_owned(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let answered = child_answer(resources, context, asked).await?;
    if answered.stdout.len() as u64 == ANSWER_BYTES_MAX {
        return Err(errors::limited("the objects are too large"));
    }
    if !answered.exit.status.success() {
        tracing::warn!(complaint = answered.complaint, "git cat-file died");
        return Err(Status::internal("read info line: EOF"));
    }
    let end = [&mark[..], b" missing\n"].concat();
    parse(answered.stdout.into(), &end, revisions.len())
}

fn mark() -> Vec<u8> {
    let [first, second] = [(); 2].map(|()| RandomState::new().hash_one(0));
    format!("gitring-{first:016x}{second:016x}").into_bytes()
}

/// Takes git's answer apart; `end` follows each object.
fn parse(mut answer: Bytes, end: &[u8], count: usize) -> Result<Vec<Option<GitObject>>, Status> {
    let broken = || Status::internal("read info line: EOF");
    let mut objects = Vec::with_capacity(count);
    for _ in 0..count {
        let at = answer.find(end).ok_or_else(broken)?;
        let mut object = answer.split_to(at);
        answer.advance(end.len());
        let at = object.find_byte(b'\n').ok_or_else(broken)?;
        let line = object.split_to(at);
        object.advance(1);
        if line.ends_with(b" missing") || line.ends_with(b" ambiguous") {
            objects.push(None);
            continue;
        }
        if !object.ends_with(b"\n") {
            return Err(broken());
        }
        object.truncate(object.len() - 1);
        let [id, kind, _] = line.split(|byte| *byte == b' ').collect::<Vec<_>>()[..] else {
            return Err(broken());
        };
        let (id, kind) = (text(id)?, line.slice_ref(kind));
        objects.push(Some(GitObject { id, kind, data: object }));
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, count: usize, expected: Option<&[Option<(&str, &str)>]>) {
        let found = parse(answer.to_owned().into(), b"X missing\n", count).ok();
        let found = found.map(|objects| {
            let shown = |one: GitObject| (one.id, String::from_utf8_lossy(&one.data).into_owned());
            objects.into_iter().map(|one| one.map(shown)).collect::<Vec<_>>()
        });
        let owned = |one: &Option<(&str, &str)>| one.map(|(id, data)| (id.into(), data.into()));
        let expected = expected.map(|expected| expected.iter().map(owned).collect::<Vec<_>>());
        assert_eq!(found, expected, "{answer}");
    }

    #[test]
    fn answers_of_cat_file() {
        check("", 0, Some(&[]));
        check("1 commit 3\nabc\nX missing\n", 1, Some(&[Some(("1", "abc"))]));
        check("1 tag 9\n\nX missing\n", 1, Some(&[Some(("1", ""))]));
        let two = "a missing\nX missing\n2 commit 1\nb\nc missing\n\nX missing\n";
        check(two, 2, Some(&[None, Some(("2", "b\nc missing\n"))]));
        check("1 commit 3\nabc\n", 1, None);
        check("1 commit\nabc\nX missing\n", 1, None);
    }
}
