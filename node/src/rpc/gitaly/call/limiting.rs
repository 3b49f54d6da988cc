//! Limits of calls: whoever may call waits here for the turn of its repository.
//!
//! Always true: a call without limits, or without a repository, passes at once, and its body was not
//! looked at.
//! Never here: which limits there are.

use super::context::Context;
use super::observed::Request;
use super::record::Limited;
use crate::limits::{Admission, Caller, Claim, Limits, Name, repository_key};
use crate::rpc::gitaly::errors;
use crate::storage::RelativePath;
use bytes::Bytes;
use gitring_proto::gitaly::Repository;
use gitring_proto::methods;
use prost::Message;
use prost::bytes::Buf;
use std::rc::Rc;
use tonic::Status;

/// No storage has a longer name.
const STORAGE_BYTES_MAX: usize = 4_096;

/// Waits until the call may go on: its first message says for which repository.
pub(super) async fn admit(
    limits: &Limits,
    context: &Rc<Context>,
    body: &mut Request,
) -> Result<Option<Admission>, Status> {
    let called = context.record.borrow().called.known;
    let Some(limit) = called.and_then(|path| limits.method(path)) else { return Ok(None) };
    let way = called.and_then(methods::find).and_then(|method| method.target_repository);
    let Some(way) = way else { return Ok(None) };
    let Some(repository) = body.first_message().await.and_then(|message| find(message, way)) else {
        return Ok(None);
    };
    // What cannot be a repository is refused by whoever would look for it.
    let Some(key) = key(&repository) else { return Ok(None) };
    let requester = context.requester();
    let claim = Claim { key, client: requester.client };
    let caller = Caller { claim, is_anonymous: requester.is_anonymous };
    let admitted = limit.admit(&caller).await;
    let passage = match &admitted {
        Ok(admission) => admission.passage,
        Err(rejection) => Some(rejection.passage),
    };
    let mut record = context.record.borrow_mut();
    record.limit =
        passage.map(|passage| Box::new(Limited { key: repository.relative_path.clone(), passage }));
    if admitted.is_err() {
        // Its handler, which would have said so, never runs.
        record.repository = Some(repository);
    }
    drop(record);
    let refused = |refusal| errors::refused(&refusal, refusal.to_string());
    admitted.map(Some).map_err(|rejection| refused(rejection.refusal))
}

/// However its path is written, a repository has one key.
fn key(repository: &Repository) -> Option<Name> {
    let path = RelativePath::clean(&repository.relative_path).ok()?;
    let storage = Some(&repository.storage_name).filter(|name| name.len() <= STORAGE_BYTES_MAX)?;
    Some(repository_key(storage, path.as_str()))
}

/// The repository in a message, at the end of a way of field numbers.
fn find(message: Bytes, way: &[u32]) -> Option<Repository> {
    let found = way.iter().try_fold(message, |message, number| field(message, *number))?;
    Repository::decode(found).ok()
}

/// A field that holds a message: the last of its number (protobuf encoding, "Last One Wins").
fn field(mut message: Bytes, wanted: u32) -> Option<Bytes> {
    let mut found = None;
    while message.has_remaining() {
        let key = prost::decode_length_delimiter(&mut message).ok()?;
        let (number, wire_type) = (u32::try_from(key >> 3).ok()?, key & 7);
        let length = match wire_type {
            0 => {
                while message.try_get_u8().ok()? & 0x80 != 0 {}
                continue;
            }
            1 => 8,
            2 => prost::decode_length_delimiter(&mut message).ok()?,
            5 => 4,
            _ => return None,
        };
        if length > message.len() {
            return None;
        }
        let value = message.split_to(length);
        if number == wanted && wire_type == 2 {
            found = Some(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_proto::gitaly::{FindCommitRequest, ObjectPool, OptimizeRepositoryRequest};

    #[test]
    fn a_repository_has_one_key() {
        fn check(path: &str, expected: Option<&str>) {
            let repository = Repository {
                storage_name: "default".into(),
                relative_path: path.into(),
                ..Repository::default()
            };
            assert_eq!(key(&repository).as_ref().map(Name::as_str), expected, "{path}");
        }
        check("a/b.git", Some("default:a/b.git"));
        check("a/./c/../b.git", Some("default:a/b.git"));
        check("", None);
        check("../b.git", None);
        check(&"a".repeat(5_000), None);
    }

    #[test]
    fn repositories_are_found_where_methods_have_them() {
        let repository = Repository {
            storage_name: "default".into(),
            relative_path: "a/b.git".into(),
            ..Repository::default()
        };
        let named = Some(repository.clone());
        let commit = FindCommitRequest {
            repository: named.clone(),
            revision: "main".into(),
            ..FindCommitRequest::default()
        };
        let check = |message: Vec<u8>, way: &[u32], expected: Option<&Repository>| {
            assert_eq!(find(message.into(), way).as_ref(), expected, "{way:?}");
        };
        check(commit.encode_to_vec(), &[1], Some(&repository));
        check(commit.encode_to_vec(), &[7], None);
        let other = Repository { relative_path: "b.git".into(), ..repository.clone() };
        let other = OptimizeRepositoryRequest { repository: Some(other), ..Default::default() };
        let twice = [other.encode_to_vec(), commit.encode_to_vec()].concat();
        check(twice, &[1], Some(&repository));
        let pool = ObjectPool { repository: named }.encode_to_vec();
        let mut outer = vec![0x08, 0xff, 0x7f, 0x12, u8::try_from(pool.len()).unwrap()];
        outer.extend_from_slice(&pool);
        outer.extend_from_slice(&[0x1d, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0]);
        check(outer.clone(), &[2, 1], Some(&repository));
        for cut in 0..outer.len() {
            // Whatever it means, it is not read beyond its end.
            let _ = find(Bytes::copy_from_slice(&outer[..cut]), &[2, 1]);
        }
        check(vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[1], None);
    }
}
