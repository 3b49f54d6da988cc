//! `CommitService`: single commits.

use super::Resources;
use super::commits;
use super::context::Context;
use super::look::{Seen, glance};
use super::target::target;
use gitring_proto::gitaly::commit_service_server::CommitService;
use gitring_proto::gitaly::{FindCommitRequest, FindCommitResponse};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::{Request, Response, Status};

/// The service. Its calls stay on the thread of its reactor.
#[derive(Debug)]
pub(super) struct Commits(pub(super) SendWrapper<Rc<Resources>>);

#[tonic::async_trait]
impl CommitService for Commits {
    async fn find_commit(
        &self,
        request: Request<FindCommitRequest>,
    ) -> Result<Response<FindCommitResponse>, Status> {
        SendWrapper::new(find_commit(&self.0, request)).await
    }
}

async fn find_commit(
    resources: &Resources,
    request: Request<FindCommitRequest>,
) -> Result<Response<FindCommitResponse>, Status> {
    let context = Context::of(request.extensions())?;
    let FindCommitRequest { repository, revision, trailers } = request.into_inner();
    let target = target(&context, repository)?;
    let asked = revision.clone();
    let find = glance(resources, &target, move |snapshot| {
        if let Some(refused) = refusal(&asked) {
            return Err(Status::invalid_argument(refused));
        }
        commits::find(snapshot, &asked, trailers)
    });
    let commit = match find.await? {
        Seen::Found(commit) => Some(commit),
        Seen::Missing => None,
        Seen::AskGit(git_dir) => {
            if let Some(refused) = refusal(&revision) {
                return Err(Status::invalid_argument(refused));
            }
            commits::ask(resources, &context, &git_dir, &revision, trailers).await?
        }
    };
    Ok(Response::new(FindCommitResponse { commit }))
}

/// Why no git is asked for this revision. Gitaly looks after it has found the repository.
fn refusal(revision: &[u8]) -> Option<&'static str> {
    let has = |bytes: &[u8]| revision.iter().any(|byte| bytes.contains(byte));
    if revision.starts_with(b"-") {
        Some("revision can't start with '-'")
    } else if has(b"\0") {
        Some("revision can't contain NUL")
    } else if revision.is_empty() {
        Some("empty revision")
    } else if has(b" \t\n\r") {
        Some("revision can't contain whitespace")
    } else if has(b":") {
        Some("revision can't contain ':'")
    } else if has(b"\\") {
        Some("revision can't contain '\\'")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(revision: &str, expected: Option<&str>) {
        assert_eq!(refusal(revision.as_bytes()), expected, "{revision:?}");
    }

    #[test]
    fn revisions_that_are_refused() {
        check("main~2^{commit}", None);
        check("HEAD@{0}", None);
        check("a-b", None);
        check("-a b\0", Some("revision can't start with '-'"));
        check("a b\0", Some("revision can't contain NUL"));
        check("", Some("empty revision"));
        check("a:b c", Some("revision can't contain whitespace"));
        check("a\nb", Some("revision can't contain whitespace"));
        check("a:b\\", Some("revision can't contain ':'"));
        check("a\\b", Some("revision can't contain '\\'"));
    }
}
